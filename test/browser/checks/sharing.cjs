// Links: a notebook is read by people who may not open the project, and does nothing to them; they make copies of their own.
const fs = require('node:fs');
const { Browser, signIn } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAHgAAAAoCAIAAAC6iKlyAAAATUlEQVR4nO3QQQ0AIBDAMMC/50PGHjQKlmxvZmbW7L3uHgBfGC0yWmS0yGiR0SKjRUaLjBYZLTJaZLTIaJHRIqNFRouMFhktMlpktOgBbScBT2bPk7AAAAAASUVORK5CYII=';

const code = (source, outputs = [], count = 1) => ({ cell_type: 'code', id: `c${count}`, metadata: {}, source, outputs, execution_count: count });
const shown = data => ({ output_type: 'display_data', metadata: {}, data });

/** A notebook as people have it, and one that wants to act as its reader. */
const notebook = {
  nbformat: 4,
  nbformat_minor: 5,
  metadata: { kernelspec: { name: 'python3', display_name: 'Python', language: 'python' }, language_info: { name: 'python' } },
  cells: [
    { cell_type: 'markdown', id: 'm', metadata: {}, source: '# Measured heights\n\nWhat was **measured**, with $\\sigma_x = \\sqrt{\\frac{1}{n}}$ and a [link](https://example.org).\n\n| who | how high |\n|---|---|\n| ada | 1.70 |\n\n<script>document.title = "taken"; parent.taken = 1</script><img src=x onerror="parent.taken = 1">' },
    code('import pandas as pd\n\n# the heights\ndef table(n: int) -> pd.DataFrame:\n    return pd.DataFrame({"name": ["ada", "bob"], "height": [1.70, 1.82]})[:n]\n\ntable(2)', [
      shown({ 'text/html': '<style>body{display:none}</style><table border="1" class="dataframe"><thead><tr><th></th><th>name</th><th>height</th></tr></thead><tbody><tr><th>0</th><td>ada</td><td>1.70</td></tr><tr><th>1</th><td>bob</td><td>1.82</td></tr></tbody></table><script>parent.taken = 1; fetch("/api/v1/tokens", {method: "POST"})</script>', 'text/plain': 'x' })
    ]),
    code('print("fitting")', [{ output_type: 'stream', name: 'stdout', text: 'fitting\n 10%\r 60%\r100%\n' }, { output_type: 'stream', name: 'stderr', text: 'a warning\n' }], 2),
    code('plot()', [shown({ 'image/png': PIXEL, 'text/plain': '<Figure size 120x40>' })], 3),
    code('1 / 0', [{ output_type: 'error', ename: 'ZeroDivisionError', evalue: 'division by zero', traceback: ['\u001b[0;31m---------------------------------------\u001b[0m', '\u001b[0;31mZeroDivisionError\u001b[0m: division by zero'] }], 4),
    code('widget', [shown({ 'application/javascript': 'parent.taken = 1' })], 5)
  ]
};

const said = (page, text) => page.locator('#say').filter({ hasText: text }).waitFor();

/** Opens the notebook's frame; nothing of it must have reached the page around. */
async function read(page, url, signedIn) {
  const response = await page.goto(url);
  same('status', response.status(), 200);
  same('referrer policy', response.headers()['referrer-policy'], 'no-referrer');
  const frame = page.frameLocator('iframe');
  await frame.getByRole('heading', { name: 'Measured heights' }).waitFor();
  await frame.getByRole('cell', { name: 'bob', exact: true }).waitFor();
  await frame.getByText('ZeroDivisionError').first().waitFor();
  same('scripts that ran', await page.evaluate(() => [window.taken, document.title]), [undefined, 'shared.ipynb · Cellar']);
  truly('the notebook has an origin', (await page.evaluate(() => { try { return document.querySelector('iframe').contentDocument; } catch { return null; } })) === null);
  same('copy', await page.getByRole(signedIn ? 'button' : 'link', { name: /pen a copy/ }).count(), 1);
}

