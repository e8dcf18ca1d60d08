// Stands for two modules of @jupyter-lsp/jupyterlab-lsp that cannot be built: what they are made of is not in
// npm's registry in the versions they need (code-jumpers 2.1, theme-vscode 3.0). See language.js.
import { LabIcon } from '@jupyterlab/ui-components';
import svgstr from '@jupyter-lsp/jupyterlab-lsp/style/icons/jump-to.svg';

export const JUMP_PLUGIN = null;
export const plugin = null;
/** The list of diagnostics has it too. */
export const jumpToIcon = new LabIcon({ name: 'lsp:jump-to', svgstr });
