// A kernel that ends by itself: what the person reads, and the way back.
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

const toast = (page, text) => page.locator('.Toastify__toast').filter({ hasText: text }).first();

/** What JupyterLab says when a kernel ends that its debugger has just asked for modules, as it does after each cell. */
const CUT = /^Error: Canceled future for debug_request message before replies were done/;

async function goneAndBack(w) {
  await ends(w);
  w.complaints.splice(0, Infinity, ...w.complaints.filter(text => !CUT.test(text)));
}

async function ends(w) {
  const { check, lab, page } = w;
  const strip = page.locator('.cellar-Died-strip:visible');
  const back = strip.getByRole('button', { name: /^Go back to the checkpoint of \d\d?:\d\d/ });
  const theme = async name => {
    await page.locator('.lm-MenuBar-item').filter({ hasText: /^Settings$/ }).click();
    for (const label of ['Theme', name]) {
      await page.locator('.lm-Menu-item').filter({ has: page.getByText(label, { exact: true }) }).first().click();
    }
    await page.locator(`body[data-jp-theme-light=${name === 'JupyterLab Light'}]`).waitFor({ state: 'attached' });
  };
  /** Runs a cell that ends the kernel, and one behind it; JupyterLab's message is read and put away. */
  const die = async source => {
    await (await lab.find('# typed since then')).focus();
    const last = await lab.write(source);
    await last.run();
    await page.keyboard.press('Escape');
    const behind = await lab.write("print('never')");
    await behind.run();
    const dialog = page.locator('.jp-Dialog').filter({ hasText: 'Kernel Restarting' });
    await dialog.waitFor({ timeout: 60_000 });
    await w.look(`died-dialog-${await page.locator('body').getAttribute('data-jp-theme-light')}`);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    await strip.waitFor();
    await lab.ready();
    return [last, behind];
  };
  await check('5 a kernel that dies comes up again: the page says why its variables are gone, and offers its checkpoint', async () => {
    await lab.openFile('tour.ipynb');
    await (await lab.find('# typed since then')).focus();
    await lab.exec('x = 7');
    await page.getByRole('button', { name: 'Save checkpoint' }).click();
    await page.locator('.jp-Dialog input').fill('before it died');
    await page.locator('.jp-Dialog .jp-mod-accept').click();
    await toast(page, 'is saved').waitFor({ timeout: 60_000 });
    await (await lab.find('# typed since then')).focus(); // out of the panel
    await lab.exec('x = x + 1');
    const [last, behind] = await die("print('last words', flush=True); import os, time; time.sleep(1); os._exit(3)");
    await last.waitText('why it ended', text => text.includes('last words') && text.includes('DeadKernelError: The kernel ended with status 3.'));
    same('the cell behind it', await behind.text(), '');
    await until('nothing runs', async () => (await lab.panel.locator('.jp-InputPrompt').filter({ hasText: '[*]' }).count()) === 0);
    truly(await strip.innerText(), /its variables are gone/.test(await strip.innerText()) && /status 3/.test(await strip.innerText()));
    await w.look('died');
    await (await lab.find("print('never')")).focus();
    same('x', /NameError/.test(await lab.exec('x')), true);
    same('strips after somebody has gone on', await strip.count(), 1);
  });
  await check('5 one press goes back to the checkpoint, and runs what had run since', async () => {
    await strip.getByRole('button', { name: '… and run the cell since then' }).click();
    await toast(page, 'what it was at the checkpoint').waitFor({ timeout: 60_000 });
    await strip.waitFor({ state: 'detached' });
    await (await lab.find('# typed since then')).focus();
    await until('the cell has run again', async () => (await lab.exec('x')).trim() === '8');
    same('dialogs', await lab.dialogs(), 0);
  });
  await check('5 who comes later is told too, by keyboard and in the dark', async () => {
    await theme('JupyterLab Dark');
    const [last] = await die('x = bytearray(3 << 30)'); // the kernel does not even get to say that it is busy
    await last.waitText('why it ended', text => /DeadKernelError: .* more than its \d+ MiB/.test(text));
    truly(await strip.innerText(), /more than its \d+ MiB of memory/.test(await strip.innerText()));
    await page.keyboard.press('Control+s');
    await until('saved', async () => !(await page.locator('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty').count()));
    await page.reload();
    await strip.waitFor({ timeout: 60_000 });
    await lab.ready();
    await w.look('died-dark');
    await back.focus();
    await page.keyboard.press('Tab');
    truly('focus is on running again', await strip.getByRole('button', { name: 'since then' }).evaluate(node => node === document.activeElement));
    await page.keyboard.press('Tab');
    truly('focus is on Close', await strip.getByRole('button', { name: 'Close' }).evaluate(node => node === document.activeElement));
    await page.keyboard.press('Enter');
    await strip.waitFor({ state: 'detached' });
    same('badge', (await lab.badge.locator('.cellar-KernelBadge-label').textContent()).trim(), 'Idle');
    await theme('JupyterLab Light');
  });
}

module.exports = { goneAndBack };
