// A limit on units that is near or reached is said once.
import { Notification } from '@jupyterlab/apputils';
import * as hub from './hub';
import { IKernels } from './kernels';

/** Milliseconds that a warning stays; what has been stopped stays until it is read. */
const WARNED = 20_000;

/** Tells of limits as the hub does, and, when the page is opened or seen again, of those that hold then. */
export function tellLimits(kernels: IKernels): void {
  const told = new Set<string>();
  const tell = (news: hub.LimitNews): void => {
    const key = [news.scope, news.window, news.until ?? `${news.kernel} ${news.cell}`, news.level, news.limit].join('/');
    if (told.has(key) && news.window !== 'run') {
      return;
    }
    told.add(key);
    if (news.level === 'reached') {
      Notification.error(news.detail, { autoClose: false });
    } else {
      Notification.warning(news.detail, { autoClose: WARNED });
    }
  };
  kernels.limited.connect((_, news) => tell(news));
  kernels.opened.connect(() => {
    hub.limitNews().then(
      list => list.forEach(tell),
      reason => console.warn('Cellar: the limits could not be asked for:', hub.messageOf(reason))
    );
  });
}
