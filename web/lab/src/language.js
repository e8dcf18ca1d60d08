// The plugins of @jupyter-lsp/jupyterlab-lsp: completion, diagnostics, rename and what else editors have from a
// language server. Left out are those of leftout.js: jumping to definitions, and one of two sets of icons.
import plugins from '@jupyter-lsp/jupyterlab-lsp/lib/index.js';

export default plugins.filter(plugin => plugin !== null);
