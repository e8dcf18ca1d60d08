// Going back to a checkpoint, and making an API of a cell.
const { execFileSync } = require('node:child_process');
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

/** The tour's cells that a published cell needs, each by words of its source: cells were added meanwhile. */
const CELLS = { data: 'load_digits()', model: 'model.fit(', sample: 'pixels = digits', predict: 'model.predict(' };

const toast = (page, text) => page.locator('.Toastify__toast').filter({ hasText: text }).first();

async function openPanel(page) {
  if (!(await page.locator('#cellar-checkpoints:visible').count())) {
    await page.locator('.jp-SideBar .lm-TabBar-tab[title="Checkpoints"]').click();
  }
  await page.locator('#cellar-checkpoints').getByRole('heading', { name: 'Checkpoints' }).waitFor();
}

async function checkpoints(w) {
  const { check, lab, page } = w;
  await check('5 a checkpoint is saved under a name', async () => {
    await lab.openFile('tour.ipynb');
    await (await lab.find('pixels = digits')).focus();
    await lab.exec('x = 1');
    await openPanel(page);
    await page.getByRole('button', { name: 'Save checkpoint' }).click();
    await page.locator('.jp-Dialog input').fill('one');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await page.locator('.cellar-Checkpoint-name').getByText('one', { exact: true }).waitFor({ timeout: 60_000 });
    await toast(page, 'is saved').waitFor();
  });
  await check('5 applying it says what will change, x is back, the text stays', async () => {
    const end = await lab.find('x = 1');
    await end.focus();
    await lab.exec('x = 2');
    const text = await lab.write('# typed since then');
    await page.getByRole('button', { name: 'Apply one', exact: true }).click();
    const row = page.locator('.cellar-Apply tr').filter({ has: page.getByRole('rowheader', { name: 'x', exact: true }) });
    await row.waitFor();
    same('told', await row.locator('td').allInnerTexts(), ['2', '1']);
    await w.picture('checkpoints');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, 'is applied').waitFor({ timeout: 60_000 });
    await text.focus();
    same('x', (await lab.exec('x')).trim(), '1');
    same('text', (await text.node.locator('.cm-content').innerText()).trim(), '# typed since then');
    same('dialogs', await lab.dialogs(), 0);
  });
  await check('5 a branch: a second session goes on from the checkpoint, the first as it was', async () => {
    await lab.exec('x = 5');
    await page.getByRole('button', { name: 'More for one', exact: true }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Branch' }).click();
    await toast(page, 'has the variables of that checkpoint').waitFor({ timeout: 60_000 });
    const tab = page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab.lm-mod-current').filter({ hasText: 'tour-branch.ipynb' });
    await tab.waitFor();
    await lab.state('hibernated');
    await page.waitForTimeout(1500); // whatever a page asks when it opens is asked by now
    await lab.state('hibernated');
    await w.look('branch');
    await lab.cell(0).node.click();
    same('x of the branch', (await lab.exec('x')).trim(), '1');
    const origin = page.locator('.cellar-Checkpoint').filter({ has: page.locator('.cellar-Checkpoint-name', { hasText: /^one$/ }) });
    await origin.getByText('the kernel goes on from here').waitFor();
    same('of the first session', await origin.getByRole('button', { name: 'Branch from one' }).count(), 1);
    await w.look('timeline');
    await page.keyboard.press('Control+s');
    await until('saved', async () => !(await page.locator('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty').count()));
    await tab.locator('.lm-TabBar-tabCloseIcon').click();
    await lab.openFile('tour.ipynb');
    await (await lab.find('# typed since then')).focus();
    same('x of the first', (await lab.exec('x')).trim(), '5');
    await lab.exec('x = 1');
    same('dialogs', await lab.dialogs(), 0);
  });
  await check('5 the menu of a checkpoint tells what changed since the one before', async () => {
    await lab.exec('x = 77');
    await page.getByRole('button', { name: 'Save checkpoint' }).click();
    await page.locator('.jp-Dialog input').fill('two');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await page.locator('.cellar-Checkpoint-name').getByText('two', { exact: true }).waitFor({ timeout: 60_000 });
    await page.getByRole('button', { name: 'More for two', exact: true }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'What changed' }).click();
    const row = page.locator('.cellar-Apply tr').filter({ has: page.getByRole('rowheader', { name: 'x', exact: true }) });
    await row.waitFor();
    same('told', await row.locator('td').allInnerTexts(), ['77', '1']);
    await w.look('changes');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await (await lab.find('# typed since then')).focus(); // out of the dialog
  });
  await check('5 a cell is undone: the variables are those from before it ran', async () => {
    await lab.exec('x = 78');
    await page.locator('#jp-MainMenu .lm-MenuBar-item').filter({ hasText: 'Cellar' }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Undo Cell' }).click();
    await page.locator('.jp-Dialog-header').filter({ hasText: 'Apply “two”?' }).waitFor();
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, '“two” is applied').waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus();
    same('x', (await lab.exec('x')).trim(), '77');
    await lab.exec('x = 1');
  });
  await check('5 a kernel is kept awake for a while', async () => {
    await page.getByRole('button', { name: 'More: hibernate, resume, keep awake' }).click();
    await page.locator('.lm-Menu-item').filter({ hasText: 'Keep Awake' }).click();
    await page.locator('.jp-Dialog select').selectOption('4 hours');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, 'is kept awake for 4 hours').waitFor();
  });
  await check('5 a restart is undone by one press of a button', async () => {
    await (await lab.find('# typed since then')).focus();
    await page.keyboard.press('Escape');
    await page.keyboard.press('0');
    await page.keyboard.press('0');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    const told = toast(page, 'Restarted.');
    await told.waitFor({ timeout: 60_000 });
    await told.getByRole('button', { name: 'Undo' }).click();
    await toast(page, 'what it was before the restart').waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus(); // out of the notification
    same('x', (await lab.exec('x')).trim(), '1');
    same('dialogs', await lab.dialogs(), 0);
  });
}

