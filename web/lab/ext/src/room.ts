// Keeps what fits in a notebook's toolbar out of its "…".
import { Toolbar } from '@jupyterlab/ui-components';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

/** Milliseconds without a change. More than the 500 ms in which JupyterLab's toolbar listens to the first change only. */
const QUIET = 600;

/**
 * JupyterLab's toolbar measures itself at the first of several changes and leaves out the others of the same half
 * second. A page that opens with several notebooks changes often at first, so that in about one visit of ten what
 * comes last, the kernel's badge, stays behind "…" beside an empty stretch. We ask it to measure again when all is quiet.
 */
export function keepRoom(toolbar: Toolbar): void {
  let timer = 0;
  let seen = '';
  const settle = () => {
    const opener = toolbar.node.querySelector<HTMLElement>(':scope > [data-jp-item-name="toolbar-popup-opener"]');
    const crowded = !!opener && !opener.classList.contains('lm-mod-hidden');
    const now = [...toolbar.node.children].map(child => (child as HTMLElement).dataset.jpItemName).join() + toolbar.node.clientWidth;
    // Once for each state: a narrow window is crowded for good.
    if (crowded && toolbar.isVisible && now !== seen) {
      seen = now;
      MessageLoop.sendMessage(toolbar, Widget.Msg.AfterShow);
    }
  };
  const disturbed = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(settle, QUIET);
  };
  const size = new ResizeObserver(disturbed);
  const items = new MutationObserver(disturbed);
  size.observe(toolbar.node);
  items.observe(toolbar.node, { childList: true });
  toolbar.disposed.connect(() => {
    window.clearTimeout(timer);
    size.disconnect();
    items.disconnect();
  });
}
