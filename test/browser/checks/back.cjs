// Coming back, and several notebooks: times beside cells, notifications, all sessions, the webhook.
const fs = require('node:fs');
const http = require('node:http');
const { createHmac } = require('node:crypto');
const { Browser, signIn } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');

const NOTEBOOK = 'tour.ipynb';

/** Makes a page believe that it is not seen, as behind another tab; headless pages always are. */
const hide = (page, hidden) =>
  page.evaluate(hidden => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    Object.defineProperty(document, 'visibilityState', { value: hidden ? 'hidden' : 'visible', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);

const mark = cell => cell.node.locator('.cellar-Mark');

/** The project's lab in this page, with the notebook open. */
async function enter(w) {
  await w.page.goto(`${w.hub.url}/projects/digits/lab?reset`);
  w.lab = new Lab(w.page);
  await w.lab.openFile(NOTEBOOK);
  return w.lab;
}

async function marks(w) {
  const lab = await enter(w);
  const { check, page } = w;
  await check('11 a cell that runs shows a clock and its memory, then its duration and peak', async () => {
    await lab.cell(0).node.click();
    const cell = await lab.write("import time; block = bytearray(b'x') * (300 << 20); time.sleep(4); del block");
    await cell.run();
    await page.waitForFunction(() => /^[1-4] s/.test(document.querySelector('.cellar-Mark[data-state=running]')?.textContent ?? ''));
    const live = await mark(cell).textContent();
    await cell.done();
    await mark(cell).and(page.locator('[data-state=done]')).waitFor();
    const text = await mark(cell).textContent();
    const [, seconds, mib] = /^([\d.]+) s · peak (\d+) MiB$/.exec(text) ?? [];
    truly(`the mark says: ${text}`, seconds >= 4 && seconds < 30 && mib >= 300 && mib < 900);
    return `${live}, then ${text}`;
  });
  await check('11 a cell after it has a peak of its own, and a failing one a mark too', async () => {
    const small = await lab.write('1 + 1');
    await small.run();
    await small.done();
    await mark(small).waitFor();
    const text = await mark(small).textContent();
    truly(`the mark says: ${text}`, /^\d+ ms · peak \d+ MiB$/.test(text) && Number(/peak (\d+)/.exec(text)[1]) < 300);
    const bad = await lab.write('1 / 0');
    await bad.run();
    await bad.done();
    await mark(bad).and(page.locator('[data-state=error]')).waitFor();
    await w.look('marks');
  });
  await check('11 another tab shows the same marks, and opening it changes nothing', async () => {
    await page.keyboard.press('Control+s');
    await until('saved', () => page.evaluate(() => !document.querySelector('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty')));
    const second = await w.browser.context.newPage();
    try {
      await second.goto(page.url());
      const other = new Lab(second);
      await other.openFile(NOTEBOOK);
      await other.state('idle');
      const words = () => lab.panel.locator('.cellar-Mark').allTextContents();
      const theirs = await until('as many marks', async () => {
        const list = await other.panel.locator('.cellar-Mark').allTextContents();
        return list.length === (await words()).length && list;
      });
      same('marks', theirs, await words());
      same('dirty tabs', await second.locator('.lm-DockPanel-tabBar .jp-mod-dirty').count(), 0);
      return `${theirs.length} marks`;
    } finally {
      await second.close();
    }
  });
  await check('11 a second tab sees a cell running with its outputs so far, and those queued; a failing cell cancels them', async () => {
    const first = await lab.write("for i in range(50):\n    print('line', i, flush=True)\n    time.sleep(.4)\n1 / 0");
    const at = await lab.active();
    await first.run();
    await page.keyboard.press('Escape');
    const queued = await lab.write("print('never')");
    await queued.run();
    await first.waitText('3 lines', text => text.includes('line 2'));
    await page.keyboard.press('Control+s');
    const second = await w.browser.context.newPage();
    try {
      await second.goto(page.url());
      const other = new Lab(second);
      await other.openFile(NOTEBOOK);
      const [running, waiting] = [other.cell(at), other.cell(at + 1)];
      const seen = await running.waitText('outputs so far', text => text.includes('line 2'));
      truly('it had ended', !seen.includes('line 49'));
      same('prompts', [(await running.prompt.textContent()).trim(), (await waiting.prompt.textContent()).trim()], ['[*]:', '[*]:']);
      await running.waitText('the rest', text => text.includes('line 49') && text.includes('ZeroDivisionError'));
      await until('nothing runs in either', async () => {
        const left = async l => l.panel.locator('.jp-InputPrompt').filter({ hasText: '[*]' }).count();
        return (await left(other)) === 0 && (await left(lab)) === 0;
      });
      same('the queued cell', [await waiting.text(), await queued.text()], ['', '']);
      truly('the second tab has no mark', /^2\d s/.test(await until('mark', () => mark(running).textContent())));
      same('dirty tabs of who only watched', await second.locator('.lm-DockPanel-tabBar .jp-mod-dirty').count(), 0);
      await second.close();
      await page.keyboard.press('Control+s'); // the file has not changed behind this page's back
      await until('saved', async () => !(await page.locator('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty').count()));
      same('dialogs', await lab.dialogs(), 0);
      return seen.split('\n').length + ' lines were there';
    } finally {
      await second.close();
    }
  });
  await check('11 two pages that open a notebook at the same moment share one kernel', async () => {
    const both = 'both.ipynb';
    fs.writeFileSync(w.hub.file('digits', both), JSON.stringify({
      nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } },
      cells: ['shared = 42', 'print(shared)'].map((source, i) => ({ cell_type: 'code', id: `both${i}`, metadata: {}, outputs: [], execution_count: null, source }))
    }), { mode: 0o666 });
    fs.chmodSync(w.hub.file('digits', both), 0o666);
    const pages = await Promise.all([w.browser.context.newPage(), w.browser.context.newPage()]);
    try {
      const labs = await Promise.all(pages.map(async (p, i) => {
        await p.goto(`${w.hub.url}/projects/digits/lab/workspaces/both${i}/tree/${both}`);
        const l = new Lab(p);
        await l.panel.waitFor();
        await l.state('idle');
        return l;
      }));
      await labs[0].cell(0).node.click();
      await labs[0].cell(0).run();
      await labs[0].cell(0).done();
      await labs[1].cell(1).node.click();
      await labs[1].cell(1).run();
      same('what the other page has', (await labs[1].cell(1).done(), (await labs[1].cell(1).text()).trim()), '42');
      const kernels = (await w.hub.api('/projects/digits/api/sessions')).filter(s => s.path === both).map(s => s.kernel.id);
      same('kernels', new Set(kernels).size, 1);
      return `${kernels.length} sessions`;
    } finally {
      for (const s of (await w.hub.api('/projects/digits/api/sessions')).filter(s => s.path === both)) {
        await w.hub.api(`/projects/digits/api/sessions/${s.id}`, 'DELETE');
      }
      await Promise.all(pages.map(p => p.close()));
      fs.rmSync(w.hub.file('digits', both));
    }
  });
  await check('11 the status bar shows CPU and memory against their limits, and falls back', async () => {
    const bar = page.locator('.cellar-KernelUse');
    const text = async () => (await bar.innerText()).replace(/\s+/g, ' ');
    await lab.cell(0).node.click();
    const cell = await lab.write('end = time.process_time() + 3\nwhile time.process_time() < end: pass');
    await cell.run();
    const busy = await until('a busy core', async () => (/CPU ([5-9]|\d{2,3}) % of \d+00 %/.test(await text()) ? text() : null));
    await cell.done();
    const idle = await until('an idle one', async () => (/CPU [0-4] % of/.test(await text()) ? text() : null));
    truly(idle, / MiB of \d+ GiB/.test(idle));
    return `${busy}; ${idle}`;
  });
}

