// Reads what JupyterLab is made of (its own list of extensions, plus ours) and
// writes the two modules the start code imports: build/plugins.js and build/style.js.
const fs = require('fs');
const path = require('path');
const core = require('@jupyterlab/core-meta/core.package.json');

const OURS = '@cellar/lab';
// Installing packages from the page is the server's business, not the page's.
const LEFT_OUT = new Set(['@jupyterlab/extensionmanager-extension']);
const LANGUAGE = '@jupyter-lsp/jupyterlab-lsp';
const ADDED = ['@jupyter-widgets/jupyterlab-manager', LANGUAGE, OURS];
/** Settings of plugins that are left out (src/leftout.js) or that LANGUAGE stands for. */
const NO_SETTINGS = new Set([`${LANGUAGE}:jump_to`, '@jupyterlab/lsp-extension:plugin']);
/** Defaults that would name what is left out, or settings whose schema nobody has. */
const DEFAULTS = { [`${LANGUAGE}:completion`]: { theme: 'material' }, [`${LANGUAGE}:plugin`]: { language_servers: {} } };
const generated = path.resolve(__dirname, 'build');

const dirOf = name =>
  name === OURS ? path.resolve(__dirname, 'ext') : path.dirname(require.resolve(`${name}/package.json`));
const packageOf = name => JSON.parse(fs.readFileSync(path.join(dirOf(name), 'package.json')));

const extensions = [
  ...Object.entries(core.jupyterlab.extensions).filter(([name]) => !LEFT_OUT.has(name)),
  ...ADDED.map(name => [name, ''])
];
const mimeExtensions = Object.entries(core.jupyterlab.mimeExtensions);
const names = [...new Set([...extensions, ...mimeExtensions].map(([name]) => name))];

/** Source of plugins.js: each extension's module beside its name. */
function pluginsSource() {
  const imports = [];
  const list = entries =>
    entries.map(([name, module]) => {
      const local = `m${imports.length}`;
      imports.push(`import * as ${local} from ${JSON.stringify(module ? `${name}/${module}` : name)};`);
      return `  [${JSON.stringify(name)}, ${local}]`;
    });
  const lists = { extensions: list(extensions), mimeExtensions: list(mimeExtensions) };
  const exported = Object.entries(lists).map(([k, rows]) => `export const ${k} = [\n${rows.join(',\n')}\n];`);
  return [...imports, ...exported, ''].join('\n');
}

/** Source of style.js: each extension's style sheets. */
function styleSource() {
  return names
    .map(name => [name, packageOf(name)])
    .map(([name, p]) => [name, p.styleModule || p.style])
    .filter(([, file]) => file)
    .map(([name, file]) => `import ${JSON.stringify(`${name}/${file}`)};\n`)
    .join('');
}

/** Every settings schema, in the form the settings API lists them. */
function schemas() {
  return names.flatMap(name => {
    const { version, jupyterlab = {} } = packageOf(name);
    if (!jupyterlab.schemaDir) return [];
    const dir = path.join(dirOf(name), jupyterlab.schemaDir);
    return fs.readdirSync(dir).filter(f => f.endsWith('.json')).sort().map(f => ({
      id: `${name}:${f.slice(0, -'.json'.length)}`,
      version,
      schema: JSON.parse(fs.readFileSync(path.join(dir, f)))
    }));
  }).filter(({ id }) => !NO_SETTINGS.has(id)).map(withDefaults);
}

/** A schema with our defaults in place of its own, and without keys for commands that are not there (ext has F2). */
function withDefaults(entry) {
  if (entry.id === `${LANGUAGE}:rename`) delete entry.schema['jupyter.lab.shortcuts'];
  for (const [key, value] of Object.entries(DEFAULTS[entry.id] ?? {})) entry.schema.properties[key].default = value;
  return entry;
}

/** Theme name -> its style sheet; each becomes a compile of its own. */
function themes() {
  return Object.fromEntries(
    names
      .map(name => [name, packageOf(name).jupyterlab?.themePath])
      .filter(([, file]) => file)
      .map(([name, file]) => [name, path.join(dirOf(name), file)])
  );
}

/** What federated extensions share with the page: only what must exist once. */
function shared() {
  const out = {};
  for (const name of [...core.jupyterlab.singletonPackages, '@jupyter-widgets/base', '@jupyter-widgets/controls']) {
    let version;
    try {
      version = packageOf(name).version;
    } catch {
      continue; // listed upstream, not used by what we compile
    }
    if (LEFT_OUT.has(`${name}-extension`)) continue;
    // Eager: the page needs nearly all of them to start, and a chunk for each costs a request for each.
    const eager = name !== '@lumino/datagrid' && !name.startsWith('@jupyter-widgets/');
    out[name] = { singleton: true, requiredVersion: `^${version}`, eager };
  }
  return out;
}

function write() {
  fs.mkdirSync(generated, { recursive: true });
  fs.writeFileSync(path.join(generated, 'plugins.js'), pluginsSource());
  fs.writeFileSync(path.join(generated, 'style.js'), styleSource());
}

module.exports = { OURS, LANGUAGE, generated, dirOf, schemas, themes, shared, write, version: core.jupyterlab.version };
