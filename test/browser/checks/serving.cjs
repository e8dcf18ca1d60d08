// A node's page: its last hour, revisions, aliases and keys. Wants the node that publishing left.
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

const said = (page, text) => page.locator('#say').filter({ hasText: text }).waitFor();

async function nodePage(w) {
  const { check, page } = w;
  const dialog = page.getByRole('dialog');
  const nodes = async () => (await w.hub.api('/api/v1/projects/digits/nodes')).items;
  const aliases = async () => (await w.hub.api('/api/v1/projects/digits/aliases')).items;
  await check('14 a node has a page with the graphs of its last hour', async () => {
    const node = (await nodes())[0];
    const bearer = { Authorization: `Bearer ${w.hub.token}`, 'Content-Type': 'application/json' };
    const made = await fetch(`${w.hub.url}/api/v1/projects/digits/keys`, { method: 'POST', headers: bearer, body: JSON.stringify({ name: 'graphs', scope: [node.id] }) });
    const { id, key } = await made.json();
    // Refused, as it has no inputs: that is an answer too, and has no need of an instance.
    const answer = await fetch(`${w.hub.url}/nodes/${node.id}/execute`, { method: 'POST', headers: { Authorization: `Bearer ${key}` }, body: '{}' });
    same('an answer', answer.status, 400);
    await w.hub.api(`/api/v1/projects/digits/keys/${id}`, 'DELETE');
    await page.goto(`${w.hub.url}/p/digits`);
    await page.locator('#nodes .title a').first().click();
    await page.locator('.graph rect').first().waitFor({ state: 'attached' });
    same('graphs', await page.locator('.graph').count(), 5);
    truly('one says nothing of itself', (await page.locator('.graph').evaluateAll(list => list.map(g => g.getAttribute('aria-label')))).every(Boolean));
  });
  await check('14 what is new in a revision is shown, and going back is one press, by keyboard', async () => {
    await page.locator('#revisions summary').first().click();
    await page.locator('.diff .new').first().waitFor();
    await w.look('node');
    await page.getByRole('button', { name: 'Make revision 1 current' }).focus();
    await page.keyboard.press('Enter');
    await said(page, 'Revision 1 answers from now on');
    same('current', (await nodes())[0].revision, 1);
    await page.getByRole('button', { name: 'Make revision 2 current' }).waitFor();
  });
  await check('14 a key is made, shown once, rotated and revoked', async () => {
    await page.getByRole('button', { name: 'New key …' }).click();
    await dialog.getByLabel('Whose it is').fill('web shop');
    await dialog.getByLabel('Calls a second, at most').fill('5');
    await page.keyboard.press('Enter');
    const secret = await dialog.locator('input.secret').inputValue();
    truly(secret, secret.startsWith('cellar_'));
    await page.keyboard.press('Enter');
    const card = page.locator('#keys .card').filter({ hasText: 'web shop' });
    await card.getByRole('button', { name: 'Rotate …' }).click();
    await dialog.getByRole('button', { name: 'Rotate' }).click();
    truly('the secret is the same', (await dialog.locator('input.secret').inputValue()) !== secret);
    await page.keyboard.press('Escape');
    await card.getByText('The secret of before is good until').waitFor();
    await card.getByRole('button', { name: 'Revoke …' }).click();
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await card.waitFor({ state: 'detached' });
  });
  await check('14 an alias divides the calls, is changed, and goes back by its history', async () => {
    await page.getByRole('button', { name: 'New alias …' }).click();
    await dialog.getByLabel('Name').fill('best');
    await dialog.getByLabel('Percent of target 1').fill('90');
    truly('90 % is enough', await dialog.getByRole('button', { name: 'Make the alias' }).isDisabled());
    await dialog.getByRole('button', { name: 'Add a target' }).click();
    await dialog.getByLabel('Target 2', { exact: true }).fill(`${(await nodes())[0].name}@2`);
    await dialog.getByLabel('Percent of target 2').fill('10');
    await dialog.getByRole('button', { name: 'Make the alias' }).click();
    await dialog.locator('input.secret').waitFor();
    await page.keyboard.press('Escape');
    const card = page.locator('#aliases .card').filter({ hasText: 'best' });
    await card.getByRole('button', { name: 'Change …' }).click();
    await dialog.getByLabel('Percent of target 1').fill('50');
    await dialog.getByLabel('Percent of target 2').fill('50');
    await dialog.getByRole('button', { name: 'Change', exact: true }).click();
    await until('half and half', async () => (await aliases())[0].setting.targets[1].percent === 50);
    await card.locator('summary', { hasText: 'The last hour' }).click();
    same('graphs', await card.locator('.graph').count(), 3);
    await card.locator('summary', { hasText: 'History' }).click();
    await card.getByRole('button', { name: 'Back to this' }).click();
    await until('as it was', async () => (await aliases())[0].setting.targets[1].percent === 10);
    same('setting', (await aliases())[0].setting.number, 3);
    await w.look('alias');
    await card.getByRole('button', { name: 'Delete …' }).click();
    await dialog.getByRole('button', { name: 'Delete the alias' }).click();
    await card.waitFor({ state: 'detached' });
  });
  await check('14 a node is paused and takes calls again', async () => {
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.locator('#about .pill').filter({ hasText: 'Paused' }).waitFor();
    await page.getByRole('button', { name: 'Take calls again' }).click();
    await until('it takes calls', async () => (await nodes())[0].state !== 'paused');
  });
}

module.exports = { nodePage };
