// A strip above a notebook: what ended while nobody was there.
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ReactWidget } from '@jupyterlab/ui-components';
import { duration, plural } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { kernelOf } from './watch';

/** Milliseconds for which a strip that only says how fast the kernel woke stays. */
const WOKE = 12_000;

/** Asks for it once, when a notebook is opened, and shows it if there is something; later when the kernel wakes. */
export async function tellWhatEnded(panel: NotebookPanel, kernels: IKernels): Promise<void> {
  const path = panel.context.path;
  const ended = await hub.away(path).catch(() => []);
  if (panel.isDisposed) {
    return;
  }
  let strip = ended.length ? new AwayStrip(panel, ended) : undefined;
  const since = ended.length ? ended[ended.length - 1].ended_at : '';
  let told: string | undefined;
  const onKernel = (_: unknown, id: string): void => {
    const kernel = kernels.get(id);
    if (!kernel || id !== kernelOf(panel.sessionContext)) {
      return;
    }
    const woke = kernel.woke_at ?? '';
    told ??= since && Date.parse(woke) > Date.parse(since) ? '' : woke; // what was before this page is no news
    if (woke === told || !kernel.wake_ms) {
      return;
    }
    told = woke;
    if (!strip || strip.isDisposed) {
      strip = new AwayStrip(panel, []);
    }
    strip.woke(kernel.wake_ms);
  };
  kernels.changed.connect(onKernel);
  panel.disposed.connect(() => kernels.changed.disconnect(onKernel));
  onKernel(undefined, kernelOf(panel.sessionContext) ?? '');
  if (ended.length) { // heard now; what ends from here on is another story
    await hub.back(path, since).catch(reason => console.warn('Cellar:', hub.messageOf(reason)));
  }
}

class AwayStrip extends ReactWidget {
  constructor(
    private readonly _panel: NotebookPanel,
    private _ended: hub.Away[]
  ) {
    super();
    this.addClass('cellar-Away');
    _panel.contentHeader.addWidget(this);
    NotebookActions.executed.connect(this._onExecuted, this);
    this.disposed.connect(() => {
      window.clearTimeout(this._timer);
      NotebookActions.executed.disconnect(this._onExecuted, this);
    });
  }

  /** Says how fast the kernel came back, for a while. */
  woke(ms: number): void {
    this._woke = `woke in ${duration(ms)}`;
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => {
      this._woke = '';
      this._ended.length ? this.update() : this.dispose();
    }, WOKE);
    this.update();
  }

  protected render(): JSX.Element {
    const last = this._ended[this._ended.length - 1];
    const failed = this._ended.filter(a => a.state === 'error');
    const shown = failed[0] ?? last;
    const close = (
      <button type="button" className="jp-mod-styled" onClick={() => this.dispose()} aria-label="Close">
        ×
      </button>
    );
    if (!last) {
      return (
        <div className="cellar-Away-strip" role="status" data-failed={false}>
          <span>
            The kernel <b>{this._woke}</b>, with its variables.
          </span>
          {close}
        </div>
      );
    }
    return (
      <div className="cellar-Away-strip" role="status" data-failed={failed.length > 0}>
        <span>
          <b>While you were away</b> {summary(this._ended, failed.length)}
          {this._woke && ` The kernel ${this._woke}.`}
        </span>
        <button type="button" className="jp-mod-styled" onClick={() => this._show(shown.cell_id)}>
          {failed.length ? 'Show the error' : 'Show'}
        </button>
        {close}
      </div>
    );
  }

  private _show(id: string): void {
    const notebook = this._panel.content;
    const index = notebook.widgets.findIndex(w => w.model.id === id);
    if (index >= 0) {
      notebook.activeCellIndex = index;
      void notebook.scrollToItem(index, 'smart');
      notebook.activate();
    }
  }

  /** Whoever runs a cell again is back; how fast the kernel was may still be read. */
  private _onExecuted(_: unknown, { notebook }: { notebook: unknown }): void {
    if (notebook !== this._panel.content) {
      return;
    }
    this._ended = [];
    this._woke ? this.update() : this.dispose();
  }

  private _woke = '';
  private _timer: number | undefined;
}

function summary(ended: hub.Away[], failed: number): string {
  const last = ended[ended.length - 1];
  const at = new Date(last.ended_at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const took = duration(last.duration_ms);
  const lines = ended.reduce((sum, a) => sum + a.lines, 0);
  const printed = lines ? `, ${plural(lines, 'line')} printed` : '';
  if (ended.length === 1) {
    return `a cell ${last.state === 'error' ? 'failed' : 'finished'} at ${at}, after ${took}${printed}.`;
  }
  const wrong = failed ? `, ${failed} of them with an error` : '';
  return `${plural(ended.length, 'cell')} ended${wrong}, the last at ${at} after ${took}${printed}.`;
}
