// Other people, the keyboard, the dark, and what pages complain about.
const { Browser, signIn } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

async function secondUser(w) {
  await w.check('7 another person cannot tell a project of others from none', async () => {
    const password = w.hub.cli('user', 'add', 'bob').split(/\s+/).pop();
    const other = await Browser.open([]); // a refusal is an error on the console, and is asked for here
    try {
      const page = await other.page();
      await signIn(page, w.hub.url, 'bob', password);
      const answer = async name => {
        const response = await page.goto(`${w.hub.url}/projects/${name}/lab`);
        return [response.status(), (await page.locator('body').innerText()).replaceAll(name, '<name>')];
      };
      const [theirs, none] = [await answer('digits'), await answer('no-such')];
      same('answers', theirs, none);
      same('status', theirs[0], 404);
      const list = await page.evaluate(async () => (await fetch('/api/v1/projects')).json());
      same('projects', list.items, []);
    } finally {
      await other.close();
    }
  });
}

/** What has the focus: is it within? */
const within = (page, selector) => page.evaluate(s => !!document.activeElement?.closest(s), selector);

async function keyboard(w) {
  const { check, lab, page } = w;
  await check('8 the switcher by keyboard: open, choose, Escape, focus comes back', async () => {
    await lab.openFile('tour.ipynb');
    await (await lab.find('model.predict(')).focus(); // whatever the tab's activation does is done by now
    await lab.switcher.focus();
    await page.keyboard.press('Enter');
    await lab.sheet.locator('.cellar-Choice').first().waitFor();
    truly('the sheet opens without the focus', await within(page, '.cellar-Sheet'));
    await page.keyboard.press('Tab');
    truly('Tab does not lead into the sheet', await within(page, '.cellar-Sheet input[type=radio]'));
    const chosen = () => lab.sheet.locator('input:checked[type=radio]').inputValue();
    const before = await chosen();
    await page.keyboard.press('ArrowDown');
    truly('the arrow chooses nothing', (await chosen()) !== before);
    await page.keyboard.press('Escape');
    await lab.sheet.waitFor({ state: 'detached' });
    truly('the focus is lost', await within(page, '.cellar-Configuration-button'));
  });
  await check('8 the switcher by keyboard: Enter switches', async () => {
    await page.keyboard.press('Enter');
    await lab.sheet.locator('.cellar-Choice').first().waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowDown');
    const chosen = await lab.sheet.locator('input:checked[type=radio]').inputValue();
    await page.keyboard.press('Enter');
    await lab.switched(chosen);
    truly('the focus is lost', await within(page, '.cellar-Configuration-button'));
    return chosen;
  });
  await check('8 a dialog by keyboard: focus inside, Tab stays inside, Escape closes', async () => {
    await (await lab.find('model.predict(')).focus();
    await page.keyboard.press('Control+Shift+C'); // the palette
    await page.keyboard.insertText('Publish Cell');
    await page.locator('.lm-CommandPalette-item.lm-mod-active').filter({ hasText: 'Publish Cell' }).waitFor();
    await page.keyboard.press('Enter');
    await page.locator('.cellar-Fields').first().waitFor();
    await until('the focus is in the dialog', () => within(page, '.jp-Dialog'));
    for (let i = 0; i < 14; i++) {
      truly(`the focus left the dialog after ${i} tabs`, await within(page, '.jp-Dialog'));
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Escape');
    await page.locator('.jp-Dialog').waitFor({ state: 'detached' });
  });
  await check('8 the dark theme', async () => {
    await page.locator('.lm-MenuBar-item').filter({ hasText: /^Settings$/ }).click();
    for (const label of ['Theme', 'JupyterLab Dark']) {
      await page.locator('.lm-Menu-item').filter({ has: page.getByText(label, { exact: true }) }).first().click();
    }
    await page.locator('body[data-jp-theme-light=false]').waitFor({ state: 'attached' });
    const colours = await lab.switcher.evaluate(node => {
      const of = s => getComputedStyle(s);
      return [of(node).color, of(node.closest('.jp-Toolbar')).backgroundColor];
    });
    const bright = c => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
    truly(`the button's letters cannot be read: ${colours}`, bright(colours[0]) - bright(colours[1]) > 90);
    await w.picture('lab-dark');
  });
}

/** The project's own page, as the console shows it. */
async function console_(w) {
  await w.check('8 the console shows the project', async () => {
    await w.page.goto(`${w.hub.url}/p/digits`);
    await w.page.locator('#nodes .card').first().waitFor();
    await w.page.locator('#kernels .card').first().waitFor();
    await w.page.locator('#checkpoints .card').first().waitFor();
    await w.picture('console');
    await w.page.locator('#storage dl').waitFor();
    await w.page.locator('#storage').scrollIntoViewIfNeeded();
    await w.look('console-storage');
  });
  await w.check('8 the console draws where checkpoints came from, and tells what changed', async () => {
    const part = w.page.locator('#checkpoints');
    const drawn = await part.locator('.timeline').count();
    same('drawings', drawn, await part.locator('.card').count());
    truly('nothing came from anything', (await part.locator('.timeline line').count()) > 0);
    same('where the kernels are', (await part.locator('.timeline .here').count()) > 0, true);
    const one = part.locator('details').filter({ hasText: 'What changed' }).first();
    await one.locator('summary').click();
    await one.locator('table, .sub, .diff').first().waitFor();
    await until('it is compared', async () => !(await one.innerText()).includes('Comparing'));
    await part.scrollIntoViewIfNeeded();
    await w.look('console-timeline');
  });
  await w.check('8 the console makes a project of a checkpoint', async () => {
    const fork = w.page.locator('#checkpoints').getByRole('button', { name: 'New project …' }).first();
    await fork.click();
    await w.page.locator('dialog input[name=name]').fill('From here');
    await w.look('console-fork');
    await w.page.getByRole('button', { name: 'Make the project' }).click();
    await w.page.getByText('The project “From here” is there.').waitFor({ timeout: 60_000 });
    await w.look('console-forked');
    await w.page.getByRole('link', { name: 'Show it' }).click();
    await w.page.locator('h1').filter({ hasText: 'From here' }).waitFor();
    await w.page.locator('#kernels .card').first().waitFor();
  });
}

async function quiet(w) {
  await w.check('8 no page complained', async () => {
    w.complaints.forEach(text => console.log(`complaint: ${text.split('\n').slice(0, 3).join(' | ')}`)); // the report cuts long lists
    same('complaints', [...new Set(w.complaints.map(c => c.split('\n')[0].slice(0, 220)))], []);
  });
}

module.exports = { secondUser, keyboard, console: console_, quiet };
