// The product as a person uses it: `run.sh` says how to start this.
//   --only 1,3        groups of checks by number (1 is always done)
//   --screenshots     takes the pictures for the documentation
const path = require('node:path');
const { Browser } = require('./lib/browser.cjs');
const { Hub, root } = require('./lib/hub.cjs');
const { Report } = require('./lib/report.cjs');
const { commute } = require('./checks/commute.cjs');
const back = require('./checks/back.cjs');
const dies = require('./checks/dies.cjs');
const { hostile } = require('./checks/hostile.cjs');
const keeping = require('./checks/keeping.cjs');
const language = require('./checks/language.cjs');
const { cells } = require('./checks/cells.cjs');
const { line } = require('./checks/line.cjs');
const manners = require('./checks/manners.cjs');
const packages = require('./checks/packages.cjs');
const serving = require('./checks/serving.cjs');
const { sharing } = require('./checks/sharing.cjs');
const tour = require('./checks/tour.cjs');
const usage = require('./checks/usage.cjs');
const variables = require('./checks/variables.cjs');
const widgets = require('./checks/widgets.cjs');

/** Milliseconds for all of it, the commute not counted. */
const LIMIT = 1_000_000;

const GROUPS = [
  [1, tour.firstSignIn],
  [2, tour.runTour],
  [3, tour.switching],
  [4, commute],
  [5, keeping.checkpoints],
  [5, dies.goneAndBack],
  [5, keeping.files],
  [6, keeping.publish],
  [7, manners.secondUser],
  [9, language.editor],
  [9, language.notebook],
  [10, packages.pip],
  [8, manners.keyboard],
  [8, manners.console],
  [14, serving.nodePage],
  [11, back.marks],
  [11, back.notifications],
  [11, back.dark],
  [11, back.history],
  [11, back.webhook],
  [11, back.waking],
  [11, back.sessions],
  [10, packages.page],
  [17, cells],
  [13, variables.panel],
  [13, variables.dark],
  [13, variables.oneByOne],
  [18, usage.usage],
  [16, line],
  [8, manners.quiet],
  [13, widgets.afterSleep],
  [15, sharing],
  [12, hostile]
];

function arguments_() {
  const at = process.argv.indexOf('--only');
  const only = at < 0 ? null : new Set([1, ...process.argv[at + 1].split(',').map(Number)]);
  return { pictures: process.argv.includes('--screenshots'), wanted: number => !only || only.has(number) };
}

async function main() {
  const { wanted, pictures } = arguments_();
  const hub = await Hub.make('--idle', '25s', '--node-idle', '10s', '--webhook-allow', '127.0.0.1/32');
  let down = false;
  const takeDown = () => down || ((down = true), hub.down());
  const giveUp = why => {
    console.log(`FAIL ${why}`);
    takeDown();
    process.exit(1);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => giveUp(`ended by ${signal}`));
  }
  const extra = 1000 * Number(process.env.CELLAR_COMMUTE ?? 0);
  setTimeout(() => giveUp(`not done within ${(LIMIT + extra) / 1000} s`), LIMIT + extra).unref();

  const world = { hub, complaints: [], password: 'the vault is at the end', page: null };
  const report = new Report(() => world.page, async () => {
    const kernels = (await hub.kernels('digits')).map(k => `${k.id} ${k.state} ${k.state_detail ?? ''}`);
    const shown = world.page ? await world.page.locator('.cellar-KernelBadge').evaluateAll(list => list.map(node => node.dataset.state)) : [];
    return `  kernels: ${kernels.join(', ')}; badges: ${shown.join(', ')}\n${hub.lastWords().trimEnd().replace(/^/gm, '  ')}`;
  });
  world.check = (name, body) => report.check(name, body);
  /** For the documentation, when asked for. */
  world.picture = async name => {
    if (pictures) {
      await world.page.screenshot({ path: path.join(root, 'docs/images', `${name}.png`), animations: 'disabled' });
    }
  };
  /** For whoever wants to look: pictures go into the folder that CELLAR_LOOK names. */
  world.look = async (name, page = world.page) => {
    if (process.env.CELLAR_LOOK) {
      await page.screenshot({ path: path.join(process.env.CELLAR_LOOK, `${name}.png`), animations: 'disabled' });
    }
  };
  /** For what all the rest needs. */
  world.must = async (name, body) => {
    if (!(await report.check(name, body))) {
      throw new Error(`nothing goes on without "${name}"`);
    }
  };
  try {
    world.signIn = await hub.start({ first: true });
    world.browser = await Browser.open(world.complaints);
    for (const [number, group] of GROUPS) {
      if (wanted(number)) {
        await group(world);
      }
    }
  } catch (error) {
    await report.check('the run itself', () => Promise.reject(error));
  } finally {
    await world.browser?.close().catch(() => {});
    if (!takeDown()) {
      await report.check('cellar down', () => Promise.reject(new Error('see above')));
    }
  }
  process.exit(report.end() ? 0 : 1);
}

void main();
