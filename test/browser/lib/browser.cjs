// Chromium as a person has it: a new profile each time, and an ear for what pages complain about.
const fs = require('node:fs');
const { chromium } = require('playwright-core');

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
];

/** Complaints on a page's console that are no faults, and why. */
const ALLOWED = [
  [/^Comm not found for comm id /, 'what a kernel tells one client of its widgets all clients hear; JupyterLab says so of those it does not know'],
  [/^RangeError: Invalid line number \d+ in \d+-line document/, 'jupyterlab-lsp marks a document that has become shorter meanwhile']
];

/** What a page whose server was away says of it; anything else it says still counts. */
const LOST = /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)|ChunkLoadError: Loading chunk|WebSocket connection to .* failed|Failed to fetch|NetworkError|Connection unexpectedly disconnected|Connection closed by the server|Error during socket reconnect: code = 1006/;

/** A browser with one person in it. */
class Browser {
  static async open(complaints, options = {}) {
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: ARGS, timeout: 60_000 });
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', ...options });
    context.setDefaultTimeout(30_000);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const self = new Browser(browser, context);
    context.on('console', message => {
      if (message.type() === 'error') {
        self.#complain(complaints, `${message.text()} (${message.location().url})`);
      }
    });
    context.on('weberror', error => self.#complain(complaints, String(error.error().stack ?? error.error())));
    return self;
  }

  constructor(browser, context) {
    Object.assign(this, { browser, context, deaf: false });
  }

  /** While the hub is away on purpose, what the page says about it is no complaint. */
  #complain(complaints, text) {
    if (!this.deaf && !ALLOWED.some(([pattern]) => pattern.test(text))) {
      complaints.push(text);
    }
  }

  async page() {
    this.current = await this.context.newPage();
    return this.current;
  }

  close() {
    return this.browser.close();
  }
}

async function signIn(page, url, name, password) {
  await page.goto(url);
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Projects', exact: true }).waitFor();
}

module.exports = { ARGS, Browser, LOST, signIn };
