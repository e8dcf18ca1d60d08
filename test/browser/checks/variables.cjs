// The panel of variables: what the kernel has, as cells end, without anybody asking for it.
const { until } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');

const THINGS = `import numpy as np, pandas as pd
numbers = [3, 1, 2]
large = np.zeros((1000, 1000))
table = pd.DataFrame({'height': [1.8, 1.6], 'name': ['Ada', 'Bob']})
text = 'a few words'
class Odd:
    def __repr__(self): raise SystemExit
    __len__ = __repr__
    __class__ = property(__repr__)
odd = Odd()`;

const panelOf = page => page.locator('#cellar-variables');
const rowOf = (page, name) => panelOf(page).locator('tbody tr').filter({ has: page.getByRole('rowheader', { name, exact: true }) });
const names = page => panelOf(page).locator('tbody th').allInnerTexts();

/** By the keyboard alone. */
async function open(page) {
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Shift+C'); // the palette
  await page.keyboard.insertText('Show Variables');
  await page.locator('.lm-CommandPalette-item.lm-mod-active').filter({ hasText: 'Show Variables' }).waitFor();
  await page.keyboard.press('Enter');
  await panelOf(page).getByRole('heading', { name: 'Variables' }).waitFor();
}

/** Counts the page's questions for variables. */
function counted(page) {
  const asked = { count: 0 };
  page.on('request', request => /\/kernels\/[^/]+\/variables\b/.test(request.url()) && asked.count++);
  return asked;
}

async function panel(w) {
  const { check, page } = w;
  await page.goto(`${w.hub.url}/projects/digits/lab?reset`); // whatever panels were open
  const lab = (w.lab = new Lab(page));
  const asked = counted(page);
  await check('13 a closed panel asks nothing', async () => {
    await lab.newNotebook();
    await lab.writeHere(THINGS);
    const cell = lab.cell(await lab.active());
    await cell.run();
    await cell.done();
    same('errors', await cell.errors(), 0);
    same('questions', asked.count, 0);
  });
  await check('13 it opens by the keyboard and shows name, type, shape, size and value', async () => {
    await open(page);
    await rowOf(page, 'large').waitFor();
    truly('the page did not ask', asked.count > 0);
    same('large', await rowOf(page, 'large').locator('td').allInnerTexts(), ['ndarray', '(1000, 1000)', '7.6 MiB', 'float64 [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …]']);
    same('table', (await rowOf(page, 'table').locator('td').allInnerTexts()).filter((_, i) => i !== 2), ['DataFrame', '(2, 2)', "columns ['height', 'name']"]);
    same('numbers', (await rowOf(page, 'numbers').locator('td').allInnerTexts())[3], '[3, 1, 2]');
    same('odd', await rowOf(page, 'odd').locator('td').allInnerTexts(), ['Odd', '', '–', '']);
    await w.look('variables');
    const box = await panelOf(page).boundingBox(); // it is as wide as a side panel is at first: nothing is out of its sight
    for (const cell of await rowOf(page, 'large').locator('th, td').all()) {
      const at = await cell.boundingBox();
      truly(`a cell at ${at.x} to ${at.x + at.width}, in a panel at ${box.x} to ${box.x + box.width}`, at.x >= box.x && at.x + at.width <= box.x + box.width);
    }
  });
  await check('13 it is sorted and filtered by the keyboard', async () => {
    const head = name => panelOf(page).getByRole('columnheader', { name });
    same('order', await names(page), ['large', 'numbers', 'Odd', 'odd', 'table', 'text'].sort(new Intl.Collator('en').compare));
    await head('Size').getByRole('button').focus();
    await page.keyboard.press('Enter');
    same('by size', [(await names(page))[0], await head('Size').getAttribute('aria-sort')], ['large', 'descending']);
    await page.keyboard.press('Enter');
    same('the other way', [(await names(page)).at(-1), await head('Size').getAttribute('aria-sort')], ['large', 'ascending']);
    await panelOf(page).getByRole('searchbox').focus();
    await page.keyboard.insertText('data');
    same('filtered', await names(page), ['table']);
    truly('no count', (await panelOf(page).getByRole('status').innerText()).startsWith('1 of 6 variables'));
    await page.keyboard.press('Control+A');
    await page.keyboard.press('Backspace');
    same('all again', (await names(page)).length, 6);
  });
  await check('13 it follows the cells, and lists while one runs', async () => {
    await lab.cell(0).focus();
    await lab.exec('numbers.append(9); fresh = 1');
    await rowOf(page, 'fresh').waitFor();
    same('numbers', (await rowOf(page, 'numbers').locator('td').allInnerTexts()).slice(1, 2), ['(4)']);
    const waiting = await lab.write("within = 1\nwhile 'enough' not in globals(): time.sleep(.02)".replace('time', '__import__("time")'));
    await waiting.run();
    await lab.state('busy');
    await panelOf(page).getByTitle('Refresh').click();
    await rowOf(page, 'within').waitFor();
    await lab.state('busy');
    await page.keyboard.press('Escape');
    await waiting.focus();
    await page.keyboard.press('Escape');
    await page.keyboard.press('i');
    await page.keyboard.press('i');
    await lab.state('idle');
  });
  await check('13 a hidden panel asks nothing while cells run; shown again, it is current', async () => {
    await page.locator('.jp-SideBar.jp-mod-right .lm-TabBar-tab[title="Variables"]').click();
    await panelOf(page).waitFor({ state: 'hidden' });
    const before = asked.count;
    await lab.cell(0).focus();
    await lab.exec('while_hidden = 1');
    same('questions', asked.count, before);
    await page.locator('.jp-SideBar.jp-mod-right .lm-TabBar-tab[title="Variables"]').click();
    await rowOf(page, 'while_hidden').waitFor();
  });
  await check('13 a kernel that sleeps is not woken: its list stays, as of then', async () => {
    await lab.cell(0).focus();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Shift+C');
    await page.keyboard.insertText('Hibernate Now');
    await page.locator('.lm-CommandPalette-item.lm-mod-active').filter({ hasText: 'Hibernate Now' }).waitFor();
    await page.keyboard.press('Enter');
    await lab.state('hibernated');
    await panelOf(page).locator('table[data-current=false]').waitFor();
    await panelOf(page).getByText('The kernel is hibernated.').waitFor();
    const before = asked.count;
    await panelOf(page).getByTitle('Refresh').click();
    await until('it asked', () => asked.count > before);
    await panelOf(page).getByText('The kernel is hibernated.').waitFor();
    same('while_hidden', (await rowOf(page, 'while_hidden').locator('td').allInnerTexts())[3], '1');
    await lab.state('hibernated');
    const tops = await lab.panel.locator('.jp-NotebookPanel-toolbar > :not(.lm-mod-hidden)').evaluateAll(list => list.map(node => node.getBoundingClientRect()).filter(box => box.width).map(box => box.top));
    truly(`the toolbar has more than one line: ${tops}`, Math.max(...tops) - Math.min(...tops) < 20);
    await w.look('variables-hibernated');
    await lab.cell(0).focus();
    await lab.exec('awake = while_hidden');
    await rowOf(page, 'awake').waitFor();
    await panelOf(page).locator('table[data-current=true]').waitFor();
    same('dialogs', await lab.dialogs(), 0);
  });
}