async function sharing(w) {
  const { check, page, hub } = w;
  const dialog = page.getByRole('dialog');
  const card = name => page.locator('#shares .card').filter({ hasText: name });
  const bob = hub.cli('user', 'add', 'reader').split(/\s+/).pop();
  const links = {};
  /** What is refused on purpose is no complaint. */
  const refused = async body => {
    const before = w.complaints.length;
    await body();
    await until('the browser has complained', () => w.complaints.length > before);
    w.complaints.splice(before, w.complaints.length, ...w.complaints.slice(before).filter(c => !/status of 400/.test(c)));
  };
  await check('15 a link to a notebook is made on the project’s page, by keyboard', async () => {
    fs.writeFileSync(hub.file('digits', 'shared.ipynb'), JSON.stringify(notebook));
    await page.goto(`${hub.url}/p/digits`);
    await page.getByText('Nothing is shared').waitFor();
    await page.getByRole('button', { name: 'Share a notebook …' }).focus();
    await page.keyboard.press('Enter');
    await dialog.getByLabel('Notebook').fill('shared.ipynb');
    await dialog.getByLabel('A name for the list of links').fill('for the review');
    await w.look('share-dialog');
    await page.keyboard.press('Enter');
    links.anyone = await dialog.locator('input.secret').inputValue();
    truly(links.anyone, /\/s\/[a-z2-7]{32}$/.test(links.anyone));
    await page.keyboard.press('Enter');
    await card('for the review').getByText('anyone with the link').waitFor();
  });
  await check('15 somebody who is not signed in reads it, and nothing in it acts', async () => {
    for (const [scheme, complaints] of [['light', []], ['dark', []]]) {
      const other = await Browser.open(complaints, { colorScheme: scheme });
      try {
        const stranger = await other.page();
        await read(stranger, links.anyone, false);
        await w.look(`shared-${scheme}`, stranger);
        same('complaints', complaints, []);
        await stranger.setViewportSize({ width: 400, height: 700 });
        await w.look(`shared-${scheme}-narrow`, stranger);
        const alone = await stranger.goto(`${links.anyone}/notebook`);
        truly('the notebook by itself is no sandbox', /sandbox/.test(alone.headers()['content-security-policy']));
        same('scripts that ran', await stranger.title(), 'shared.ipynb');
      } finally {
        await other.close();
      }
    }
  });
  await check('15 who is named finds it, makes a copy, and works in it', async () => {
    await page.reload();
    await page.getByRole('button', { name: 'Share a notebook …' }).click();
    await dialog.getByLabel('Notebook').fill('shared.ipynb');
    await dialog.getByLabel('A name for the list of links').fill('for the reader');
    await dialog.getByLabel(/^These people/).check();
    await dialog.getByLabel('Their names').fill('nobody-of-that-name');
    await refused(async () => {
      await dialog.getByRole('button', { name: 'Make the link' }).click();
      await dialog.getByText('There is no account named "nobody-of-that-name"').waitFor();
    });
    await dialog.getByLabel('Their names').fill('reader');
    await dialog.getByRole('button', { name: 'Make the link' }).click();
    links.named = await dialog.locator('input.secret').inputValue();
    await page.keyboard.press('Escape');
    const complaints = [];
    const other = await Browser.open(complaints);
    try {
      const reader = await other.page();
      await signIn(reader, hub.url, 'reader', bob);
      await reader.getByRole('heading', { name: 'Shared with me' }).waitFor();
      await w.look('shared-with-me', reader);
      await reader.getByRole('link', { name: 'Open for the reader' }).click();
      await read(reader, reader.url(), true);
      await reader.getByRole('button', { name: 'Open a copy …' }).click();
      await reader.getByLabel('Name of the project').fill('My copy');
      await w.look('copy-dialog', reader);
      await reader.getByRole('button', { name: 'Make the copy' }).click();
      await reader.waitForURL(/\/projects\/my-copy\/lab/, { timeout: 60_000 });
      await reader.locator('.jp-Notebook .jp-Cell').first().waitFor({ timeout: 60_000 });
      same('scripts that ran', await reader.evaluate(() => window.taken), undefined);
      await w.look('copy-in-the-lab', reader);
      same('projects', (await reader.evaluate(async () => (await (await fetch('/api/v1/projects')).json()).items)).map(p => p.id), ['my-copy']);
      same('complaints', complaints.filter(c => !/files\/x\?/.test(c)), []); // the lab asks for the picture that is none
    } finally {
      await other.close();
    }
  });
  await check('15 the list says how often it was opened, and revoking it ends it', async () => {
    await page.reload();
    await card('for the review').getByText(/\d times/).waitFor();
    await card('for the reader').getByText('for reader').waitFor();
    await w.look('links');
    for (const name of ['for the review', 'for the reader']) {
      await card(name).getByRole('button', { name: 'Revoke …' }).click();
      await dialog.getByRole('button', { name: 'Revoke' }).click();
      await said(page, 'The link is revoked');
      await card(name).waitFor({ state: 'detached' });
    }
    const other = await Browser.open([]);
    try {
      const stranger = await other.page();
      const response = await stranger.goto(links.anyone);
      same('status', response.status(), 404);
      await stranger.getByRole('heading', { name: 'Nothing here' }).waitFor();
      await w.look('revoked', stranger);
    } finally {
      await other.close();
    }
  });
  const theme = async name => {
    await page.locator('.lm-MenuBar-item').filter({ hasText: /^Settings$/ }).click();
    for (const label of ['Theme', name]) {
      await page.locator('.lm-Menu-item').filter({ has: page.getByText(label, { exact: true }) }).first().click();
    }
    await page.locator(`body[data-jp-theme-light=${name === 'JupyterLab Light'}]`).waitFor({ state: 'attached' });
  };
  const accept = page.locator('.jp-Dialog .jp-mod-accept');
  await check('15 the notebook is shared from the lab', async () => {
    await page.goto(`${hub.url}/projects/digits/lab/tree/tour.ipynb?reset`); // one notebook, whatever was open
    await page.locator('.jp-Notebook:visible .jp-Cell').first().waitFor({ timeout: 60_000 });
    await page.locator('.lm-MenuBar-item').filter({ hasText: /^Cellar$/ }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Share Notebook by a Link' }).click();
    await page.getByRole('radio', { name: 'Anyone who has the link' }).waitFor();
    await w.look('lab-share');
    await accept.click();
    const text = await page.locator('.cellar-Copied[data-name=link] pre').innerText();
    truly(text, /\/s\/[a-z2-7]{32}$/.test(text));
    await w.look('lab-shared');
    await accept.click();
    await page.locator('.jp-Dialog').waitFor({ state: 'detached' });
    same('shared', (await hub.api('/api/v1/projects/digits/shares')).items.map(s => [s.notebook, s.copies]), [['tour.ipynb', 'notebook']]);
  });
  await check('15 a checkpoint is shared from the lab; its memory only when that is chosen', async () => {
    await theme('JupyterLab Dark');
    await page.locator('.jp-SideBar .lm-TabBar-tab[title="Checkpoints"]').click();
    await page.getByRole('button', { name: 'Save checkpoint' }).click();
    await page.locator('.jp-Dialog input').fill('to show');
    await accept.click();
    await page.locator('.cellar-Checkpoint-name').getByText('to show', { exact: true }).waitFor({ timeout: 60_000 });
    await page.getByRole('button', { name: 'More for to show', exact: true }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Share by a link' }).click();
    const warning = page.getByText('Everything in the kernel’s memory goes with each copy');
    truly('the files are not what is chosen at first', await page.getByRole('radio', { name: /all files and packages/ }).isChecked());
    same('warnings', await warning.count(), 0);
    await page.getByRole('radio', { name: /the kernel with its state/ }).check();
    await warning.waitFor();
    await w.look('lab-share-dark');
    await page.getByRole('radio', { name: /all files and packages/ }).check();
    await accept.click();
    await page.locator('.cellar-Copied[data-name=link] pre').waitFor();
    await accept.click();
    await theme('JupyterLab Light');
    const shares = (await hub.api('/api/v1/projects/digits/shares')).items;
    same('shared', [shares[0].checkpoint_name, shares[0].copies], ['to show', 'files']);
    for (const share of shares) {
      await hub.api(`/api/v1/projects/digits/shares/${share.id}`, 'DELETE');
    }
  });
  await check('15 the console shares a checkpoint, and says what a copy with the memory has', async () => {
    await page.goto(`${hub.url}/p/digits`);
    await page.locator('#checkpoints .card').filter({ hasText: 'to show' }).getByRole('button', { name: 'Share …' }).click();
    await dialog.getByRole('radio', { name: /the kernel with its state/ }).check();
    await dialog.getByText('Everything in the kernel’s memory goes with each copy').waitFor();
    await page.emulateMedia({ colorScheme: 'dark' });
    await w.look('share-checkpoint-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await dialog.getByRole('button', { name: 'Make the link' }).click();
    await dialog.locator('input.secret').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('#shares .pill').filter({ hasText: 'With the kernel’s memory' }).waitFor();
    const [share] = (await hub.api('/api/v1/projects/digits/shares')).items;
    same('copies', share.copies, 'state');
    await hub.api(`/api/v1/projects/digits/shares/${share.id}`, 'DELETE');
  });
  await check('15 a checkpoint is exported to a file, and imported from it', async () => {
    const card = page.locator('#checkpoints .card').filter({ hasText: 'to show' });
    const files = [];
    for (const state of [false, true]) {
      await card.getByRole('button', { name: 'Export …' }).click();
      await dialog.getByRole('checkbox').setChecked(state);
      if (state) {
        await w.look('export');
      }
      const [download] = await Promise.all([page.waitForEvent('download'), dialog.getByRole('button', { name: 'Export', exact: true }).click()]);
      same('name', download.suggestedFilename(), 'to-show.cellar.tar');
      files.push(await download.path());
    }
    truly('the state takes no room', fs.statSync(files[1]).size > fs.statSync(files[0]).size + (5 << 20));
    await page.goto(hub.url);
    await page.getByRole('button', { name: 'Import …' }).click();
    await dialog.getByLabel('File').setInputFiles(hub.file('digits', 'shared.ipynb'));
    await refused(async () => {
      await dialog.getByRole('button', { name: 'Import', exact: true }).click();
      await dialog.getByText('This is no checkpoint that was exported by Cellar').waitFor();
    });
    await dialog.getByLabel('File').setInputFiles(files[0]);
    await dialog.getByLabel('Name of the project').fill('From a file');
    await w.look('import');
    await dialog.getByRole('button', { name: 'Import', exact: true }).click();
    await dialog.getByText('The state of the kernel was not exported.').waitFor();
    await page.emulateMedia({ colorScheme: 'dark' });
    await w.look('imported-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await dialog.getByRole('button', { name: 'Open it' }).click();
    await page.waitForURL(/\/projects\/from-a-file\/lab/);
    await page.locator('.jp-Notebook .jp-Cell').first().waitFor({ timeout: 60_000 });
    await page.goto(hub.url);
    await page.getByRole('button', { name: 'Import …' }).click();
    await dialog.getByLabel('File').setInputFiles(files[1]);
    await dialog.getByLabel('Name of the project').fill('Whole from a file');
    await dialog.getByRole('button', { name: 'Import', exact: true }).click();
    await page.waitForURL(/\/projects\/whole-from-a-file\/lab/, { timeout: 60_000 });
    same('kernels', (await hub.kernels('whole-from-a-file')).map(k => k.notebook), ['tour.ipynb']);
  });
}

module.exports = { sharing };