/** Files as checkpoints have them. */
async function files(w) {
  const { check, lab, page } = w;
  await check('5 earlier versions of a file: compared, restored, the present one kept', async () => {
    await lab.openFile('tour.ipynb');
    await (await lab.find('# typed since then')).focus();
    await lab.exec("x = 77; _ = open('notes.txt', 'w').write('first line\\nsecond\\n')");
    await openPanel(page);
    await page.getByRole('button', { name: 'Save checkpoint' }).click();
    await page.locator('.jp-Dialog input').fill('notes');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    const row = page.locator('.cellar-Checkpoint').filter({ has: page.locator('.cellar-Checkpoint-name', { hasText: /^notes$/ }) });
    await row.getByText(/\d+ files?$/).waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus(); // out of the dialog
    await lab.exec("_ = open('notes.txt', 'w').write('first line\\nchanged\\n')");
    await page.locator('.jp-SideBar .lm-TabBar-tab[title^="File Browser"]').click();
    await page.getByRole('button', { name: /Refresh the file browser/i }).first().click();
    const item = page.locator('.jp-DirListing-item').filter({ hasText: 'notes.txt' }).first();
    await item.click({ button: 'right' });
    await page.locator('.lm-Menu-item').filter({ hasText: 'Earlier Versions' }).click();
    const versions = page.locator('.cellar-Versions tbody tr');
    await versions.first().waitFor();
    same('versions', await versions.count(), 1);
    await w.look('versions');
    await page.getByRole('button', { name: 'Compare notes.txt' }).click();
    const lines = page.locator('.cellar-Difference div');
    await lines.first().waitFor();
    same('difference', (await lines.allInnerTexts()).map(t => t.trim()).filter(t => /^[−+]/.test(t)), ['− second', '+ changed']);
    await w.look('difference');
    await page.getByRole('button', { name: 'Back', exact: true }).click();
    await page.getByRole('button', { name: 'Restore notes.txt' }).click();
    await page.getByRole('checkbox', { name: /Keep the present file/ }).waitFor();
    await w.look('restore');
    await page.getByRole('button', { name: 'Restore it' }).click();
    await toast(page, 'notes.txt is restored').waitFor();
    await page.locator('.jp-Dialog-footer .jp-mod-reject').click();
    await (await lab.find('# typed since then')).focus();
    same('restored', (await lab.exec("print(open('notes.txt').read().split()[-1], open('notes (before restore).txt').read().split()[-1])")).trim(), 'second changed');
    same('dialogs', await lab.dialogs(), 0);
  });
  await check('5 files come back with the variables when they are ticked, and not before', async () => {
    await lab.exec("x = 79; _ = open('notes.txt', 'w').write('third\\n')");
    await openPanel(page);
    const dialog = async () => {
      await page.getByRole('button', { name: 'Apply notes', exact: true }).click();
      const tick = page.getByRole('checkbox', { name: /other files/ });
      await tick.waitFor();
      return tick;
    };
    let tick = await dialog();
    same('ticked', await tick.isChecked(), false);
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, '“notes” is applied').waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus();
    same('not ticked', (await lab.exec("print(x, open('notes.txt').read())")).trim(), '77 third');
    await openPanel(page);
    tick = await dialog();
    await tick.check();
    await page.locator('.cellar-Files li').filter({ hasText: 'notes.txt' }).first().waitFor();
    await w.look('apply-files');
    await until('the note is gone', async () => !(await page.locator('.Toastify__toast').filter({ hasText: '“notes” is applied' }).count()));
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, '“notes” is applied').waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus();
    same('restored', (await lab.exec("print(open('notes.txt').read().split()[-1])")).trim(), 'second');
    await lab.exec('x = 1');
    same('dialogs', await lab.dialogs(), 0);
  });
}

