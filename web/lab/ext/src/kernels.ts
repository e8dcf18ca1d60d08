// What the hub says about the project's kernels, kept current by one event stream per page.
import { Token } from '@lumino/coreutils';
import { ISignal, Signal } from '@lumino/signaling';
import * as hub from './hub';

/** Milliseconds between polls while the event stream is down. */
const POLL = 3000;
/** Milliseconds before a stream that was closed for good is opened again. */
const RECONNECT = 5000;

export interface IKernels {
  get(id: string | undefined): hub.Kernel | undefined;
  /** Emitted with the ID of a kernel that changed. */
  readonly changed: ISignal<IKernels, string>;
  readonly runChanged: ISignal<IKernels, hub.Run>;
  readonly restarted: ISignal<IKernels, hub.Restarted>;
  readonly limited: ISignal<IKernels, hub.LimitNews>;
  /** Milliseconds since the page heard of a kernel last. */
  age(id: string | undefined): number;
  /** Emitted when the page follows the hub again: what was said before was not heard. */
  readonly opened: ISignal<IKernels, void>;
}

export const IKernels = new Token<IKernels>('@cellar/lab:IKernels', "The hub's view of the project's kernels.");

export class Kernels implements IKernels {
  readonly changed = new Signal<this, string>(this);
  readonly runChanged = new Signal<this, hub.Run>(this);
  readonly restarted = new Signal<this, hub.Restarted>(this);
  readonly limited = new Signal<this, hub.LimitNews>(this);
  readonly opened = new Signal<this, void>(this);

  get(id: string | undefined): hub.Kernel | undefined {
    return id === undefined ? undefined : this._known.get(id);
  }

  age(id: string | undefined): number {
    return performance.now() - ((id === undefined ? undefined : this._heard.get(id)) ?? performance.now());
  }

  /**
   * Follows the hub as long as the page is seen: a hidden page has nothing to show, and a browser opens few connections
   * to one server, which many tabs share.
   */
  open(): void {
    document.addEventListener('visibilitychange', () => (document.hidden ? this._close() : this._connect()));
    window.addEventListener('pagehide', () => this._close());
    window.addEventListener('pageshow', () => this._connect());
    this._connect();
  }

  private _connect(): void {
    if (this._stream || document.hidden) {
      return;
    }
    const stream = (this._stream = new EventSource(hub.events(), { withCredentials: true }));
    stream.addEventListener('kernel', e => this._put(JSON.parse((e as MessageEvent).data)));
    stream.addEventListener('run', e => this.runChanged.emit(JSON.parse((e as MessageEvent).data)));
    stream.addEventListener('restarted', e => this.restarted.emit(JSON.parse((e as MessageEvent).data)));
    stream.addEventListener('limit', e => this.limited.emit(JSON.parse((e as MessageEvent).data)));
    stream.onopen = () => {
      window.clearInterval(this._timer);
      this._timer = undefined;
      void this._refresh(); // whatever changed while nobody listened
      this.opened.emit();
    };
    stream.onerror = () => {
      this._timer ??= window.setInterval(() => void this._refresh(), POLL);
      if (stream.readyState === EventSource.CLOSED && this._stream === stream) {
        this._stream = undefined;
        window.setTimeout(() => this._connect(), RECONNECT);
      }
    };
  }

  private _close(): void {
    this._stream?.close();
    this._stream = undefined;
    window.clearInterval(this._timer);
    this._timer = undefined;
  }

  private async _refresh(): Promise<void> {
    try {
      (await hub.kernels()).forEach(k => this._put(k));
    } catch (reason) {
      console.warn('Cellar: the kernels could not be listed:', hub.messageOf(reason));
    }
  }

  private _put(kernel: hub.Kernel): void {
    this._known.set(kernel.id, kernel);
    this._heard.set(kernel.id, performance.now());
    this.changed.emit(kernel.id);
  }

  private _heard = new Map<string, number>();
  private _known = new Map<string, hub.Kernel>();
  private _timer: number | undefined;
  private _stream: EventSource | undefined;
}
