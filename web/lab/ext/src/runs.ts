// Cells that the server runs for this notebook go on showing their outputs in a page that did not start them.
import { ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import { PageConfig } from '@jupyterlab/coreutils';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel, KernelMessage } from '@jupyterlab/services';
import { ISignal } from '@lumino/signaling';
import { tellWhatEnded } from './away';
import * as hub from './hub';
import { IKernels } from './kernels';

/** What runs here is this person's own doing: not for an administrator who looks into somebody's project. */
const OWN = PageConfig.getOption('cellarTrust') === 'true';
const UNDER_WAY = new Set<hub.Run['state']>(['queued', 'running']);
/** Milliseconds in which outputs may still arrive by the kernel's socket after the hub said that a run has ended. */
const GRACE = 2000;

export function watchRuns(tracker: INotebookTracker, kernels: IKernels): void {
  tracker.widgetAdded.connect((_, panel) => {
    void follow(panel, kernels);
  });
}

async function follow(panel: NotebookPanel, kernels: IKernels): Promise<void> {
  await Promise.all([panel.context.ready, panel.sessionContext.ready, panel.revealed]);
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel || panel.isDisposed) {
    return;
  }
  catchUpAfterLosses(panel, kernel);
  void tellWhatEnded(panel, kernels);
  const heard = new Heard(kernel); // before asking: what is said meanwhile must not be lost
  try {
    const runs = await hub.runs(panel.context.path);
    if (!panel.isDisposed) {
      runs.forEach(run => take(run, panel, kernel, kernels, heard));
    }
  } catch (reason) {
    console.warn('Cellar: the runs of this notebook are not known:', hub.messageOf(reason));
  } finally {
    heard.dispose();
  }
}

/**
 * When the line to the hub was lost and is back, as after a restart of the hub, what the kernel said meanwhile may have
 * reached the hub only. Its outputs replace the page's; whoever listened before (the lab's executor, a followed run)
 * goes on with what comes after.
 */
function catchUpAfterLosses(panel: NotebookPanel, kernel: Kernel.IKernelConnection): void {
  let lostAt = 0;
  const changed = (_: unknown, status: Kernel.ConnectionStatus): void => {
    if (status !== 'connected') {
      lostAt = lostAt || Date.now();
    } else if (lostAt) {
      const since = lostAt;
      lostAt = 0;
      void catchUp(panel, kernel, since);
    }
  };
  kernel.connectionStatusChanged.connect(changed);
  panel.disposed.connect(() => kernel.connectionStatusChanged.disconnect(changed));
}

async function catchUp(panel: NotebookPanel, kernel: Kernel.IKernelConnection, since: number): Promise<void> {
  const heard = new Heard(kernel);
  try {
    const runs = await hub.runs(panel.context.path);
    for (const run of panel.isDisposed ? [] : runs) {
      const cell = codeCell(panel, run.cell_id);
      const open = UNDER_WAY.has(run.state);
      if (!cell || (!open && !(run.ended_at && Date.parse(run.ended_at) >= since - GRACE))) {
        continue;
      }
      const outputs = new Outputs(cell);
      outputs.replace(run.outputs);
      heard.after(run).forEach(message => outputs.take(message));
      if (!open) {
        cell.executionCount = run.execution_count;
        cell.executionState = 'idle';
      }
    }
  } catch (reason) {
    console.warn('Cellar: what was said while the line was lost is not known:', hub.messageOf(reason));
  } finally {
    heard.dispose();
  }
}

function take(
  run: hub.Run,
  panel: NotebookPanel,
  kernel: Kernel.IKernelConnection,
  kernels: IKernels,
  heard: Heard
): void {
  const cell = codeCell(panel, run.cell_id);
  if (!cell) {
    return;
  }
  if (UNDER_WAY.has(run.state)) {
    if (run.kernel && run.kernel !== kernel.id) {
      return;
    }
    new FollowedRun(run, cell, panel, kernel, kernels).replay(heard.after(run));
  } else if (isNewer(run, panel)) {
    quietly(panel, () => {
      new Outputs(cell).replace(run.outputs);
      cell.executionCount = run.execution_count;
      cell.executionState = 'idle';
    });
  }
}

