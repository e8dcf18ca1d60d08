// Beside each cell: how long its last run took, and the most memory the kernel used meanwhile. The hub knows; nothing of
// it is in the notebook, so that looking changes nothing.
import { ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import { CellList, INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IObservableList } from '@jupyterlab/observables';
import { bytes, clock, duration } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { kernelOf } from './watch';

export function markCells(tracker: INotebookTracker, kernels: IKernels): void {
  tracker.widgetAdded.connect((_, panel) => {
    void panel.context.ready.then(() => panel.isDisposed || new Marks(panel, kernels));
  });
}

/** Milliseconds after which what the hub says of a kernel's memory was measured while the cell ran. */
const FRESH = 3000;

/** A cell's last run, and when this page's clock says that it began. */
type Mark = hub.Timing & { began: number };

class Marks {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _kernels: IKernels
  ) {
    const cells = _panel.model!.cells;
    this._follow([...cells]);
    cells.changed.connect(this._onCells, this);
    _kernels.runChanged.connect(this._onRun, this);
    _kernels.changed.connect(this._onKernel, this);
    _kernels.opened.connect(this._ask, this);
    _panel.sessionContext.kernelChanged.connect(this._ask, this);
    this._timer = window.setInterval(() => this._tick(), 1000);
    _panel.disposed.connect(this._dispose, this);
    void this._ask();
  }

  private async _ask(): Promise<void> {
    try {
      const timings = await hub.timings(this._panel.context.path);
      if (!this._panel.isDisposed) {
        timings.forEach(timing => this._put(timing));
        this._drawAll();
      }
    } catch (reason) {
      console.warn('Cellar: how long cells took is not known:', hub.messageOf(reason));
    }
  }

  private _put(timing: hub.Timing): void {
    const known = this._known.get(timing.cell_id);
    const same = known?.msg_id === timing.msg_id;
    const began = same && known.state === 'running' ? known.began : performance.now() - timing.duration_ms;
    this._known.set(timing.cell_id, { ...timing, began });
  }

  private _onRun(_: IKernels, run: hub.Run): void {
    if (run.kernel === kernelOf(this._panel.sessionContext)) {
      this._put(run);
      this._draw(run.cell_id);
    }
  }

  /** What the kernel uses now is the least that its running cell's peak can be. */
  private _onKernel(_: IKernels, id: string): void {
    const used = this._kernels.get(id)?.memory_bytes ?? 0;
    for (const mark of this._known.values()) {
      if (mark.state === 'running' && mark.kernel === id && performance.now() - mark.began > FRESH) {
        mark.peak_memory_bytes = Math.max(mark.peak_memory_bytes, used);
      }
    }
  }

  private _tick(): void {
    if (document.hidden || !this._panel.isVisible) {
      return;
    }
    for (const mark of this._known.values()) {
      if (mark.state === 'running') {
        this._draw(mark.cell_id);
      }
    }
  }

  private _onCells(_: CellList, change: IObservableList.IChangedArgs<ICellModel>): void {
    this._follow(change.newValues);
    requestAnimationFrame(() => this._panel.isDisposed || this._drawAll()); // the widgets come after the models
  }

  private _follow(cells: readonly ICellModel[]): void {
    cells.forEach(cell => cell.stateChanged.connect(this._onState, this));
  }

  private _onState(cell: ICellModel, change: { name: string }): void {
    if (change.name === 'executionCount') {
      this._draw(cell.id);
    }
  }

  private _drawAll(): void {
    for (const id of this._known.keys()) {
      this._draw(id);
    }
  }

  private _draw(id: string): void {
    const widget = this._panel.content.widgets.find(w => w.model.id === id);
    const mark = this._known.get(id);
    if (!widget || !mark) {
      return;
    }
    const text = widget.model.type === 'code' ? wordsOf(mark, widget.model as ICodeCellModel) : '';
    let node = widget.node.querySelector<HTMLElement>(':scope > .cellar-Mark');
    if (!text) {
      node?.remove();
      return;
    }
    if (!node) {
      node = document.createElement('div');
      node.className = 'cellar-Mark';
      widget.node.append(node);
    }
    node.dataset.state = mark.state;
    if (node.textContent !== text) {
      node.textContent = text;
      node.title = explained(mark);
    }
  }

  private _dispose(): void {
    window.clearInterval(this._timer);
    this._kernels.runChanged.disconnect(this._onRun, this);
    this._kernels.changed.disconnect(this._onKernel, this);
    this._kernels.opened.disconnect(this._ask, this);
  }

  private _known = new Map<string, Mark>();
  private _timer: number;
}

/** Empty when there is nothing to say: the outputs shown are not of that run, or it has only just begun. */
function wordsOf(mark: Mark, cell: ICodeCellModel): string {
  const peak = mark.peak_memory_bytes > 0 ? ` · peak ${bytes(mark.peak_memory_bytes)}` : '';
  if (mark.state === 'running') {
    const ms = performance.now() - mark.began;
    return ms < 1000 ? '' : `${clock(ms)}${peak}`;
  }
  if (mark.state === 'queued' || mark.execution_count === null || mark.execution_count !== cell.executionCount) {
    return '';
  }
  return `${duration(mark.duration_ms)}${peak}`;
}

const WORDS: Record<string, string> = { running: 'Runs since', done: 'Ran from', error: 'Failed; ran from', aborted: 'Cut off; ran from' };

function explained(mark: Mark): string {
  const at = (time: string | null) => (time ? new Date(time).toLocaleTimeString() : '');
  const until = mark.ended_at ? ` to ${at(mark.ended_at)}` : '';
  const memory = mark.peak_memory_bytes > 0 ? '\nPeak: the most memory that the whole kernel used meanwhile, without caches of files.' : '';
  return `${WORDS[mark.state] ?? ''} ${at(mark.started_at)}${until}.${memory}`;
}
