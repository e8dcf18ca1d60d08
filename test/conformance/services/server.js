// What @jupyterlab/testing calls a Jupyter server, made of a project of a Cellar hub: CELLAR_URL, CELLAR_TOKEN, and
// CELLAR_DATA, the hub's data folder, as one of the files the tests want is read-only, which no API makes.
const fs = require('node:fs');
const path = require('node:path');
const { PageConfig } = require('@jupyterlab/coreutils');

const { CELLAR_URL, CELLAR_TOKEN, CELLAR_DATA } = process.env;

async function hub(method, where, body) {
  const response = await fetch(CELLAR_URL + where, {
    method,
    headers: { Authorization: `token ${CELLAR_TOKEN}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body)
  });
  if (!response.ok) {
    throw new Error(`${method} ${where}: ${response.status} ${await response.text()}`);
  }
  return response.status === 204 ? null : response.json();
}

class JupyterServer {
  async start(options = {}) {
    this.project = (await hub('POST', '/api/v1/projects', { name: 'Services tests' })).id;
    const files = path.join(CELLAR_DATA, 'projects', this.project, 'files');
    const { uid, gid } = fs.statSync(files);
    fs.mkdirSync(path.join(files, 'src'));
    for (const [name, text, mode] of [['temp.txt', 'hello', 0o644], ['readonly-temp.txt', 'hello from a ready only file', 0o444]]) {
      fs.writeFileSync(path.join(files, 'src', name), text, { mode });
      fs.chownSync(path.join(files, 'src', name), uid, gid);
    }
    fs.chownSync(path.join(files, 'src'), uid, gid);
    const url = `${CELLAR_URL}/projects/${this.project}/`;
    const specs = await hub('GET', `/projects/${this.project}/api/kernelspecs`);
    for (const [name, { spec }] of Object.entries(specs.kernelspecs)) {
      PageConfig.setOption(`__kernelSpec_${name}`, JSON.stringify(spec));
    }
    const page = { baseUrl: url, token: CELLAR_TOKEN, terminalsAvailable: 'true', ...options.pageConfig };
    for (const [name, value] of Object.entries(page)) {
      PageConfig.setOption(name, value);
    }
    return url;
  }

  async shutdown() {
    await hub('DELETE', `/api/v1/projects/${this.project}`);
  }
}

module.exports = { JupyterServer };
