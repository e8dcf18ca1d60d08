// One line per check, a picture of the page for each that failed, and the sum.
const path = require('node:path');

class Report {
  passed = 0;
  failed = 0;

  /** `page` gives what to take a picture of, `describe` says how things stand when a check fails. */
  constructor(page, describe) {
    Object.assign(this, { page, describe });
  }

  /** Runs one check; the next ones go on whatever it says. True when it passed. */
  async check(name, body) {
    const start = Date.now();
    try {
      const detail = await body();
      this.passed++;
      const seconds = ((Date.now() - start) / 1000).toFixed(1);
      console.log(`ok ${name} (${seconds} s)${typeof detail === 'string' ? `: ${detail}` : ''}`);
      return true;
    } catch (error) {
      this.failed++;
      const why = String(error.message).replace(/\x1b\[\d+m/g, '').split('\nCall log')[0].replace(/\s+/g, ' ').slice(0, 1500);
      const where = /\((?:.*\/)?(checks\/[^)]+)\)/.exec(error.stack ?? '')?.[1] ?? '';
      console.log(`FAIL ${name}: ${why} ${where} ${await this.#picture(name)}`);
      console.log(await this.describe().catch(failure => `  nothing more is known: ${failure.message}`));
      return false;
    }
  }

  async #picture(name) {
    const file = path.join('/tmp', `cellar-browser-${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}.png`);
    try {
      await this.page()?.screenshot({ path: file, timeout: 10_000 });
      return `(${file})`;
    } catch {
      return '(no picture: the page is gone)';
    }
  }

  end() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0;
  }
}

/** Says both when two things differ. */
function same(what, got, want) {
  const [a, b] = [got, want].map(v => JSON.stringify(v));
  if (a !== b) {
    const cut = s => (s?.length > 400 ? `${s.slice(0, 200)} … ${s.slice(-200)}` : s);
    throw new Error(`${what}: got ${cut(a)}, want ${cut(b)}`);
  }
}

function truly(what, value) {
  if (!value) {
    throw new Error(what);
  }
}

module.exports = { Report, same, truly };
