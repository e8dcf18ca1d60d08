// Builds dist/: the application and its themes, what the server must know of them, licences; compressed.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const util = require('util');
const zlib = require('zlib');
const rspack = require('@rspack/core');
const gen = require('./gen.cjs');

// 11 saves 8 % over 9 and takes ten times as long: only what every page loads gets it.
const BEST = 11;
const GOOD = 9;
const brotli = util.promisify(zlib.brotliCompress);

/** Runs all compiles; rejects with the compiler's own words. */
function compile(configs) {
  return new Promise((resolve, reject) => {
    const compiler = rspack(configs);
    compiler.run((error, stats) => {
      if (!error && stats.hasErrors()) error = new Error(stats.toString({ preset: 'errors-only', colors: false }));
      compiler.close(() => (error ? reject(error) : resolve(stats.stats)));
    });
  });
}

/** Which scripts the page loads, and which ones those will ask for next. */
function manifest(application) {
  const { entrypoints, namedChunkGroups } = application.toJson({ all: false, entrypoints: true, chunkGroups: true });
  const scriptsOf = group => (group ? group.assets.map(a => a.name).filter(f => f.endsWith('.js')) : []);
  const scripts = scriptsOf(entrypoints.main);
  const preload = scriptsOf(namedChunkGroups.boot).filter(f => !scripts.includes(f));
  const build = crypto.createHash('sha256').update(scripts.join() + preload.join()).digest('hex').slice(0, 16);
  return { version: gen.version, build, scripts, preload };
}

const NODE_MODULES = `${path.sep}node_modules${path.sep}`;

/** The folders of the packages whose files were read by a compile. */
function bundledPackages(stats) {
  const dirs = new Set();
  for (const { compilation } of stats) {
    for (const file of compilation.fileDependencies) {
      const at = file.lastIndexOf(NODE_MODULES);
      if (at < 0 || path.basename(file) === 'package.json') continue;
      const [scope, name] = file.slice(at + NODE_MODULES.length).split(path.sep);
      dirs.add(file.slice(0, at) + NODE_MODULES + (scope.startsWith('@') ? `${scope}/${name}` : scope));
    }
  }
  return [...dirs];
}

/** The licence text a package ships, else its licence's usual text with the authors' name in it. */
function licenseText(dir, { name, author, license }) {
  const own = fs
    .readdirSync(dir, { withFileTypes: true })
    .filter(e => e.isFile() && /^(licen[cs]e|copying|notice)/i.test(e.name))
    .map(e => fs.readFileSync(path.join(dir, e.name), 'utf8'))
    .sort();
  if (own.length) return own.join('\n');
  const usual = path.join(__dirname, 'licenses', `${license}.txt`);
  if (!fs.existsSync(usual)) throw new Error(`${name} ships no licence text, and licenses/${license}.txt is not there`);
  const holder = (author?.name ?? author ?? `the authors of ${name}`).replace(/\s*<.*/, '');
  return fs.readFileSync(usual, 'utf8').replace('<holder>', holder);
}

/** Third-party licences in the form JupyterLab's own licence viewer reads. */
function licenses(stats) {
  const known = new Map();
  for (const dir of bundledPackages(stats)) {
    const p = JSON.parse(fs.readFileSync(path.join(dir, 'package.json')));
    if (!p.name || !p.version) continue; // a folder inside a package, marked as a module
    const license = p.license?.type ?? p.license ?? p.licenses?.map(l => l.type).join(' OR ') ?? '';
    const extractedText = licenseText(dir, { ...p, license });
    const licenseId = license || (extractedText.includes('MIT License') ? 'MIT' : '');
    known.set(`${p.name}@${p.version}`, { name: p.name, versionInfo: p.version, licenseId, extractedText });
  }
  const packages = [...known.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, p]) => p);
  return { packages };
}

/** Replaces every text file below dir by its compressed form; `first` names the files every page loads. */
async function compress(dir, first = []) {
  const files = fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile() && /\.(js|css|svg|json|map|txt)$/.test(e.name))
    .map(e => path.join(e.parentPath, e.name));
  await Promise.all(
    files.map(async file => {
      const raw = fs.readFileSync(file);
      const params = {
        [zlib.constants.BROTLI_PARAM_QUALITY]: first.includes(path.basename(file)) ? BEST : GOOD,
        [zlib.constants.BROTLI_PARAM_LGWIN]: 22,
        [zlib.constants.BROTLI_PARAM_SIZE_HINT]: raw.length
      };
      fs.writeFileSync(`${file}.br`, await brotli(raw, { params }));
      fs.unlinkSync(file);
    })
  );
}

/** The themes' compiles leave an empty script beside each style sheet. */
function dropThemeScripts(dir) {
  for (const e of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (e.isFile() && e.name.endsWith('.js')) fs.unlinkSync(path.join(e.parentPath, e.name));
  }
}

async function main() {
  gen.write();
  const { dist, configs } = require('./rspack.config.cjs');
  fs.rmSync(dist, { recursive: true, force: true });
  const stats = await compile(configs);
  const put = (name, value) => fs.writeFileSync(path.join(dist, name), `${JSON.stringify(value)}\n`);
  const page = manifest(stats[0]);
  put('manifest.json', page);
  put('settings.json', gen.schemas());
  put('licenses.json', licenses(stats));
  dropThemeScripts(path.join(dist, 'themes'));
  await compress(path.join(dist, 'static'), [...page.scripts, ...page.preload]);
  await compress(path.join(dist, 'themes'));
}

main().catch(error => {
  console.error(error.message);
  process.exitCode = 1;
});
