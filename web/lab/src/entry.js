// Runs before anything else: public path, federated extensions' containers, then the application.
const config = JSON.parse(document.getElementById('jupyter-config-data').textContent);
__webpack_public_path__ = config.fullStaticUrl.replace(/\/?$/, '/');

const addScript = src =>
  new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = src;
    script.async = true;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`cannot load ${src}`));
    document.head.append(script);
  });

async function load(remotes) {
  if (!remotes.length) return;
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  await __webpack_init_sharing__('default');
  const settled = await Promise.allSettled(
    remotes.map(async r => {
      await addScript(`${config.fullLabextensionsUrl}/${r.name}/${r.load}`);
      await window._JUPYTERLAB[r.name].init(__webpack_share_scopes__.default);
    })
  );
  settled.filter(s => s.status === 'rejected').forEach(s => console.error(s.reason));
}

async function start() {
  const remotes = config.federated_extensions || [];
  await load(remotes);
  const { run } = await import(/* webpackChunkName: "boot" */ './boot.js');
  if (document.readyState !== 'complete') {
    await new Promise(done => window.addEventListener('load', done, { once: true }));
  }
  await run(remotes);
}
start();
