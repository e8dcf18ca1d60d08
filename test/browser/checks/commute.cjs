// Going away: the tab closed, the hub killed, the kernel hibernated; coming back to everything as it was.
const fs = require('node:fs');
const { Browser, LOST, signIn } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { Lab } = require('../lib/lab.cjs');
const { same, truly } = require('../lib/report.cjs');
const { numbers } = require('./tour.cjs');

/** Lines of the long cell, one a second. */
const LINES = Number(process.env.CELLAR_COMMUTE ?? 60);
const NOTEBOOK = 'Untitled.ipynb';
/** How long the hub stays away, in milliseconds: part of the story, nothing is waited for. */
const AWAY = 4000;

/** A new browser, in which somebody signs in and opens a notebook from the projects page. */
async function comeBack(w, file, { project = 'Digits' } = {}) {
  w.browser = await Browser.open(w.complaints);
  const page = (w.page = await w.browser.page());
  await signIn(page, w.hub.url, 'admin', w.password);
  await page.getByRole('link', { name: `Open ${project}` }).click();
  await page.waitForURL('**/lab**');
  w.lab = new Lab(page);
  const item = page.locator('.jp-DirListing-item').filter({ hasText: file }).first();
  await item.waitFor();
  await item.dblclick();
  await page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab.lm-mod-current').filter({ hasText: file }).waitFor();
  await w.lab.badge.waitFor();
  return w.lab;
}

/** Numbers from 0, each once and in order, as far as they are. */
function contiguous(text) {
  const lines = text.split('\n').slice(0, -1);
  same('the lines so far', lines.map(Number), lines.map((_, i) => i));
  return lines.length;
}

/** The outputs and the count of a cell in the file itself, by its source. */
function onDisk(w, source) {
  const { cells } = JSON.parse(fs.readFileSync(w.hub.file('digits', NOTEBOOK), 'utf8'));
  const cell = cells.find(c => [].concat(c.source).join('').includes(source));
  return cell && { text: cell.outputs.map(o => [].concat(o.text).join('')).join(''), count: cell.execution_count };
}

async function commute(w) {
  const { check } = w;
  await check('4 the page is closed and opened again while a cell prints: it goes on live', async () => {
    await w.lab.newNotebook();
    const cell = await w.lab.writeHere('import time\nfor short in range(60):\n    print(short)\n    time.sleep(.5)');
    await cell.run();
    await cell.waitText('5 lines', text => contiguous(text) >= 5);
    await w.browser.close();
    const lab = await comeBack(w, NOTEBOOK);
    const again = await lab.find('for short in');
    const first = contiguous(await again.waitText('outputs so far', text => text));
    truly(`it had ended already (${first} lines)`, first < 60);
    await again.waitText('more lines', text => contiguous(text) > first);
    await again.waitText('all lines', text => contiguous(text) === 60);
    same('count', await again.done(), 1);
    same('dialogs', await lab.dialogs(), 0);
    return `${first} lines were there`;
  });
  await check('4 the hub is killed and started again under an open page: no line is lost or doubled, in the page and in the file', async () => {
    const cell = await w.lab.write('for open in range(40):\n    print(open)\n    time.sleep(.25)');
    await cell.run();
    await cell.waitText('5 lines', text => contiguous(text) >= 5);
    const before = w.complaints.length;
    await w.hub.kill('SIGKILL');
    await new Promise(done => setTimeout(done, AWAY));
    await w.hub.start();
    await cell.waitText('all lines', text => text === numbers(40));
    // A page whose server is away says so in its console; anything else it says still counts.
    w.complaints.push(...w.complaints.splice(before).filter(text => !LOST.test(text)));
    same('count', await cell.done(), 2);
    await w.page.keyboard.press('Control+s');
    await until('the file has all lines', () => onDisk(w, 'for open in')?.text === numbers(40));
    same('dialogs', await w.lab.dialogs(), 0);
  });
  const long = `for i in range(${LINES})`;
  await check(`4 the browser closed, the hub killed and started again: ${LINES} lines reach the file once each`, async () => {
    const { lab } = w;
    await lab.exec('import os,time; x=41; p=os.getpid()');
    const cell = await lab.write(`${long}:\n    print(i)\n    time.sleep(1)`);
    await cell.run();
    await cell.waitText('8 lines', text => contiguous(text) >= 8);
    await w.browser.close();
    await w.hub.kill('SIGKILL');
    await new Promise(done => setTimeout(done, AWAY));
    await w.hub.start();
    await until('the file has all lines', () => onDisk(w, long)?.text === numbers(LINES), (LINES + 40) * 1000);
    await until('the file has the count', () => onDisk(w, long).count === 4);
  });
  await check('4 coming back: the same in the page, and no dialog', async () => {
    const lab = await comeBack(w, NOTEBOOK);
    const cell = await lab.find(long);
    same('lines', await cell.waitText('lines', text => text), numbers(LINES));
    same('count', await cell.done(), 4);
    same('dialogs', await lab.dialogs(), 0);
    const strip = await w.page.locator('.cellar-Away-strip:visible').textContent();
    truly(`the strip says: ${strip}`, /While you were away a cell finished at .*, after .*, \d+ lines printed\./.test(strip));
    await w.picture('away');
    await w.page.locator('.cellar-Away-strip').getByRole('button', { name: 'Close' }).click();
    await w.page.locator('.cellar-Away-strip').waitFor({ state: 'detached' });
    return strip;
  });
  await check('4 left alone, the kernel hibernates: no process of it is left', async () => {
    await w.lab.state('hibernated');
    const kernel = await until('hibernated', async () => {
      const { kernel } = (await w.hub.api(`/projects/digits/api/sessions`)).find(s => s.path === NOTEBOOK);
      return (await w.hub.kernels('digits')).find(k => k.id === kernel.id && k.state === 'hibernated');
    });
    same('processes', w.hub.processes(kernel.id), []);
  });
  await check('4 a cell wakes it, the same process with the same variables', async () => {
    await (await w.lab.find(long)).focus();
    same('answer', (await w.lab.exec('x+1, os.getpid()==p')).trim(), '(42, True)');
    same('dialogs', await w.lab.dialogs(), 0);
  });
}

module.exports = { commute, comeBack };
