// Chooses the plugins (compiled in, federated, disabled by the page config) and starts JupyterLab.
import { JupyterLab } from '@jupyterlab/application';
import { JupyterPluginRegistry, PageConfig } from '@jupyterlab/coreutils';
import { IConnectionStatus, IServiceManager } from '@jupyterlab/services';
import 'lab-generated/style.js';
import { extensions, mimeExtensions } from 'lab-generated/plugins.js';

/** A module's plugins: its default export, one or several. */
const pluginsOf = module => {
  const exported = module?.__esModule ? module.default : module.default ?? module;
  return Array.isArray(exported) ? exported : [exported];
};

/** A rule is a plugin id, or a package name that stands for all its plugins. */
const matches = (rules, id) =>
  rules.some(r => r === id || (id.includes(':') && r === id.slice(0, id.indexOf(':'))));

/** One exposed module of each federated extension that has it; a broken one is only reported. */
async function fromRemotes(remotes, key) {
  const settled = await Promise.allSettled(
    remotes.filter(r => r[key]).map(async r => [r.name, (await window._JUPYTERLAB[r.name].get(r[key]))()])
  );
  settled.filter(s => s.status === 'rejected').forEach(s => console.error(s.reason));
  return settled.filter(s => s.status === 'fulfilled').map(s => s.value);
}

class Selection {
  all = [];
  disabled = [];
  deferred = [];

  /** Sorts the plugins of [scope, module] pairs; returns those that may be registered. */
  take(sources) {
    const chosen = [];
    for (const [scope, module] of sources) {
      for (const plugin of pluginsOf(module)) {
        const enabled = !matches(PageConfig.Extension.disabled, plugin.id);
        this.all.push({
          id: plugin.id,
          description: plugin.description,
          requires: plugin.requires ?? [],
          optional: plugin.optional ?? [],
          provides: plugin.provides ?? null,
          autoStart: plugin.autoStart,
          enabled,
          extension: scope
        });
        if (!enabled) {
          this.disabled.push(plugin.id);
          continue;
        }
        if (matches(PageConfig.Extension.deferred, plugin.id)) this.deferred.push(plugin.id);
        chosen.push(plugin);
      }
    }
    return chosen;
  }
}

export async function run(remotes) {
  const selection = new Selection();
  const replaced = new Set(remotes.map(r => r.name));
  const local = list => list.filter(([name]) => !replaced.has(name));
  const mime = selection.take([...local(mimeExtensions), ...(await fromRemotes(remotes, 'mimeExtension'))]);
  const plugins = selection.take([...local(extensions), ...(await fromRemotes(remotes, 'extension'))]);
  await fromRemotes(remotes.filter(r => !matches(PageConfig.Extension.disabled, r.name)), 'style');

  const pluginRegistry = new JupyterPluginRegistry();
  pluginRegistry.registerPlugins(plugins);
  const connectionStatus = await pluginRegistry.resolveOptionalService(IConnectionStatus);
  const serviceManager = await pluginRegistry.resolveRequiredService(IServiceManager);
  const app = new JupyterLab({
    pluginRegistry,
    serviceManager,
    connectionStatus,
    mimeExtensions: mime,
    disabled: { matches: selection.disabled, patterns: PageConfig.Extension.disabled },
    deferred: { matches: selection.deferred, patterns: PageConfig.Extension.deferred },
    availablePlugins: selection.all
  });
  app.start({ ignorePlugins: selection.deferred, bubblingKeydown: true });
  if (PageConfig.getOption('exposeAppInBrowser').toLowerCase() === 'true') window.jupyterapp = app;
  app.restored.then(() => performance.mark('lab-restored'));
}
