// A restart can be undone: the hub keeps the state from before as a checkpoint.
import { Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import * as hub from './hub';
import { IKernels } from './kernels';
import { track } from './progress';
import { kernelOf } from './watch';

/** Milliseconds that a regretted restart can be undone from its notification; later, from the panel. */
const OFFERED = 30_000;

/** Offers to undo the restarts of kernels that this page shows; other pages have nothing to do with them. */
export function offerUndo(tracker: INotebookTracker, kernels: IKernels): void {
  kernels.restarted.connect((_, told) => {
    if (!tracker.find(panel => kernelOf(panel.sessionContext) === told.kernel)) {
      return;
    }
    const { checkpoint, detail } = told;
    if (checkpoint) {
      Notification.info('Restarted.', {
        autoClose: OFFERED,
        actions: [{ label: 'Undo', caption: 'Bring back the state from before', callback: () => void undo(checkpoint) }]
      });
    } else if (detail) {
      Notification.warning(`Restarted. The state from before could not be kept: ${detail}`, { autoClose: false });
    }
  });
}

const undo = (checkpoint: string) =>
  track(
    'Undoing the restart',
    () => hub.applyCheckpoint(checkpoint, hub.VARIABLES_ONLY),
    'The kernel is what it was before the restart.'
  );
