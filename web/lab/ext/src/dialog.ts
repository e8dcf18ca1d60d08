// Dialogs that keep the focus.
import { Dialog } from '@jupyterlab/apputils';

/** Milliseconds in which whatever a dialog was opened from may still give the focus back to where it was before. */
const SETTLING = 600;

/**
 * Shows a dialog. The command palette returns the focus to the notebook when it closes, which may be after the dialog
 * that a command opened has taken it: without this, who types would type into the notebook behind.
 */
export function launch<T>(dialog: Dialog<T>): Promise<Dialog.IResult<T>> {
  dialog.addClass('cellar-Dialog');
  const result = dialog.launch();
  const back = () => {
    if (!dialog.isDisposed && dialog.isAttached && !dialog.node.contains(document.activeElement)) {
      (dialog.node.querySelector<HTMLElement>('input, select, textarea, .jp-Dialog-footer button.jp-mod-accept, button') ?? dialog.node).focus();
    }
  };
  document.addEventListener('focusin', back);
  [0, SETTLING / 4, SETTLING].forEach(later => window.setTimeout(back, later)); // to the page itself it goes without an event
  window.setTimeout(() => document.removeEventListener('focusin', back), SETTLING);
  return result;
}
