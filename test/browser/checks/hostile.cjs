// What a project holds is a stranger's: its pages must not act on the hub as the person who looks at them.
const fs = require('node:fs');
const { same, truly } = require('../lib/report.cjs');

/** Runs in the hostile page. Gives what each attempt came to; 'done' would be a success of the attacker. */
const attack = `
async function attack() {
  const said = {};
  const attempt = async (name, body) => {
    try { said[name] = await Promise.race([body(), new Promise(r => setTimeout(r, 5000, 'no answer'))]); } catch (e) { said[name] = 'refused: ' + e.name; }
  };
  await attempt('cookie', async () => (document.cookie ? 'done' : 'refused: empty'));
  await attempt('storage', async () => (localStorage.setItem('x', '1'), 'done'));
  await attempt('read', async () => { const r = await fetch('/api/v1/me', { credentials: 'include' }); return r.ok ? 'done' : 'refused: ' + r.status; });
  await attempt('blind write', async () => {
    await fetch('/projects/digits/api/contents/owned.txt', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"type":"file"}' });
    await fetch('/api/v1/tokens', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"name":"owned"}' });
    await fetch('/signout', { method: 'POST', mode: 'no-cors', credentials: 'include' });
    return 'sent';
  });
  await attempt('write', async () => {
    const r = await fetch('/projects/digits/api/contents/owned.txt', { method: 'PUT', credentials: 'include', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'file', format: 'text', content: 'owned' }) });
    return r.ok ? 'done' : 'refused: ' + r.status;
  });
  for (const [name, path] of [['terminal', 'terminals/websocket/1'], ['events', 'api/events/subscribe']]) {
    await attempt(name, () => new Promise(said => {
      const ws = new WebSocket('ws://' + location.host + '/projects/digits/' + path);
      ws.onopen = () => said('done');
      ws.onerror = () => said('refused: closed');
    }));
  }
  await attempt('form', async () => {
    const f = document.createElement('form');
    if (!f.submit) return 'refused: no forms';
    Object.assign(f, { method: 'post', action: '/signout', target: '_blank' });
    (document.body ?? document.documentElement).append(f);
    f.submit();
    return 'sent';
  });
  await attempt('window', async () => (window.open('/projects/digits/lab') ? 'done' : 'refused: null'));
  await attempt('parent', async () => (parent === window ? 'refused: none' : (parent.document.title, 'done')));
  await attempt('top', async () => { if (top !== window) top.location = '/signout'; return 'sent'; });
  await attempt('worker', async () => (await navigator.serviceWorker.register('sw.js'), 'done'));
  return said;
}
`;
const page = `<!DOCTYPE html><html><head><title>hostile</title></head><body>hostile<script>${attack}
attack().then(said => { document.title = 'ended'; window.said = said; });</script></body></html>`;
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><rect width="100" height="100" fill="red"/><script><![CDATA[${attack}
attack().then(said => { window.said = said; });]]></script></svg>`;
const notebook = JSON.stringify({
  cells: [{ cell_type: 'code', id: 'evil', source: '', metadata: {}, execution_count: 1, outputs: [
    { output_type: 'display_data', metadata: {}, data: { 'text/html': `<script>${attack} attack().then(said => { window.said = said; });</script>` } }] }],
  metadata: { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } }, nbformat: 4, nbformat_minor: 5
});

/** The hostile page ran, and none of its attempts came to anything. */
function harmless(said) {
  truly('the hostile script did not run, so nothing was tried', said && Object.keys(said).length > 8);
  for (const [name, outcome] of Object.entries(said)) {
    truly(`${name}: ${outcome}`, outcome === 'sent' || outcome.startsWith('refused'));
  }
}

async function hostile(w) {
  const { check, hub, browser } = w;
  const url = `${hub.url}/projects/digits`;
  for (const [name, text] of [['evil.html', page], ['evil.svg', svg], ['evil.ipynb', notebook], ['sw.js', 'self.onfetch = () => {}']]) {
    fs.writeFileSync(hub.file('digits', name), text);
  }
  const tab = await browser.context.newPage();
  browser.deaf = true; // the hostile pages' refusals are what is wanted
  const ask = path => tab.evaluate(async p => (await fetch(p)).json(), path);
  const state = async () => {
    await tab.goto(`${hub.url}/`);
    const me = await ask('/api/v1/me');
    return [me.name, (await ask('/api/v1/tokens')).items.map(t => t.name), fs.existsSync(hub.file('digits', 'owned.txt')), fs.existsSync(hub.file('digits', 'untitled.txt'))];
  };
  const before = await state();
  await check('9 the attack itself works from a page of our own', async () => {
    await tab.goto(`${hub.url}/`);
    const said = await tab.evaluate(`(() => { ${attack} return attack(); })()`);
    same('what a page of ours may do', [said.cookie, said.storage, said.read, said.events], ['done', 'done', 'done', 'done']);
    await tab.evaluate(() => localStorage.clear());
  });
  for (const pages of tab.context().pages()) {
    if (pages !== tab && pages !== w.page) {
      await pages.close(); // what the attack opened
    }
  }
  await tab.goto(`${hub.url}/`);
  if (tab.url().includes('/signin')) { // the attack's form signed us out, as a page of ours may
    await tab.getByLabel('Name', { exact: true }).fill('admin');
    await tab.getByLabel('Password').fill(w.password);
    await tab.getByRole('button', { name: 'Sign in' }).click();
    await tab.getByRole('heading', { name: 'Projects', exact: true }).waitFor();
  }
  for (const [name, path, inside] of [
    ['an HTML file', '/files/evil.html'], ['an SVG file', '/files/evil.svg'], ['an HTML file in /view', '/view/evil.html', true],
    ['an SVG file in /view', '/view/evil.svg', true], ['a converted notebook', '/nbconvert/html/evil.ipynb']
  ]) {
    await check(`9 ${name} can do nothing`, async () => {
      const response = await tab.goto(url + path);
      same('status', response.status(), 200);
      const frame = inside ? tab.frames().find(f => f.url().includes('/files/')) : tab.mainFrame();
      await frame.waitForFunction(() => window.said, null, { timeout: 90_000 });
      harmless(await frame.evaluate(() => window.said));
      same('the address', new URL(tab.url()).pathname, `/projects/digits${path}`);
      same('what there is', await state(), before);
    });
  }
  await check('9 a page of a project does not learn the token in its address', async () => {
    const token = hub.cli('token');
    await tab.goto(`${url}/files/evil.html?token=${token}`);
    const seen = await tab.evaluate(() => [location.href, document.referrer].join(' '));
    truly(`the page sees ${seen}`, !seen.includes(token));
  });
  await check('9 the lab runs no script of a notebook from elsewhere, until its reader trusts it', async () => {
    const open = async () => {
      await tab.goto(`${url}/lab/workspaces/hostile/tree/evil.ipynb`);
      await tab.locator('.jp-Notebook .jp-OutputArea-output').first().waitFor({ state: 'attached' });
    };
    await open();
    await tab.locator('.jp-NotebookPanel .cellar-KernelBadge[data-state=idle]').waitFor({ timeout: 90_000 });
    truly('the script ran', await tab.evaluate(() => window.said === undefined));
    const status = await tab.evaluate(async () => {
      const token = document.cookie.match(/_xsrf=([^;]+)/)[1];
      return (await fetch('/projects/digits/api/contents/evil.ipynb/trust', { method: 'POST', headers: { 'X-XSRFToken': token } })).status;
    });
    same('trusting it', status, 201);
    await open();
    await tab.waitForFunction(() => window.said, null, { timeout: 90_000 }); // else this check would show nothing
  });
  await tab.close();
  for (const name of ['evil.html', 'evil.svg', 'evil.ipynb', 'sw.js']) {
    fs.rmSync(hub.file('digits', name));
  }
  browser.deaf = false;
}

module.exports = { hostile };
