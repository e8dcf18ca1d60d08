// The hub under test: a data folder and a port of its own, started, killed and taken down again.
const { spawn, execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const root = path.resolve(__dirname, '../../..');
const program = path.join(root, 'bin', 'cellar');

/** Milliseconds a hub may take until it is ready. */
const READY = 120_000;

const freePort = () =>
  new Promise((done, failed) => {
    const server = net.createServer().once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

class Hub {
  /** Each argument is one of `cellar serve`. */
  static async make(...args) {
    const data = fs.mkdtempSync(`/var/tmp/cellar-browser-${process.pid}-`);
    return new Hub(data, `127.0.0.1:${await freePort()}`, args);
  }

  constructor(data, address, args) {
    Object.assign(this, { data, address, args, url: `http://${address}`, logFile: `${data}.log` });
  }

  /** Resolves when the hub is ready; the first time, to the address for the first sign-in. */
  async start({ first = false } = {}) {
    const log = fs.openSync(this.logFile, 'a');
    const child = spawn(program, ['serve', '--data', this.data, '--listen', this.address, ...this.args], {
      detached: true, // Ctrl-C is for us, who then take the hub down in order
      stdio: ['ignore', 'pipe', log]
    });
    fs.closeSync(log);
    this.child = child;
    this.ended = new Promise(done => child.once('exit', done));
    let said = '';
    child.stdout.setEncoding('utf8').on('data', text => (said += text));
    const ready = new Promise(done => child.stdout.on('data', () => said.includes(first ? 'sign in as' : 'ready: ') && said.endsWith('\n') && done('ready')));
    const late = new Promise(done => setTimeout(done, READY, 'late').unref());
    const outcome = await Promise.race([ready, late, this.ended]);
    if (outcome !== 'ready') {
      throw new Error(`the hub did not start (${outcome}): ${this.lastWords()}`);
    }
    return /sign in as the administrator: (\S+)/.exec(said)?.[1];
  }

  async kill(signal = 'SIGKILL') {
    this.child?.kill(signal);
    await this.ended;
    this.child = null;
  }

  cli(...args) {
    return execFileSync(program, [...args, '--data', this.data], { encoding: 'utf8', timeout: 60_000 }).trim();
  }

  /** Ends all that belongs to the data folder. Synchronous: it must also work while the process is ending. */
  down() {
    try {
      this.child?.kill('SIGKILL');
      this.cli('down', '--kill');
      fs.rmSync(this.data, { recursive: true, force: true });
      fs.rmSync(this.logFile, { force: true });
    } catch (error) {
      console.error(`cellar down: ${error.message}`);
      return false;
    }
    return true;
  }

  lastWords() {
    return fs.readFileSync(this.logFile, 'utf8').slice(-3000);
  }

  /** Asks the API as the administrator's program would. */
  async api(path, method = 'GET') {
    this.token ??= this.cli('token');
    const response = await fetch(this.url + path, { method, headers: { Authorization: `Bearer ${this.token}` } });
    if (!response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    }
    return response.status === 204 ? null : response.json();
  }

  kernels = async project => (await this.api(`/api/v1/projects/${project}/kernels`)).items;

  file(project, ...rest) {
    return path.join(this.data, 'projects', project, 'files', ...rest);
  }

  /** The processes on this machine that belong to a kernel, by its control group. */
  processes(kernel) {
    const group = 'cel' + createHash('sha256').update(this.data).digest('hex').slice(0, 6);
    return fs.readdirSync('/proc').filter(pid => {
      try {
        const of = /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8');
        return of && of.includes(group) && of.includes(`${kernel}-`);
      } catch {
        return false; // it has ended meanwhile
      }
    });
  }
}

/** Asks again until `look` gives something true; the last refusal is the reason when it never does. */
async function until(what, look, limit = 60_000, pause = 100) {
  const end = Date.now() + limit;
  for (let last; ; ) {
    try {
      last = await look();
      if (last) {
        return last;
      }
    } catch (error) {
      last = error.message;
    }
    if (Date.now() > end) {
      throw new Error(`not within ${limit / 1000} s: ${what} (last: ${JSON.stringify(last)})`);
    }
    await new Promise(done => setTimeout(done, pause));
  }
}

module.exports = { Hub, until, root };
