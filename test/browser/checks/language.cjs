// What a language server gives to editors: completion, marks under mistakes, renaming; and its way back.
const { LOST } = require('../lib/browser.cjs');
const { until } = require('../lib/hub.cjs');
const { same, truly } = require('../lib/report.cjs');

/** Milliseconds a hub is away. */
const AWAY = 1000;
const SOURCE = 'import json\n\n\ndef shoe_size(feet):\n    return feet\n\n\nprint(shoe_size(42))\n';

const editorOf = page => page.locator('.jp-FileEditor:visible .cm-content');
/** A mistake of no width, as at the end of a line, is a point. */
const marks = where => where.locator('.cm-lintRange-error, .cm-lintPoint-error');
const textOf = page => editorOf(page).evaluate(node => node.cmView.view.state.doc.toString());

/** Puts the cursor behind the first place of a text. */
async function place(page, text) {
  await editorOf(page).click();
  await editorOf(page).evaluate((node, text) => {
    const { view } = node.cmView;
    const at = view.state.doc.toString().indexOf(text) + text.length;
    view.dispatch({ selection: { anchor: at } });
  }, text);
}

/** The list of files, whatever panel was beside it. */
async function showFiles(page) {
  if (!(await page.locator('.jp-DirListing:visible').count())) {
    await page.locator('.jp-SideBar .lm-TabBar-tab[data-id=filebrowser]').click();
  }
}

async function openFile(w) {
  const { page } = w;
  await showFiles(page);
  await page.locator('.jp-DirListing-item').filter({ hasText: 'shapes.py' }).first().dblclick();
  await editorOf(page).waitFor();
  await page.locator('.lsp-statusbar-item').getByText(/initialized/i).waitFor({ timeout: 60_000 });
}

/** Completion of json.du: the word stands nowhere in the file, and no kernel is attached. */
async function completes(page) {
  await page.keyboard.press('Control+End');
  await page.keyboard.press('Enter');
  await page.keyboard.type('json.du');
  // The completer waits a second for each provider, and a server that has just begun on a busy machine may need more.
  const dumps = page.locator('.jp-Completer-item').filter({ hasText: 'dumps' }).first();
  await until('the completer shows it', async () => {
    if (!(await page.locator('.jp-Completer:visible').count())) {
      await page.keyboard.press('Tab');
    }
    return dumps.waitFor({ timeout: 3000 }).then(() => true);
  });
}

async function editor(w) {
  const { check, page } = w;
  await check('9 a file in the editor finds its language server', async () => {
    const response = await fetch(`${w.hub.url}/projects/digits/api/contents/shapes.py`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${(w.hub.token ??= w.hub.cli('token'))}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'file', format: 'text', content: SOURCE })
    });
    same('status', response.status, 201);
    await openFile(w);
  });
  await check('9 completion from the language server', async () => {
    await editorOf(page).click();
    await completes(page);
    await w.picture('completion');
    await page.keyboard.press('Escape');
  });
  await check('9 a mistake is marked, and the mark goes with it', async () => {
    await page.keyboard.press('Control+End');
    await page.keyboard.press('Enter');
    await page.keyboard.insertText('def broken(:\n');
    await marks(page.locator('.jp-FileEditor')).first().waitFor({ state: 'attached' });
    await page.keyboard.press('Control+a');
    await page.keyboard.insertText(SOURCE);
    await marks(page.locator('.jp-FileEditor')).first().waitFor({ state: 'detached' });
  });
  await check('9 F2 renames a function everywhere in the file', async () => {
    await place(page, 'def shoe');
    await page.keyboard.press('F2');
    await page.locator('.jp-Dialog input').fill('shoe_length');
    await page.keyboard.press('Enter');
    await until('both places are renamed', async () => (await textOf(page)).split('shoe_length').length === 3);
    truly(await textOf(page), !(await textOf(page)).includes('shoe_size'));
  });
  await check('9 the hub is killed and started again: completion is back', async () => {
    const before = w.complaints.length;
    await w.hub.kill('SIGKILL');
    await new Promise(done => setTimeout(done, AWAY));
    await w.hub.start();
    await until('a language server has a client', async () => {
      const { sessions } = await w.hub.api('/projects/digits/lsp/status');
      return sessions.pylsp?.handler_count === 1;
    });
    await page.locator('.lsp-statusbar-item').getByText(/initialized/i).waitFor({ timeout: 60_000 });
    await editorOf(page).click();
    await completes(page);
    await page.keyboard.press('Escape');
    w.complaints.push(...w.complaints.splice(before).filter(text => !LOST.test(text)));
    same('dialogs', await w.lab.dialogs(), 0);
  });
}

async function notebook(w) {
  const { check, page, lab } = w;
  await check('9 in a notebook: completion of what was never run, no mistake seen in a magic', async () => {
    await lab.newNotebook();
    await lab.writeHere('%time 6 * 7\nimport textwrap');
    await page.locator('.lsp-statusbar-item').getByText(/initialized/i).waitFor({ timeout: 60_000 });
    const cell = await lab.write('textwrap.ded');
    await page.keyboard.press('Tab');
    // A single answer goes into the text by itself.
    await until('it is completed', async () =>
      (await cell.node.locator('.cm-content').innerText()).includes('textwrap.dedent') || (await page.locator('.jp-Completer-item').filter({ hasText: 'dedent' }).count()) > 0);
    await page.keyboard.press('Escape');
    same('marks', await marks(lab.panel).count(), 0);
  });
  await check('9 the menu of a cell is whole before the language server is there', async () => {
    await page.keyboard.press('Control+s');
    await until('saved', async () => !(await page.locator('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty').count()));
    await page.reload();
    const editor = page.locator('.jp-NotebookPanel:visible .jp-CodeCell .cm-content').first();
    await editor.waitFor({ timeout: 60_000 });
    // From the first moment on, until some time after the language server has come.
    const server = page.locator('.lsp-statusbar-item').getByText(/fully initialized/i);
    for (let after = 0; after < 3; after += await server.count()) {
      await editor.click({ button: 'right' });
      await page.locator('.lm-Menu-item').filter({ hasText: 'Cut Cell' }).waitFor({ timeout: 5000 });
      await page.mouse.click(640, 5); // beside the menus
      await page.locator('.lm-Menu').waitFor({ state: 'detached' });
    }
    await lab.ready();
  });
}

module.exports = { editor, notebook };
