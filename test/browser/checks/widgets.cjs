// Widgets of a kernel that slept: what a page that is opened later shows, and whether they can be moved.
const { Lab } = require('../lib/lab.cjs');
const { until } = require('../lib/hub.cjs');
const { same } = require('../lib/report.cjs');

const NOTEBOOK = 'tour.ipynb';

async function afterSleep(w) {
  const { check, page, hub } = w;
  const enter = async () => {
    await page.goto(`${hub.url}/projects/digits/lab?reset`); // whatever panels were open
    w.lab = new Lab(page);
    await page.locator('.jp-DirListing-item').filter({ hasText: NOTEBOOK }).first().dblclick();
    await page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab.lm-mod-current').filter({ hasText: NOTEBOOK }).waitFor();
  };
  const kernel = async () => (await hub.kernels('digits')).find(k => k.notebook === NOTEBOOK);
  const hibernate = async () => {
    const { id } = await kernel();
    const response = await fetch(`${hub.url}/api/v1/projects/digits/kernels/${id}/hibernate`, { method: 'POST', headers: { Authorization: `Bearer ${hub.token}` } });
    same('asked to hibernate', response.status, 202);
    await until('it sleeps', async () => (await kernel()).state === 'hibernated');
  };
  const readout = () => w.lab.panel.locator('.widget-readout').first();
  await check('13 a slider has the value that the kernel slept with, for a page that is opened later, and it can be moved', async () => {
    await enter();
    await w.lab.ready();
    await w.lab.cell(0).node.click();
    await w.lab.exec('import ipywidgets as widgets\nslider = widgets.IntSlider(value=3, max=100)\nslider');
    await readout().waitFor();
    await w.lab.exec('slider.value = 42');
    await until('the page follows', async () => (await readout().textContent()) === '42');
    await page.keyboard.press('Control+s');
    await until('saved', async () => !(await page.locator('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty').count()));
    await page.goto('about:blank');
    await hibernate();
    await enter();
    await until('42', async () => (await readout().count()) && (await readout().textContent()) === '42');
    await w.look('widget-after-sleep');
    await w.lab.panel.locator('.noUi-handle').first().focus();
    await page.keyboard.press('ArrowRight');
    await until('43', async () => (await readout().textContent()) === '43');
    const cell = await w.lab.find('slider.value = 42');
    await cell.focus();
    same('in the kernel', (await w.lab.exec('slider.value')).trim(), '43');
  });
}

module.exports = { afterSleep };
