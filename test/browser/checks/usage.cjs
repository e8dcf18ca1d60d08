// What compute costs: live in the lab's status bar, as graph and tables in the console, and limits.
const { Browser, signIn } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');

const said = (page, text) => page.locator('#say').filter({ hasText: text }).waitFor();
const toast = (page, text) => page.locator('.Toastify__toast').filter({ hasText: text }).first();
const figure = text => Number(/^([\d.,]+) /.exec(text)?.[1].replace(/,/g, ''));
const shown = async page => {
  const [own, today] = await page.locator('.cellar-Units .jp-StatusBar-TextItem').allInnerTexts();
  return { own: figure(own), today: figure(today) };
};

async function enter(w, page = w.page) {
  await page.goto(`${w.hub.url}/projects/digits/lab/tree/tour.ipynb`);
  await page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab').filter({ hasText: 'tour.ipynb' }).first().waitFor();
  const lab = new Lab(page);
  await lab.openFile('tour.ipynb');
  return lab;
}

async function usage(w) {
  const { check, page } = w;
  const dialog = page.getByRole('dialog');
  const api = async path => w.hub.api(`/api/v1/${path}`);
  const used = async window => (await api('projects/digits/limits')).project.used[window];
  w.lab = await enter(w);
  await check('18 the status bar counts the units of the kernel and of the project, second by second', async () => {
    await w.lab.cell(0).node.click();
    await w.lab.exec('1');
    await page.locator('.cellar-Units').waitFor();
    const before = await shown(page);
    await until('it counts on', async () => (await shown(page)).own >= before.own + 3, 15_000);
    const [kernel] = (await w.hub.kernels('digits')).filter(k => k.notebook === 'tour.ipynb');
    const now = await shown(page);
    // What the page counts by itself is what the hub says, but for the moment between the two questions.
    truly(`${now.own} shown, ${kernel.use.units} told`, Math.abs(now.own - kernel.use.units) < 3 * kernel.use.per_second + 0.2);
    truly(`${now.today} of the project, ${now.own} of the kernel`, now.today > 0);
    await w.look('units');
  });
  await check('18 a limit that comes near is said, and at the limit the kernel sleeps with a reason', async () => {
    const limit = (await used('day')) + 8;
    await fetch(`${w.hub.url}/api/v1/projects/digits/limits`, {
      method: 'PUT', headers: { Authorization: `Bearer ${w.hub.token}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ day: limit })
    });
    await toast(page, 'units for today').waitFor();
    await toast(page, 'used all of the').waitFor({ timeout: 60_000 });
    await w.lab.state('hibernated');
    await w.look('limit');
    same('dialogs', await w.lab.dialogs(), 0);
  });
  await page.goto(`${w.hub.url}/p/digits`);
  const part = page.locator('#usage');
  await check('18 the project page shows the days, the kernels and the limit that is reached', async () => {
    await part.locator('.graph rect').first().waitFor({ state: 'attached' });
    await part.getByText('used all of the').waitFor();
    const rows = await part.getByRole('region', { name: 'Kernels' }).locator('tbody tr').allInnerTexts();
    truly(`rows: ${rows}`, rows.some(r => r.includes('tour.ipynb')));
    truly('the graph says nothing of itself', /at most/.test(await part.locator('.graph').getAttribute('aria-label')));
    await part.scrollIntoViewIfNeeded();
    await w.look('usage');
  });
  await check('18 limits are changed by keyboard', async () => {
    await part.getByRole('button', { name: 'Limits …' }).focus();
    await page.keyboard.press('Enter');
    await dialog.getByLabel('Units a day').fill('100000');
    await dialog.getByLabel('Units in one run of a cell').fill('2.5');
    await page.keyboard.press('Enter');
    await said(page, 'The limits are saved');
    await part.getByText('of 100,000 units today').waitFor();
    const { limits } = (await api('projects/digits/limits')).project;
    same('limits', limits, { run: 2.5, hour: 0, day: 100000, month: 0 });
    await part.getByRole('button', { name: 'Limits …' }).click();
    await dialog.getByLabel('Units a day').fill('');
    await dialog.getByLabel('Units in one run of a cell').fill('');
    await w.look('limits');
    await page.keyboard.press('Enter');
    await part.getByText('There is no limit').waitFor();
  });
  await check('18 the time is chosen, and the ledger downloaded', async () => {
    await part.getByLabel('Time').selectOption('7');
    await part.getByText('in 7 days').waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), part.getByRole('link', { name: 'Download as CSV' }).click()]);
    const stream = await download.createReadStream();
    let text = '';
    for await (const chunk of stream) {
      text += chunk;
    }
    truly(text.slice(0, 200), text.startsWith('id,began,ended,seconds,units,kind,') && text.includes(',kernel,') && text.includes('hibernate'));
  });
  await check('18 an administrator sees what each person has used', async () => {
    await page.getByRole('navigation').getByRole('link', { name: 'Usage' }).click();
    const row = page.getByRole('region', { name: 'People' }).locator('tbody tr').filter({ hasText: 'admin' });
    await row.waitFor();
    truly(await row.innerText(), figure((await row.locator('td').nth(1).innerText()) + ' ') > 0);
    await w.look('people-usage');
  });
  await check('18 in the dark', async () => {
    const dark = await Browser.open(w.complaints, { colorScheme: 'dark' });
    try {
      const other = await dark.page();
      await signIn(other, w.hub.url, 'admin', w.password);
      await other.goto(`${w.hub.url}/usage`);
      await other.getByRole('region', { name: 'People' }).locator('tbody tr').first().waitFor();
      await w.look('people-usage-dark', other);
      await other.goto(`${w.hub.url}/p/digits`);
      await other.locator('#usage .graph rect').first().waitFor({ state: 'attached' });
      await other.locator('#usage').scrollIntoViewIfNeeded();
      await w.look('usage-dark', other);
    } finally {
      await dark.close();
    }
  });
  w.lab = await enter(w);
}

module.exports = { usage };
