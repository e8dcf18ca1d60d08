// The first minutes: a password, a project, the tour, another size under a running session.
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');

const tour = () => JSON.parse(fs.readFileSync(path.join(root, 'images/tour/tour.ipynb'), 'utf8')).cells;
const place = id => tour().findIndex(cell => cell.id === id);
const numbers = n => Array.from({ length: n }, (_, i) => `${i}\n`).join('');

async function firstSignIn(w) {
  const { must } = w;
  const page = (w.page = await w.browser.page());
  await must('1 the first address asks for a password to keep', async () => {
    await page.goto(w.signIn);
    await page.getByLabel('Password').fill(w.password);
    await page.getByLabel('The same again').fill(w.password);
    await page.getByRole('button', { name: 'Keep this password' }).click();
    await page.getByRole('heading', { name: 'Projects', exact: true }).waitFor();
    truly(`the token is still in the address ${page.url()}`, !page.url().includes('token'));
  });
  await must('1 a new project opens JupyterLab with the tour in it', async () => {
    await page.getByRole('button', { name: 'New project' }).click();
    await page.getByLabel('Name', { exact: true }).fill('Digits');
    await page.getByRole('button', { name: 'Create and open' }).click();
    await page.waitForURL('**/projects/digits/lab**');
    await page.locator('.jp-DirListing-item').filter({ hasText: 'tour.ipynb' }).waitFor();
  });
  w.lab = new Lab(page);
  await must('1 the tour opens and its kernel is idle', async () => {
    await w.lab.openFile('tour.ipynb');
    await w.lab.state('idle');
  });
}

async function runTour(w) {
  const { lab, check } = w;
  const looks = {
    data: async cell => truly('no table', await cell.node.locator('.jp-OutputArea-output table').count()),
    picture: async cell => truly('no picture', await cell.node.locator('.jp-OutputArea-output img').evaluate(i => i.complete && i.naturalWidth > 100)),
    model: async cell => truly(await cell.text(), /9\d\.\d% of the digits/.test(await cell.text())),
    generator: async cell => same('squares', (await cell.text()).trim(), '[0, 1, 4, 9, 16]'),
    shell: async cell => truly(await cell.text(), (await cell.text()).includes('tour.ipynb'))
  };
  for (const id of ['data', 'picture', 'model', 'generator', 'file', 'thread', 'shell']) {
    await check(`2 the tour's cell "${id}"`, async () => {
      const cell = lab.cell(place(id));
      await cell.run();
      await cell.done();
      same('errors', await cell.errors(), 0);
      await looks[id]?.(cell);
    });
  }
}

async function switching(w) {
  const { lab, check } = w;
  await check('3 another configuration in place', async () => {
    await lab.switchTo('c1.2');
    await lab.switched('c1.2');
    truly('no progress was shown', await lab.seen('.cellar-Progress'));
    const cell = lab.cell(place('look'));
    await cell.run();
    await cell.done();
    const text = await cell.text();
    await w.picture('lab');
    truly(text, text.includes("'cores': 2") && text.includes("'next square': 25") && text.includes('before the move'));
  });
  await check('3 a move while a cell prints: no line is lost or doubled, what was typed meanwhile runs after', async () => {
    const printing = await lab.write('for i in range(1000):\n    print(i)\n    time.sleep(.004)');
    await printing.run();
    await printing.waitText('50 lines', text => text.includes('\n50\n'));
    await lab.switchTo('c1.1', { move: true });
    await lab.page.keyboard.press('Escape'); // the sheet; its button shows how far it is
    await printing.focus();
    const first = await lab.write("'typed', 'meanwhile'");
    await first.run();
    const second = await lab.write("'and', 'then'");
    await second.run();
    await lab.switched('c1.1');
    const counts = [await printing.done(), await first.done(), await second.done()];
    same('order', counts, [counts[0], counts[0] + 1, counts[0] + 2]);
    same('lines', await printing.text(), numbers(1000));
    same('typed meanwhile', [(await first.text()).trim(), (await second.text()).trim()], ["('typed', 'meanwhile')", "('and', 'then')"]);
    truly(await lab.exec('len(os.sched_getaffinity(0)), next(squares)'), (await lab.cell(await lab.active()).text()).includes('(1, 36)'));
    return 'the page itself counted 1000';
  });
}

module.exports = { firstSignIn, runTour, switching, place, numbers };
