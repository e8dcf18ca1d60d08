// JupyterLab as a person sees it: cells, their outputs, the kernel's badge, the switcher.
const { until } = require('./hub.cjs');

/** Milliseconds for a cell of the tour, on a machine that has other work too. */
const CELL = 90_000;

class Lab {
  constructor(page) {
    this.page = page;
    this.panel = page.locator('.jp-NotebookPanel:visible');
    this.cells = this.panel.locator('.jp-Notebook .jp-Cell');
    this.badge = this.panel.locator('.cellar-KernelBadge');
    this.switcher = this.panel.locator('.cellar-Configuration-button');
    this.sheet = page.getByRole('dialog', { name: 'Configuration of the kernel' });
  }

  /** Waits for one of the states of the kernel's badge. */
  async state(...names) {
    const list = names.map(n => `[data-state=${n}]`).join(',');
    await this.badge.and(this.page.locator(list)).waitFor({ timeout: CELL });
  }

  /** Hibernated is as good: whatever is run wakes it. */
  ready = () => this.state('idle', 'busy', 'running', 'hibernated');

  async openFile(name) {
    const tab = this.page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab').filter({ hasText: name });
    if (await tab.count()) {
      await tab.first().click();
    } else {
      await this.page.locator('.jp-DirListing-item').filter({ hasText: name }).first().dblclick();
    }
    await tab.and(this.page.locator('.lm-mod-current')).waitFor();
    await this.ready();
  }

  async newNotebook() {
    await this.page.locator('.jp-DirListing-item').first().waitFor();
    if (!(await this.page.locator('.jp-Launcher:visible').count())) {
      await this.page.getByTitle('New Launcher').first().click();
    }
    await this.page.locator('.jp-Launcher:visible .jp-LauncherCard[data-category=Notebook]').first().click();
    await this.panel.waitFor();
    await this.ready();
    await this.state('idle');
  }

  cell = index => new Cell(this, this.cells.nth(index));

  /** The code cell whose source has this text. */
  async find(text) {
    const source = this.page.locator('.cm-content').filter({ hasText: text });
    const cell = this.panel.locator('.jp-Notebook .jp-CodeCell').filter({ has: source }).first();
    await cell.waitFor();
    return this.cell(await cell.evaluate(node => [...node.parentElement.querySelectorAll(':scope > .jp-Cell')].indexOf(node)));
  }

  /** The active cell's place. */
  active = () =>
    this.panel.locator('.jp-Notebook').evaluate(node => [...node.querySelectorAll('.jp-Cell')].findIndex(c => c.classList.contains('jp-mod-active')));

  /** Types into a new cell below the active one. insertText, because the editor closes brackets by itself. */
  async write(source) {
    await this.page.keyboard.press('Escape');
    await this.page.keyboard.press('b');
    await this.page.keyboard.press('Enter');
    await this.page.keyboard.insertText(source);
    return this.cell(await this.active());
  }

  /** Types into the active cell, which is empty. */
  async writeHere(source) {
    const cell = this.cell(await this.active());
    await cell.focus();
    await this.page.keyboard.insertText(source);
    return cell;
  }

  /** Types a cell, runs it, and returns what it says when it has ended. */
  async exec(source) {
    const cell = await this.write(source);
    await cell.run();
    await cell.done();
    return cell.text();
  }

  async openSwitcher() {
    await this.switcher.click();
    await this.sheet.locator('.cellar-Choice').first().waitFor();
  }

  /** Presses the sheet's button; resolves when the notification says that it is done. */
  async switchTo(configuration, { move = false } = {}) {
    await this.openSwitcher();
    await this.sheet.locator(`input[value="${configuration}"]`).check();
    if (move) {
      await this.sheet.getByLabel('Move to a new container').check();
    }
    await this.watchFor('.cellar-Progress');
    await this.sheet.locator('button[type=submit]').click();
  }

  async switched(configuration) {
    const note = this.page.locator('.Toastify__toast').filter({ hasText: `runs on ${configuration}` });
    const refusal = this.page.locator('.Toastify__toast').filter({ hasText: `Not switched to ${configuration}` });
    await note.or(refusal).first().waitFor({ timeout: 120_000 });
    if (await refusal.count()) {
      throw new Error(await refusal.first().innerText());
    }
    await this.panel.locator('.cellar-Configuration-name').getByText(configuration, { exact: true }).waitFor();
    await this.ready();
  }

  /** Remembers whether something showed itself, however short. */
  watchFor(selector) {
    return this.page.evaluate(selector => {
      window.seen = { ...window.seen, [selector]: false };
      const look = () => document.querySelector(selector) && (window.seen[selector] = true);
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
    }, selector);
  }

  seen = selector => this.page.evaluate(selector => !!window.seen?.[selector], selector);

  dialogs = () => this.page.locator('.jp-Dialog').count();
}

class Cell {
  constructor(lab, node) {
    Object.assign(this, { lab, node });
    this.prompt = node.locator('.jp-InputPrompt');
  }

  async focus() {
    await this.node.locator('.jp-InputArea-editor').click();
  }

  /** Runs the cell and stays on it. */
  async run() {
    // Whatever number it gets next is news: a kernel that began anew gives the same ones again.
    await this.prompt.evaluate(node => (node.textContent = ''));
    if (!(await this.node.evaluate(node => node.contains(document.activeElement)))) {
      await this.focus();
    }
    await this.lab.page.keyboard.press('Control+Enter');
  }

  /** The number of the run that ended after `run`, or of the last one. */
  async done(limit = CELL) {
    return until(
      'the cell ends',
      async () => {
        const text = (await this.prompt.textContent()).trim(); // innerText is empty out of sight
        const count = /^\[(\d+)\]:$/.exec(text)?.[1];
        return Number(count);
      },
      limit
    );
  }

  /** All that is in its outputs. textContent, because what is scrolled out of sight counts too. */
  text = () => this.node.locator('.jp-OutputArea-output').evaluateAll(list => list.map(o => o.textContent).join(''));

  errors = () => this.node.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"], .jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count();

  waitText = (what, test, limit = CELL) => until(what, async () => {
    const text = await this.text();
    return test(text) ? text || true : null;
  }, limit);
}

module.exports = { Lab };
