// JupyterLab's UI tests against a project of a Cellar hub. TARGET_URL is the project's address, CELLAR_TOKEN a token;
// the pages are signed in by cookies (STATE, a file), the tests' own requests by the token.
const base = require('@jupyterlab/galata/lib/playwright-config');

// Wider than upstream's 1024: our items in a notebook's toolbar would push the kernel's name and the debugger behind its "…".
const wide = { viewport: { width: 1440, height: 768 } };

// These wait for a cell's toolbar to hide from the text below it, which a wide window has room for.
const asUpstream = 'notebook-edit';

const tests = (name, files = '*') => ['test', 'spec'].map(kind => `**/test/${name}/**/${files}.${kind}.ts`);

module.exports = {
  ...base,
  // Not the folder test itself: the names of the tests' folders come from here, and some tests count on how upstream's are.
  testDir: __dirname,
  projects: [
    ...['documentation', 'galata', 'jupyterlab', 'benchmark'].map(name => ({
      name, testMatch: tests(name), testIgnore: tests(name, asUpstream), use: wide
    })),
    { name: 'jupyterlab-narrow', testMatch: tests('jupyterlab', asUpstream) }
  ],
  outputDir: process.env.RESULTS,
  reporter: [['list'], ['json', { outputFile: process.env.REPORT }]],
  // Pictures are of another machine's fonts and another browser.
  ignoreSnapshots: true,
  workers: 1,
  retries: 1,
  timeout: 90000,
  use: {
    ...base.use,
    baseURL: process.env.TARGET_URL,
    storageState: process.env.STATE,
    extraHTTPHeaders: { Authorization: `token ${process.env.CELLAR_TOKEN}` },
    video: 'off',
    trace: 'off',
    contextOptions: { permissions: ['clipboard-read', 'clipboard-write'] },
    launchOptions: { executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-lcd-text', '--disable-webgl'] }
  }
};
