// A strip above a notebook: what ended while nobody was there.
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ReactWidget } from '@jupyterlab/ui-components';
import { duration, plural } from './format';
import * as hub from './hub';

/** Asks for it once, when a notebook is opened, and shows it if there is something. */
export async function tellWhatEnded(panel: NotebookPanel): Promise<void> {
  const path = panel.context.path;
  const ended = await hub.away(path).catch(() => []);
  if (!ended.length || panel.isDisposed) {
    return;
  }
  const strip = new AwayStrip(panel, ended);
  panel.contentHeader.addWidget(strip);
  // Heard now; what ends from here on is another story.
  await hub.back(path, ended[ended.length - 1].ended_at).catch(reason => console.warn('Cellar:', hub.messageOf(reason)));
}

class AwayStrip extends ReactWidget {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _ended: hub.Away[]
  ) {
    super();
    this.addClass('cellar-Away');
    NotebookActions.executed.connect(this._onExecuted, this);
    this.disposed.connect(() => NotebookActions.executed.disconnect(this._onExecuted, this));
  }

  protected render(): JSX.Element {
    const last = this._ended[this._ended.length - 1];
    const failed = this._ended.filter(a => a.state === 'error');
    const shown = failed[0] ?? last;
    return (
      <div className="cellar-Away-strip" role="status" data-failed={failed.length > 0}>
        <span>
          <b>While you were away</b> {summary(this._ended, failed.length)}
        </span>
        <button type="button" className="jp-mod-styled" onClick={() => this._show(shown.cell_id)}>
          {failed.length ? 'Show the error' : 'Show'}
        </button>
        <button type="button" className="jp-mod-styled" onClick={() => this.dispose()} aria-label="Close">
          ×
        </button>
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

  /** Whoever runs a cell again is back. */
  private _onExecuted(_: unknown, { notebook }: { notebook: unknown }): void {
    if (notebook === this._panel.content) {
      this.dispose();
    }
  }
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
