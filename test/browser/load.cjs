// How long a notebook's page takes, for the benchmarks: `run.sh --load URL`. Prints, as JSON, milliseconds,
// requests and bytes of the first load and of a second one with a warm cache. Works with any Jupyter server.
const { chromium } = require('playwright-core');
const { ARGS } = require('./lib/browser.cjs');

const LIMIT = 60_000;

/** Loads the page; ready is when its first cell is shown and a kernel has answered it. */
async function load(context, url) {
  const page = await context.newPage();
  const client = await context.newCDPSession(page);
  await client.send('Network.enable');
  let requests = 0;
  let bytes = 0;
  const channels = new Set();
  const answered = new Promise((done, failed) => {
    setTimeout(() => failed(new Error('no kernel answers')), LIMIT).unref();
    client.on('Network.webSocketCreated', ({ requestId, url }) => url.includes('/channels') && channels.add(requestId));
    client.on('Network.webSocketFrameReceived', ({ requestId, response }) => {
      const text = response.opcode === 2 ? Buffer.from(response.payloadData, 'base64').toString('latin1') : response.payloadData;
      if (channels.has(requestId) && text.includes('kernel_info_reply')) {
        done();
      }
    });
  });
  const counted = new Set();
  client.on('Network.responseReceived', ({ requestId, response }) => {
    if (!response.fromDiskCache && response.url.startsWith('http')) {
      counted.add(requestId);
    }
  });
  client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (counted.has(requestId)) {
      requests += 1;
      bytes += encodedDataLength;
    }
  });
  const start = performance.now();
  await page.goto(url, { waitUntil: 'commit' });
  await Promise.all([page.locator('.jp-NotebookPanel .jp-CodeCell .cm-content').first().waitFor({ timeout: LIMIT }), answered]);
  const ms = performance.now() - start;
  const seen = { ms, requests, bytes };
  await page.close();
  return seen;
}

async function main(url) {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: ARGS });
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const cold = await load(context, url);
    const warm = await load(context, url);
    console.log(JSON.stringify({ cold, warm }));
  } finally {
    await browser.close();
  }
}

main(process.argv[2]).catch(error => {
  console.error(error);
  process.exit(1);
});
