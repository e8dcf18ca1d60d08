// A cell's first line chooses its configuration and its language, and its margin shows it.
const { Lab } = require('../lib/lab.cjs');
const { same } = require('../lib/report.cjs');

const CORES = "len(__import__('os').sched_getaffinity(0))";

async function cells(w) {
  const { check, page } = w;
  await page.goto(`${w.hub.url}/projects/digits/lab?reset`);
  const lab = (w.lab = new Lab(page));
  const shown = () => page.locator('.jp-Notebook:visible .cellar-Line').allInnerTexts();
  await check('17 a cell of another size', async () => {
    await lab.newNotebook();
    await lab.writeHere(`#!c1.2\nimport time; time.sleep(2); kept = 'kept'\n${CORES}`);
    same('the margin', await shown(), ['c1.2']);
    const cell = lab.cell(await lab.active());
    await cell.run();
    await page.locator('.jp-Notebook:visible .cellar-Line[data-state=there]').waitFor();
    await page.locator('.cellar-Configuration-name:visible').getByText('c1.2', { exact: true }).waitFor();
    await w.look('line');
    await cell.done();
    same('cores', await cell.text(), '2');
    await page.locator('.cellar-Configuration-name:visible').getByText('c1.1', { exact: true }).waitFor();
    same('afterwards', await lab.exec(`${CORES}, kept`), "(1, 'kept')");
  });
  await check('17 a cell of another language', async () => {
    same('bash', (await lab.exec('#!:bash\necho $((6 * 7))')).trim(), '42');
    same('both', (await lab.exec('#!c1.2:bash\nnproc')).trim(), '2');
    same('the margins', await shown(), ['c1.2', 'bash', 'c1.2 bash']);
  });
  await check('17 a size that is not there is told', async () => {
    const said = await lab.exec('#!c9.9\nkept = None');
    same('said', said.split('\n')[0].slice(0, 72), 'ConfigurationError: There is no configuration "c9.9" on this server. The');
    same('not run', await lab.exec('kept'), "'kept'");
    await w.look('line-unknown');
  });
}

module.exports = { cells };
