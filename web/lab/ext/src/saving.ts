// A notebook is saved as it is worked on: who closes the tab finds the cells of a moment ago, and those that run.
import { ICellModel } from '@jupyterlab/cells';
import { CellList, INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { CellChange } from '@jupyter/ydoc';
import { IObservableList } from '@jupyterlab/observables';

/** Milliseconds from a change to its being saved. */
const PAUSE = 1500;
/** How many times as long as saving takes the next one waits: large notebooks are not saved all the time. */
const PATIENCE = 10;

export function keepSaved(tracker: INotebookTracker): void {
  tracker.widgetAdded.connect((_, panel) => {
    void panel.context.ready.then(() => panel.isDisposed || new Keeper(panel));
  });
}

/** Saves one notebook: at once when a cell is run or the page is left, else soon after a change. */
class Keeper {
  constructor(private readonly _panel: NotebookPanel) {
    const cells = _panel.model!.cells;
    this._watch([...cells]);
    cells.changed.connect(this._onCells, this);
    NotebookActions.executionScheduled.connect(this._onRun, this);
    NotebookActions.executed.connect(this._onRan, this);
    _panel.sessionContext.connectionStatusChanged.connect(this._later, this); // what could not be saved meanwhile
    document.addEventListener('visibilitychange', this._onVisible);
    _panel.disposed.connect(this._dispose, this);
  }

  private _watch(cells: readonly ICellModel[]): void {
    cells.forEach(cell => cell.sharedModel.changed.connect(this._onCell, this));
  }

  /** Outputs are not among these: what the kernel says is in the hub's keeping anyway. */
  private _onCell(_: unknown, change: CellChange): void {
    if (change.sourceChange || change.attachmentsChange) {
      this._later();
    }
  }

  private _onCells(_: CellList, change: IObservableList.IChangedArgs<ICellModel>): void {
    this._watch(change.newValues);
    this._later();
  }

  private _onRun(_: unknown, { notebook }: { notebook: unknown }): void {
    if (notebook === this._panel.content) {
      void this._save();
    }
  }

  private _onRan(_: unknown, { notebook }: { notebook: unknown }): void {
    if (notebook === this._panel.content) {
      this._later();
    }
  }

  private _onVisible = () => {
    if (document.hidden) {
      void this._save();
    }
  };

  private _later(): void {
    this._changed = true;
    this._timer ??= window.setTimeout(() => void this._save(), this._pause);
  }

  /** While the hub cannot be reached nothing is tried: a refusal would be a dialog. */
  private get _possible(): boolean {
    const { context, sessionContext } = this._panel;
    const connected = sessionContext.session?.kernel?.connectionStatus === 'connected';
    return connected && context.canSave !== false && context.model.dirty;
  }

  private async _save(): Promise<void> {
    window.clearTimeout(this._timer);
    this._timer = undefined;
    if (this._saving) {
      this._changed = true;
      return;
    }
    if (this._panel.isDisposed || !this._possible) {
      return;
    }
    const { context } = this._panel;
    const start = Date.now();
    this._changed = false;
    this._saving = true;
    try {
      await context.save();
    } catch {
      return; // the person was told
    } finally {
      this._saving = false;
      this._pause = Math.max(PAUSE, PATIENCE * (Date.now() - start));
    }
    if (this._changed && !this._panel.isDisposed) {
      context.model.dirty = true; // JupyterLab takes what was changed while it saved for saved
      this._later();
    }
  }

  private _dispose(): void {
    window.clearTimeout(this._timer);
    NotebookActions.executionScheduled.disconnect(this._onRun, this);
    NotebookActions.executed.disconnect(this._onRan, this);
    document.removeEventListener('visibilitychange', this._onVisible);
  }

  private _changed = false;
  private _saving = false;
  private _pause = PAUSE;
  private _timer: number | undefined;
}
