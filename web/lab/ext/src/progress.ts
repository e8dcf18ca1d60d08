// A long operation as a notification with its progress.
import { Notification } from '@jupyterlab/apputils';
import * as hub from './hub';

/**
 * Starts the operation and follows it; true when it ended well, and `then` has its response. Never throws: the
 * notification says why.
 */
export async function track<T>(
  title: string,
  start: () => Promise<hub.Operation<T>>,
  end: string,
  then?: (response: T) => void
): Promise<boolean> {
  const id = Notification.emit(`${title}…`, 'in-progress', { autoClose: false });
  try {
    const done = await hub.follow(await start(), o => {
      const message = o.message ? `${title}: ${o.message}` : `${title}…`;
      const stop = { label: 'Cancel', callback: () => void hub.cancel(o.id).catch(() => undefined) };
      Notification.update({ id, message, progress: o.progress, actions: o.done ? [] : [stop], autoClose: false });
    });
    then?.(done);
    Notification.update({ id, message: end, type: 'success', actions: [], autoClose: 4000 });
    return true;
  } catch (reason) {
    const message = `${title} did not work. ${hub.messageOf(reason)}`;
    Notification.update({ id, message, type: 'error', actions: [], autoClose: false });
    return false;
  }
}