/**
 * What a page only watches is no change of its own: the hub keeps it, and writes it down when nobody is left. A save from
 * here would be a change of the file behind the back of the page that runs the cell.
 */
function quietly(panel: NotebookPanel, change: () => void): void {
  const { model } = panel.context;
  const clean = !model.dirty;
  change();
  if (clean && model.dirty) {
    model.dirty = false;
  }
}

/** A run that ended after the file was last written: its outputs are nowhere else. */
function isNewer(run: hub.Run, panel: NotebookPanel): boolean {
  const saved = panel.context.contentsModel?.last_modified;
  return run.state !== 'aborted' && !!run.ended_at && !!saved && Date.parse(run.ended_at) > Date.parse(saved);
}

function codeCell(panel: NotebookPanel, id: string): ICodeCellModel | undefined {
  const cells = panel.content.model?.cells;
  for (let i = 0; i < (cells?.length ?? 0); i++) {
    const cell: ICellModel = cells!.get(i);
    if (cell.id === id && cell.type === 'code') {
      return cell as ICodeCellModel;
    }
  }
  return undefined;
}

/** What the kernel said since the page began to listen. */
class Heard {
  constructor(private readonly _kernel: Kernel.IKernelConnection) {
    _kernel.iopubMessage.connect(this._onMessage, this);
  }

  /** The messages of a run that its outputs do not include yet. */
  after(run: hub.Run): KernelMessage.IIOPubMessage[] {
    const mine = this._messages.filter(m => isOf(m, run.msg_id));
    const included = mine.findIndex(m => m.header.msg_id === run.last_msg_id);
    return mine.slice(included + 1);
  }

  dispose(): void {
    this._kernel.iopubMessage.disconnect(this._onMessage, this);
  }

  private _onMessage(_: unknown, message: KernelMessage.IIOPubMessage): void {
    this._messages.push(message);
  }

  private _messages: KernelMessage.IIOPubMessage[] = [];
}

const isOf = (message: KernelMessage.IMessage, id: string) =>
  (message.parent_header as { msg_id?: string } | undefined)?.msg_id === id;

/** A cell's outputs, and which of them a later message may update. */
class Outputs {
  constructor(private readonly _cell: ICodeCellModel) {}

  replace(outputs: any[]): void {
    if (OWN) {
      this._cell.trusted = true; // as for any cell that was just run: else widgets and scripts stay hidden
    }
    this._cell.outputs.clear();
    this._displays.clear();
    outputs.forEach(output => this.add(output));
  }

  add({ transient, ...output }: any): void {
    const model = this._cell.outputs;
    model.add(output);
    const display = transient?.display_id;
    if (display && output.output_type === 'display_data') {
      this._displays.set(display, [...(this._displays.get(display) ?? []), model.length - 1]);
    }
  }

  update({ transient, ...output }: any): void {
    for (const index of this._displays.get(transient?.display_id) ?? []) {
      if (index < this._cell.outputs.length) {
        this._cell.outputs.set(index, output);
      }
    }
  }

  clear(wait: boolean): void {
    this._cell.outputs.clear(wait);
    this._displays.clear();
  }

  /** What a message of the run says about its outputs; false when it says nothing of them. */
  take(message: KernelMessage.IIOPubMessage): boolean {
    const type = message.header.msg_type;
    const content = message.content as any;
    switch (type) {
      case 'stream':
      case 'display_data':
      case 'execute_result':
      case 'error':
        this.add({ ...content, output_type: type });
        return true;
      case 'update_display_data':
        this.update({ ...content, output_type: 'display_data' });
        return true;
      case 'clear_output':
        this.clear(!!content.wait);
        return true;
      default:
        return false;
    }
  }

  private _displays = new Map<string, number[]>();
}

/** One run that began without this page: from the outputs the hub had to the kernel's last word. */
class FollowedRun {
  constructor(
    private readonly _run: hub.Run,
    private readonly _cell: ICodeCellModel,
    private readonly _panel: NotebookPanel,
    private readonly _kernel: Kernel.IKernelConnection,
    private readonly _kernels: IKernels
  ) {
    this._outputs = new Outputs(_cell);
    quietly(_panel, () => {
      this._outputs.replace(_run.outputs);
      _cell.executionCount = null;
      _cell.executionState = 'running';
    });
    _kernel.iopubMessage.connect(this._onIOPub, this);
    _kernel.anyMessage.connect(this._onAny, this);
    _kernel.disposed.connect(this._stop, this);
    _kernels.runChanged.connect(this._onRun, this);
    _kernels.opened.connect(this._check, this);
    _panel.disposed.connect(this._stop, this);
    NotebookActions.executionScheduled.connect(this._onScheduled, this);
    // Its end may have come between the hub's answer and our listening.
    window.setTimeout(() => void this._check(), GRACE);
  }