async function publish(w) {
  const { check, lab, page } = w;
  let pixels, url, key, line;
  await check('6 the publish button shows what goes in and out', async () => {
    await lab.openFile('tour.ipynb');
    for (const [id, text] of Object.entries(CELLS)) {
      const cell = await lab.find(text);
      await cell.run();
      await cell.done();
      same(`errors of ${id}`, await cell.errors(), 0);
    }
    const predict = await lab.find(CELLS.predict);
    await predict.focus();
    await predict.node.locator('[data-jp-item-name="cellar-publish"]').click();
    const side = name => page.locator(`.cellar-Fields[data-side=${name}]`);
    await side('inputs').waitFor();
    const read = async name => [await side(name).locator('input').inputValue(), await side(name).locator('select').inputValue()];
    same('inputs', await read('inputs'), ['pixels', 'array']);
    same('outputs', await read('outputs'), ['digit', 'integer']);
  });
  await check('6 it is published: an address, a key, a line for the shell', async () => {
    await page.locator('.cellar-PublishDialog .jp-mod-accept').click();
    const shown = name => page.locator(`.cellar-Published [data-name=${name}] pre`).textContent({ timeout: 90_000 });
    [url, key, line] = [await shown('url'), await shown('key'), await shown('curl')];
    truly(line, line.startsWith('curl ') && line.includes(url) && line.includes(key));
    await w.picture('publish');
    await page.getByRole('button', { name: 'Done' }).click();
  });
  await check('6 a program calls it: {"digit":7}', async () => {
    const cell = await lab.write('import json; print(json.dumps(pixels))');
    await cell.run();
    await cell.done();
    pixels = JSON.parse(await cell.text());
    const response = await fetch(url, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ pixels })
    });
    same('answer', [response.status, await response.json()], [200, { digit: 7 }]);
  });
  await check('6 the displayed line, run as it is', async () => {
    const said = execFileSync('bash', ['-c', line], { encoding: 'utf8', timeout: 60_000, stdio: ['ignore', 'pipe', 'ignore'] });
    same('answer', JSON.parse(said), { digit: 7 });
  });
  await check('6 published again it has a second revision, the same address and the same key', async () => {
    const predict = await lab.find(CELLS.predict);
    await predict.focus();
    await page.keyboard.press('End');
    await page.keyboard.type('\n# once more');
    await predict.node.locator('[data-jp-item-name="cellar-publish"]').click();
    await page.locator('.cellar-PublishDialog').getByText('It gets a new revision').waitFor();
    await page.locator('.cellar-PublishDialog .jp-mod-accept').click();
    const shown = page.locator('.cellar-Published');
    await shown.getByText('Revision 2 of the node').waitFor({ timeout: 90_000 });
    same('address', await shown.locator('[data-name=url] pre').textContent(), url);
    same('keys', await shown.locator('[data-name=key]').count(), 0);
    await page.getByRole('button', { name: 'Done' }).click();
    const response = await fetch(url, { method: 'POST', headers: { Authorization: `Bearer ${key}` }, body: JSON.stringify({ pixels }) });
    same('answer', [response.status, response.headers.get('Cellar-Revision'), await response.json()], [200, '2', { digit: 7 }]);
  });
}

module.exports = { checkpoints, files, publish, openPanel };
