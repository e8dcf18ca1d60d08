// In the margin of each cell whose first line chooses where or how it runs: "#!c1.2", "#!:bash", "#!c1.2:bash".
import { ICellModel } from '@jupyterlab/cells';
import { CellList, INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IObservableList } from '@jupyterlab/observables';
import * as hub from './hub';
import { IKernels } from './kernels';
import { kernelOf } from './watch';

/** The same as in the kernel and in the hub: see cellar_kernel/lines.py. */
const LINE = /^\s*#!([A-Za-z0-9][A-Za-z0-9._-]{0,31})?(?::([A-Za-z]\w{0,31}))?[ \t\r]*(?:\n|$)/;
const PROGRAMS = new Set(['bash', 'env', 'node', 'perl', 'php', 'python', 'python2', 'python3', 'R', 'Rscript', 'ruby', 'sh', 'zsh']);

export interface FirstLine {
  configuration?: string;
  language?: string;
}

export function firstLine(source: string): FirstLine | null {
  const found = LINE.exec(source);
  if (!found || (!found[1] && !found[2]) || PROGRAMS.has(found[1])) {
    return null;
  }
  return { configuration: found[1], language: found[2] };
}

export function markLines(tracker: INotebookTracker, kernels: IKernels): void {
  tracker.widgetAdded.connect((_, panel) => {
    void panel.context.ready.then(() => panel.isDisposed || new Lines(panel, kernels));
  });
}

class Lines {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _kernels: IKernels
  ) {
    const cells = _panel.model!.cells;
    this._follow([...cells]);
    cells.changed.connect(this._onCells, this);
    _kernels.runChanged.connect(this._onRun, this);
    _kernels.changed.connect(this._onKernel, this);
    _panel.disposed.connect(() => {
      _kernels.runChanged.disconnect(this._onRun, this);
      _kernels.changed.disconnect(this._onKernel, this);
    });
    this._drawSoon();
  }

  private _follow(cells: readonly ICellModel[]): void {
    cells.forEach(cell => cell.contentChanged.connect(this._draw, this));
  }

  private _onCells(_: CellList, change: IObservableList.IChangedArgs<ICellModel>): void {
    this._follow(change.newValues);
    this._drawSoon();
  }

  /** The widgets come after the models. */
  private _drawSoon(): void {
    requestAnimationFrame(() => this._panel.isDisposed || this._panel.content.widgets.forEach(w => this._draw(w.model)));
  }

  private _onRun(_: IKernels, run: hub.Run): void {
    if (run.kernel === kernelOf(this._panel.sessionContext)) {
      if (run.state === 'running') {
        this._running.add(run.cell_id);
      } else {
        this._running.delete(run.cell_id);
      }
      this._redraw();
    }
  }

  private _onKernel(_: IKernels, id: string): void {
    if (id === kernelOf(this._panel.sessionContext)) {
      this._redraw();
    }
  }

  /** Those that are shown already. */
  private _redraw(): void {
    for (const widget of this._panel.content.widgets) {
      if (widget.node.querySelector('.cellar-Line')) {
        this._draw(widget.model);
      }
    }
  }

  private _draw(model: ICellModel): void {
    const line = model.type === 'code' ? firstLine(model.sharedModel.getSource().slice(0, 200)) : null;
    const widget = this._panel.content.widgets.find(w => w.model === model);
    const place = widget?.node.querySelector('.jp-InputArea');
    let node = place?.querySelector<HTMLElement>(':scope > .cellar-Line');
    if (!place || !line) {
      node?.remove();
      return;
    }
    if (!node) {
      node = document.createElement('div');
      node.className = 'cellar-Line';
      place.append(node);
    }
    const { text, title, state } = this._words(model.id, line);
    node.dataset.state = state;
    node.title = title;
    if (node.textContent !== text) {
      node.textContent = text;
    }
  }

  private _words(cell: string, { configuration, language }: FirstLine): { text: string; title: string; state: string } {
    const kernel = this._kernels.get(kernelOf(this._panel.sessionContext));
    const text = [configuration, language].filter(Boolean).join(' ');
    if (!configuration) {
      return { text, title: `This cell runs as %%${language}.`, state: '' };
    }
    const running = this._running.has(cell);
    const there = kernel?.configuration === configuration;
    const title = !running
      ? `This cell runs on ${configuration}; then the kernel goes back to its own configuration. Its variables stay.`
      : there
        ? `This cell runs on ${configuration}${kernel?.home ? `, then the kernel goes back to ${kernel.home}` : ''}.`
        : `This cell waits for ${configuration}.`;
    return { text, title, state: running ? (there ? 'there' : 'waits') : '' };
  }

  private _running = new Set<string>();
}