  private async _check(): Promise<void> {
    const runs = await hub.runs(this._panel.context.path).catch(() => null);
    const run = runs?.find(r => r.msg_id === this._run.msg_id);
    if (runs && (!run || !UNDER_WAY.has(run.state))) {
      this._count ??= run?.execution_count ?? null;
      await this._end();
    }
  }

  replay(messages: KernelMessage.IIOPubMessage[]): void {
    messages.forEach(m => this._onIOPub(this._kernel, m));
  }

  private _onIOPub(_: unknown, message: KernelMessage.IIOPubMessage): void {
    if (!isOf(message, this._run.msg_id)) {
      return;
    }
    const content = message.content as any;
    let shown = false;
    quietly(this._panel, () => (shown = this._outputs.take(message)));
    if (shown) {
      this._count ??= content.execution_count ?? null;
    } else if (message.header.msg_type === 'execute_input') {
      this._count = content.execution_count;
    } else if (message.header.msg_type === 'status' && content.execution_state === 'idle') {
      quietly(this._panel, () => this._record(message.header.date));
      void this._end();
    }
  }

  /** As JupyterLab does for a cell that it runs itself, where its setting asks for it. */
  private _record(idle: string): void {
    if (this._panel.content.notebookConfig.recordTiming && this._run.started_at) {
      const known = this._cell.getMetadata('execution') as object | undefined;
      const busy = this._run.started_at;
      this._cell.setMetadata('execution', { ...known, 'iopub.status.busy': busy, 'iopub.status.idle': idle });
    }
  }

  private _onAny(_: unknown, { msg, direction }: Kernel.IAnyMessageArgs): void {
    if (direction === 'recv' && msg.header.msg_type === 'execute_reply' && isOf(msg, this._run.msg_id)) {
      this._count = (msg.content as { execution_count?: number }).execution_count ?? null;
    }
  }

  /** The hub saw the end; the kernel's own last word may be lost, as when it died. */
  private _onRun(_: IKernels, run: hub.Run): void {
    if (run.msg_id !== this._run.msg_id || UNDER_WAY.has(run.state)) {
      return;
    }
    this._count ??= run.execution_count;
    window.setTimeout(() => void this._end(), GRACE);
  }

  /** Run again from here: the page's own executor has the cell now. */
  private _onScheduled(_: unknown, { cell }: { cell: { model: ICellModel } }): void {
    if (cell.model === this._cell) {
      this._stop();
    }
  }

  private async _end(): Promise<void> {
    if (this._stopped) {
      return;
    }
    this._stop();
    quietly(this._panel, () => (this._cell.executionState = 'idle'));
    const count = this._count ?? this._run.execution_count ?? (await this._askCount());
    if (this._cell.executionState === 'idle') {
      quietly(this._panel, () => (this._cell.executionCount = count));
    }
  }

  /** The kernel gives the count when a run begins, and in its reply: both can be missed, the hub has it. */
  private async _askCount(): Promise<number | null> {
    const runs = await hub.runs(this._panel.context.path).catch(() => []);
    return runs.find(r => r.msg_id === this._run.msg_id)?.execution_count ?? null;
  }

  private _stop(): void {
    this._stopped = true;
    this._kernel.iopubMessage.disconnect(this._onIOPub, this);
    this._kernel.anyMessage.disconnect(this._onAny, this);
    this._kernel.disposed.disconnect(this._stop, this);
    this._kernels.runChanged.disconnect(this._onRun, this);
    this._kernels.opened.disconnect(this._check, this);
    this._panel.disposed.disconnect(this._stop, this);
    (NotebookActions.executionScheduled as ISignal<any, any>).disconnect(this._onScheduled, this);
  }

  private _outputs: Outputs;
  private _count: number | null = null;
  private _stopped = false;
}
