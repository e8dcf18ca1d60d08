// The side panel that lists the variables of the current notebook's kernel. It asks only while it is seen.
import { ISessionContext } from '@jupyterlab/apputils';
import { KernelMessage } from '@jupyterlab/services';
import { ReactWidget, refreshIcon, tableRowsIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as hub from './hub';
import { IKernels } from './kernels';
import { VariableTable } from './variabletable';
import { CurrentKernel } from './watch';

/** Milliseconds between two questions at least: many cells may end at once. */
const PACE = 500;

export class VariablePanel extends ReactWidget {
  constructor(
    private readonly _current: CurrentKernel,
    private readonly _kernels: IKernels
  ) {
    super();
    this.id = 'cellar-variables';
    this.addClass('cellar-Variables');
    this.title.icon = tableRowsIcon;
    this.title.caption = 'Variables';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Variables');
    _current.changed.connect(this._onCurrent, this);
    _kernels.changed.connect((_, id) => this._onKernel(id));
    _kernels.opened.connect(() => this._soon());
    this._onCurrent();
  }

  /** Asks the hub; the answer for a kernel no longer shown is dropped. */
  async refresh(): Promise<void> {
    const kernel = this._shown;
    if (!kernel || !this._seen() || !this._answers()) {
      this.update();
      return;
    }
    this._asking = true;
    try {
      const list = await hub.variables(kernel);
      if (kernel === this._shown) {
        this._list = list;
        this._failure = '';
      }
    } catch (reason) {
      if (kernel === this._shown) {
        this._failure = hub.messageOf(reason);
        this._unable = reason instanceof hub.Problem && reason.status === 422;
      }
    }
    this._asking = false;
    this.update();
    if (this._again) {
      this._again = false;
      this._soon();
    }
  }

  protected onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    void this.refresh();
  }

  protected onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    window.clearTimeout(this._timer);
    this._timer = undefined;
  }

  protected onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    (this.node.querySelector('input') ?? this.node.querySelector('button'))?.focus();
  }

  protected render(): JSX.Element {
    return (
      <>
        <header className="cellar-Variables-header">
          <h2>Variables</h2>
          <button
            className="jp-mod-minimal cellar-IconButton"
            title="Refresh"
            disabled={!this._shown}
            onClick={() => void this.refresh()}
          >
            <refreshIcon.react tag="span" />
          </button>
        </header>
        {this._body()}
      </>
    );
  }

  private _body(): JSX.Element {
    if (!this._shown) {
      return <p className="cellar-Quiet">Open a notebook to see the variables of its kernel.</p>;
    }
    if (!this._list) {
      return (
        <p className="cellar-Quiet" role="status">
          {this._failure || this._detail() || 'Loading…'}
        </p>
      );
    }
    return (
      <>
        {this._failure && (
          <p className="cellar-Error" role="alert">
            {this._failure}
          </p>
        )}
        <VariableTable list={this._list} current={this._list.live && !this._failure && !this._asleep()} detail={this._detail()} />
      </>
    );
  }

  /** Whether there is something to ask: a hibernated kernel is answered for, and one of another language has no list. */
  private _answers(): boolean {
    return !this._unable && (!this._asleep() || this._state === 'hibernated');
  }

  private _asleep = () => this._state !== undefined && this._state !== 'running';

  /** Why the list may not be what is there now. */
  private _detail(): string {
    return (this._asleep() ? '' : this._list?.detail) || this._reason();
  }

  private _reason(): string {
    switch (this._state) {
      case undefined:
      case 'running':
        return '';
      case 'hibernated':
        return 'The kernel is hibernated. Run a cell and it continues with these.';
      case 'dead':
        return 'The kernel has ended.';
      default:
        return `The kernel is ${this._state}.`;
    }
  }

  /** A panel that is closed, or in a page that is not seen, asks nothing. */
  private _seen = () => this.isVisible && !document.hidden;

  private _onCurrent(): void {
    this._session?.iopubMessage.disconnect(this._onMessage, this);
    this._session = this._current.panel?.sessionContext;
    this._session?.iopubMessage.connect(this._onMessage, this);
    if (this._current.id !== this._shown) {
      this._shown = this._current.id;
      this._state = this._kernels.get(this._shown)?.state;
      this._list = null;
      this._failure = '';
      this._unable = false;
    }
    void this.refresh();
  }

  /** A cell has ended, whoever ran it. */
  private _onMessage(_: ISessionContext, { header, parent_header, content }: KernelMessage.IMessage): void {
    const parent = (parent_header as { msg_type?: string }).msg_type;
    if (
      header.msg_type === 'status' &&
      parent === 'execute_request' &&
      (content as { execution_state?: string }).execution_state === 'idle'
    ) {
      this._soon();
    }
  }

  private _onKernel(id: string): void {
    const state = this._kernels.get(id)?.state;
    if (id === this._shown && state !== this._state) {
      this._state = state;
      this._unable = false; // it may have been started anew
      this._failure = '';
      this.update();
      this._soon();
    }
  }

  private _soon(): void {
    if (!this._seen() || this._timer !== undefined) {
      return;
    }
    if (this._asking) {
      this._again = true;
      return;
    }
    const wait = Math.max(0, this._askedAt + PACE - Date.now());
    this._timer = window.setTimeout(() => {
      this._timer = undefined;
      this._askedAt = Date.now();
      void this.refresh();
    }, wait);
  }

  private _session: ISessionContext | undefined;
  private _shown: string | undefined;
  private _state: hub.KernelState | undefined;
  private _list: hub.Variables | null = null;
  private _failure = '';
  private _timer: number | undefined;
  private _askedAt = 0;
  private _asking = false;
  private _again = false;
  private _unable = false;
}