async function dark(w) {
  await w.check('13 the panel can be read in the dark', async () => {
    const { page } = w;
    const was = await page.evaluate(() => document.body.dataset.jpThemeLight);
    await theme(page, 'Dark');
    await page.locator('body[data-jp-theme-light=false]').waitFor({ state: 'attached' });
    const bright = c => c.match(/[\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
    for (const part of ['tbody td', 'tbody th code', 'thead button', '[role=status]']) {
      const [ink, paper] = await panelOf(page).locator(part).first().evaluate(node => [
        getComputedStyle(node).color,
        getComputedStyle(node.closest('#cellar-variables')).backgroundColor
      ]);
      truly(`${part}: ${ink} on ${paper}`, bright(ink) - bright(paper) > 60);
    }
    await w.look('variables-dark');
    if (was === 'true') {
      await theme(page, 'Light');
      await page.locator('body[data-jp-theme-light=true]').waitFor({ state: 'attached' });
    }
    await page.locator('.jp-SideBar.jp-mod-right .lm-TabBar-tab[title="Variables"]').click();
    await panelOf(page).waitFor({ state: 'hidden' });
  });
}

/** Starts the kernel afresh, so it is the last. */
async function oneByOne(w) {
  const { page, lab } = w;
  const box = page.locator('.jp-Dialog');
  await w.check('13 variables are kept one by one, and brought back in a kernel started afresh', async () => {
    await lab.cell(0).node.click();
    await lab.exec('kept = {"a": [1, 2]}; stream = (i for i in range(3))');
    if (!(await page.locator('#cellar-checkpoints:visible').count())) {
      await page.locator('.jp-SideBar .lm-TabBar-tab[title="Checkpoints"]').click();
    }
    await page.locator('#cellar-checkpoints').getByRole('button', { name: /^More: hibernate/ }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Keep Variables Only' }).click();
    await box.locator('.jp-mod-accept').click();
    await box.getByRole('rowheader', { name: 'stream', exact: true }).waitFor({ timeout: 60_000 });
    await w.look('variables-kept');
    await box.locator('.jp-mod-accept').click();
    await lab.cell(0).node.click();
    await lab.exec('kept = None');
    await page.getByRole('button', { name: 'Apply Variables', exact: true }).click();
    await box.locator('.jp-mod-accept').click();
    await box.getByText('came back').waitFor({ timeout: 60_000 });
    await box.locator('.jp-mod-accept').click();
    await lab.cell(0).node.click();
    same('kept', (await lab.exec('kept, "stream" in dir()')).trim(), "({'a': [1, 2]}, False)");
    same('dialogs', await lab.dialogs(), 0);
  });
}

async function theme(page, name) {
  await page.locator('.lm-MenuBar-item').filter({ hasText: /^Settings$/ }).click();
  for (const label of ['Theme', `JupyterLab ${name}`]) {
    await page.locator('.lm-Menu-item').filter({ has: page.getByText(label, { exact: true }) }).first().click();
  }
}

module.exports = { panel, dark, oneByOne };