async function dark(w) {
  await w.check('11 the marks can be read in the dark', async () => {
    const { page } = w;
    await page.locator('body[data-jp-theme-light=false]').waitFor({ state: 'attached' });
    const bright = c => c.match(/[\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
    const [ink, paper] = await page.locator('.cellar-Mark[data-state=done]').first().evaluate(node => [
      getComputedStyle(node).color,
      getComputedStyle(node.closest('.jp-Notebook')).backgroundColor
    ]);
    truly(`${ink} on ${paper}`, bright(ink) - bright(paper) > 60);
    await w.look('marks-dark');
  });
}

async function history(w) {
  await w.check("11 the arrow key in a console brings what was run in the kernel's notebook", async () => {
    const { page, lab } = w;
    await lab.cell(0).node.click();
    await lab.exec("past = 'what was run here'");
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Shift+C'); // the palette
    await page.keyboard.insertText('New Console for Notebook');
    await page.locator('.lm-CommandPalette-item.lm-mod-active').filter({ hasText: 'New Console for Notebook' }).waitFor();
    await page.keyboard.press('Enter');
    const prompt = page.locator('.jp-CodeConsole-input .cm-content');
    await prompt.click();
    await until('it is there', async () => {
      await page.keyboard.press('ArrowUp');
      return (await prompt.innerText()).includes('what was run here');
    });
    same('dialogs', await lab.dialogs(), 0);
  });
}

async function notifications(w) {
  const { check, lab, page } = w;
  await check('11 the menu turns notifications on, and asks the browser', async () => {
    await page.evaluate(() => {
      window.notes = [];
      window.asked = 0;
      const real = { permission: 'default' };
      window.Notification = class {
        constructor(title, options) {
          Object.assign(this, options, { title });
          window.notes.push({ title, ...options });
          window.lastNote = this;
        }
        static get permission() {
          return real.permission;
        }
        static async requestPermission() {
          window.asked++;
          return (real.permission = 'granted');
        }
        close() {}
      };
    });
    const open = () => page.locator('.lm-MenuBar-item').filter({ hasText: /^Cellar$/ }).click();
    await open();
    const item = page.locator('.lm-Menu-item').filter({ hasText: 'Notify When Long Cells End' });
    const on = () => item.evaluate(node => node.classList.contains('lm-mod-toggled'));
    same('before', await on(), false);
    same('asked unbidden', await page.evaluate(() => window.asked), 0);
    await w.look('menu');
    await item.click();
    await until('asked', () => page.evaluate(() => window.asked === 1));
    await open();
    same('after', await on(), true);
    await page.keyboard.press('Escape');
  });
  const setting = (id, values) =>
    page.evaluate(
      async ([id, values]) => {
        const base = JSON.parse(document.querySelector('#jupyter-config-data').textContent).baseUrl;
        const headers = { 'Content-Type': 'application/json', 'X-XSRFToken': /_xsrf=([^;]+)/.exec(document.cookie)[1] };
        const body = JSON.stringify({ raw: JSON.stringify(values) });
        return (await fetch(`${base}lab/api/settings/${id}`, { method: 'PUT', headers, body })).ok;
      },
      [id, values]
    );
  await check('11 a long cell that fails while the page is not seen is notified, a short one is not', async () => {
    truly('the setting is kept', await setting('@cellar/lab:plugin', { notifyAfterSeconds: 2, notifications: true }));
    truly('the theme is kept', await setting('@jupyterlab/apputils-extension:themes', { theme: 'JupyterLab Dark' }));
    await page.reload();
    await lab.openFile(NOTEBOOK);
    await lab.cell(0).node.click();
    await page.evaluate(() => {
      window.notes = [];
      window.Notification = class {
        static permission = 'granted';
        constructor(title, options) {
          Object.assign(this, options, { title });
          window.notes.push({ title, ...options });
          window.lastNote = this;
        }
        close() {}
      };
    });
    const notes = () => page.evaluate(() => window.notes);
    const short = await lab.write('2 + 2');
    await hide(page, true);
    await short.run();
    await short.done();
    const long = await lab.write('time.sleep(2.5); undefined_name');
    const at = await lab.active();
    await long.run();
    const [note] = await until('a notification', async () => (await notes()).length && notes());
    same('title', note.title, 'A cell failed');
    truly(note.body, /^tour\.ipynb, after 2\.\d s$/.test(note.body));
    await hide(page, false);
    await (await lab.cell(0)).node.click();
    await page.evaluate(() => window.lastNote.onclick());
    await until('its cell is the active one', async () => (await lab.active()) === at);
    const seen = await lab.write('time.sleep(2.5)');
    await seen.run();
    await seen.done();
    same('notifications, all in all', (await notes()).length, 1);
    return note.body;
  });
}

/** A receiver on this machine, which the hub was allowed to reach. */
async function receiver(secret) {
  const got = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', part => (body += part));
    request.on('end', () => {
      const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = request.headers;
      const want = `v1,${createHmac('sha256', secret).update(`${id}.${at}.${body}`).digest('base64')}`;
      got.push({ ...JSON.parse(body), signed: signature === want });
      response.end();
    });
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  return { got, url: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() };
}

async function webhook(w) {
  const secret = 'sixteen letters at least';
  const to = await receiver(secret);
  try {
    await w.check('11 the webhook is set on the project page, tested, and its secret is not shown again', async () => {
      const { page } = w;
      await page.goto(`${w.hub.url}/p/digits`);
      const form = page.locator('#webhook form');
      await form.getByLabel('Address').fill(to.url);
      await form.getByLabel('Secret').fill(secret);
      await form.getByLabel('Seconds').fill('2');
      await form.getByRole('button', { name: 'Save' }).click();
      await form.getByPlaceholder('One is set').waitFor();
      truly('the secret is in the page', !(await page.content()).includes(secret));
      same('the field', await form.getByLabel('Secret').inputValue(), '');
      await form.getByRole('button', { name: 'Send a test' }).click();
      await page.getByText('The test arrived: the address answered 200.').waitFor();
      same('received', to.got.map(m => [m.type, m.project.id, m.signed]), [['test', 'digits', true]]);
      await form.scrollIntoViewIfNeeded();
      await w.look('webhook');
    });
    await w.check('11 a long cell ends with no tab open: the webhook is told, once', async () => {
      const { page } = w;
      await enter(w);
      await w.lab.cell(0).node.click();
      const cell = await w.lab.write("time.sleep(4); print('told')");
      await cell.run();
      await cell.node.locator('.cellar-Mark[data-state=running]').waitFor();
      await page.goto(`${w.hub.url}/p/digits`);
      await until('a message', () => to.got.length === 2);
      const { type, run, signed } = to.got[1];
      same('message', [type, run.state, run.notebook, run.lines, signed], ['run.ended', 'done', NOTEBOOK, 1, true]);
      await page.reload();
      await page.getByText('The last message arrived').waitFor();
      await page.getByRole('button', { name: 'Remove …' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
      await page.getByPlaceholder('None: messages are not signed').waitFor();
      return `${run.duration_ms} ms`;
    });
  } finally {
    to.close();
  }
}

async function sessions(w) {
  const { check, page } = w;
  const line = name => page.locator('.sessions tbody tr').filter({ hasText: name }).filter({ hasText: 'Digits' });
  await check('11 all sessions on one page: figures that move, interrupt, hibernate, resume', async () => {
    await enter(w);
    await w.lab.cell(0).node.click();
    const cell = await w.lab.write('while True: pass');
    await cell.run();
    await w.lab.state('busy');
    await page.goto(w.hub.url);
    await page.getByRole('navigation').getByRole('link', { name: 'Sessions' }).click();
    const row = line(NOTEBOOK);
    await row.getByText(/Running, busy/).waitFor();
    await row.getByText(/([5-9]|\d{2,3}) % of \d+ %/).waitFor();
    await w.look('sessions');
    await row.getByRole('button', { name: 'Interrupt' }).focus();
    await page.keyboard.press('Enter');
    await row.getByText('Running, idle').waitFor();
    await row.getByRole('button', { name: 'Hibernate' }).click();
    await row.getByText('Hibernated').waitFor();
    await w.look('sessions-hibernated');
    await row.getByRole('button', { name: 'Resume' }).click();
    await row.getByText('Running, idle').waitFor();
  });
  await check('11 in the dark', async () => {
    const dark = await Browser.open(w.complaints, { colorScheme: 'dark' });
    try {
      const other = await dark.page();
      await signIn(other, w.hub.url, 'admin', w.password);
      await other.goto(`${w.hub.url}/sessions`);
      await other.locator('.sessions tbody tr').first().waitFor();
      const [ink, paper] = await other.locator('.sessions').evaluate(node => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]);
      const bright = c => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
      truly(`the letters cannot be read: ${ink} on ${paper}`, bright(ink) - bright(paper) > 90);
      await w.look('sessions-dark', other);
    } finally {
      await dark.close();
    }
  });
  await check('11 another person sees none of them', async () => {
    const password = w.hub.cli('user', 'add', 'eve').split(/\s+/).pop();
    const other = await Browser.open(w.complaints);
    try {
      const theirs = await other.page();
      await signIn(theirs, w.hub.url, 'eve', password);
      await theirs.goto(`${w.hub.url}/sessions`);
      await theirs.getByText('No sessions').waitFor();
    } finally {
      await other.close();
    }
  });
  await check('11 a kernel is shut down from there, after a question', async () => {
    await page.goto(`${w.hub.url}/sessions`);
    await line(NOTEBOOK).getByRole('button', { name: 'Shut down' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Shut down' }).click();
    await line(NOTEBOOK).waitFor({ state: 'detached' });
  });
}

async function waking(w) {
  const { check, page } = w;
  await check('11 a kernel that slept says how fast it woke', async () => {
    const lab = await enter(w);
    await lab.cell(0).node.click();
    await lab.exec('import time; kept = 41');
    const at = await lab.active();
    await page.locator('.lm-MenuBar-item').filter({ hasText: /^Cellar$/ }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Hibernate Now' }).click();
    await lab.state('hibernated');
    await lab.cell(at).focus();
    const cell = await lab.write('kept + 1');
    await cell.run();
    await cell.done();
    same('answer', (await cell.text()).trim(), '42');
    const strip = page.locator('.cellar-Away-strip:visible');
    await strip.getByText(/woke in [\d.]+ m?s/).waitFor();
    await w.look('woke');
    return strip.textContent();
  });
}

module.exports = { marks, dark, history, notifications, webhook, sessions, waking };
