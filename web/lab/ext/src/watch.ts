// Widgets that show one notebook's kernel, or the current notebook's.
import { ISessionContext } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ReactWidget } from '@jupyterlab/ui-components';
import { ISignal, Signal } from '@lumino/signaling';
import * as hub from './hub';
import { IKernels } from './kernels';

export const kernelOf = (context: ISessionContext | undefined): string | undefined =>
  context?.session?.kernel?.id ?? undefined;

/** Repaints when its session's kernel changes in Jupyter's eyes or in the hub's. */
export abstract class KernelWidget extends ReactWidget {
  constructor(
    protected readonly session: ISessionContext,
    protected readonly kernels: IKernels
  ) {
    super();
    session.statusChanged.connect(this.update, this);
    session.kernelChanged.connect(this.update, this);
    session.connectionStatusChanged.connect(this.update, this);
    kernels.changed.connect(this._onKernel, this);
  }

  protected get kernelId(): string | undefined {
    return kernelOf(this.session);
  }

  protected get kernel(): hub.Kernel | undefined {
    return this.kernels.get(this.kernelId);
  }

  dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  private _onKernel(_: IKernels, id: string): void {
    if (id === this.kernelId) {
      this.update();
    }
  }
}

/** Follows the current notebook: says when another one, or its kernel, becomes the one to show. */
export class CurrentKernel {
  constructor(private readonly _tracker: INotebookTracker) {
    _tracker.currentChanged.connect(this._onCurrent, this);
    this._onCurrent();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get panel(): NotebookPanel | undefined {
    return this._tracker.currentWidget ?? undefined;
  }

  get id(): string | undefined {
    return kernelOf(this.panel?.sessionContext);
  }

  private _onCurrent(): void {
    this._session?.kernelChanged.disconnect(this._emit, this);
    this._session = this.panel?.sessionContext;
    this._session?.kernelChanged.connect(this._emit, this);
    this._emit();
  }

  private _emit(): void {
    this._changed.emit();
  }

  private _session: ISessionContext | undefined;
  private _changed = new Signal<this, void>(this);
}
