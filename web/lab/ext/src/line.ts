// A kernel of this page that waits for room on the machine: where it stands, and a way out.
import { Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ordinal } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { kernelOf } from './watch';

/** Shows one notification for each kernel that waits, and keeps it true until it does not. */
export function showLine(tracker: INotebookTracker, kernels: IKernels): void {
  const shown = new Map<string, string>(); // notifications by kernel
  const look = (id: string): void => {
    const line = kernels.get(id)?.line;
    const panel = tracker.find(panel => kernelOf(panel.sessionContext) === id);
    const told = shown.get(id);
    if (!line || !panel) {
      if (told) {
        Notification.dismiss(told);
        shown.delete(id);
      }
      return;
    }
    const message = `${panel.context.path} waits for room on this machine: ${ordinal(line.position)} in line.`;
    if (!told || !Notification.update({ id: told, message })) {
      const actions = [{ label: 'Do not wait', caption: 'Take the kernel out of the line', callback: () => void leave(id) }];
      shown.set(id, Notification.info(message, { autoClose: false, actions }));
    }
  };
  kernels.changed.connect((_, id) => look(id));
  // The hub may have told of a kernel before the page knows that it is its own.
  tracker.widgetAdded.connect((_, panel) => {
    const own = (): void => {
      const id = kernelOf(panel.sessionContext);
      if (id) {
        look(id);
      }
    };
    panel.sessionContext.kernelChanged.connect(own);
    own();
  });
}

async function leave(id: string): Promise<void> {
  try {
    await hub.leaveLine(id);
  } catch (reason) {
    Notification.error(hub.messageOf(reason));
  }
}
