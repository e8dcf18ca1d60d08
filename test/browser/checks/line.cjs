// A machine that is full: what can be had is said before it is chosen, and kernels wait in line. On a hub of its own,
// which gives only one kernel room.
const os = require('node:os');
const { Browser } = require('../lib/browser.cjs');
const { Hub, until } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');

const toast = (page, text) => page.locator('.Toastify__toast').filter({ hasText: text }).first();
const ONE = Math.min(2 ** 31, (os.totalmem() / 4) * 3); // the memory of c1.1

async function line(w) {
  const { check } = w;
  const hub = await Hub.make('--overcommit', String((1.4 * ONE) / os.totalmem()));
  const browser = await Browser.open(w.complaints, { colorScheme: 'dark' });
  try {
    const first = await hub.start({ first: true });
    const page = await browser.page();
    const post = async (path, body) => {
      hub.token ??= hub.cli('token');
      const answer = await fetch(hub.url + path, { method: 'POST', headers: { Authorization: `Bearer ${hub.token}`, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      return answer.json();
    };
    /** Not as the other checks do it: they wait until the kernel is ready. */
    const open = name => page.locator('.jp-DirListing-item').filter({ hasText: name }).dblclick();
    let other;
    await check('16 a notebook for which there is no room shows where it stands in line', async () => {
      await post('/api/v1/projects', { name: 'Digits' });
      await post('/projects/digits/api/contents', { type: 'notebook' });
      other = await post('/projects/digits/api/kernels', { name: 'python3' });
      await until('it runs', async () => (await hub.kernels('digits'))[0].state === 'running');
      await page.goto(first);
      await page.goto(`${hub.url}/projects/digits/lab`);
      await open('tour.ipynb');
      await page.locator('.cellar-KernelBadge[data-state=waiting]').filter({ hasText: 'Waiting, 1st' }).waitFor();
      await toast(page, 'tour.ipynb waits for room on this machine: 1st in line.').waitFor();
      await w.look('line', page);
    });
    await check('16 the switcher says what can be had, and what is free', async () => {
      await new Lab(page).switcher.click();
      await page.locator('.cellar-Free').filter({ hasText: /Free now: .* of memory to give, .*1 kernel in line/ }).waitFor();
      same('those with room', await page.locator('.cellar-Choice[data-available=true]').count(), 0);
      truly('no reason', (await page.locator('.cellar-Choice').first().getAttribute('title')).includes('no room for c1.1'));
      await w.look('availability', page);
      await page.keyboard.press('Escape');
    });
    await check('16 when there is room again the kernel starts', async () => {
      await hub.api(`/api/v1/projects/digits/kernels/${other.id}`, 'DELETE');
      await page.locator('.cellar-KernelBadge[data-state=idle]').first().waitFor({ timeout: 60_000 });
      await toast(page, 'waits for room').waitFor({ state: 'detached' });
    });
    await check('16 one that waits can be taken out of the line', async () => {
      await open('Untitled.ipynb');
      await page.locator('.jp-Dialog').getByRole('button', { name: 'Select' }).click(); // it names no kernel
      await toast(page, 'Untitled.ipynb waits for room').waitFor();
      await page.getByRole('button', { name: 'Do not wait' }).click();
      await page.locator('.jp-NotebookPanel:not(.lm-mod-hidden) .cellar-KernelBadge[data-state=dead]').waitFor();
      await w.look('left', page);
    });
  } finally {
    await browser.close();
    hub.down();
  }
}

module.exports = { line };
