// What the current notebook's kernel uses, in the status bar.
import { TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import { bytes, units } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { CurrentKernel } from './watch';

/** Milliseconds after which figures that run are shown anew. */
const TICK = 1000;

export class KernelUse extends ReactWidget {
  readonly activeChanged = new Signal<this, void>(this);

  constructor(
    private readonly _current: CurrentKernel,
    private readonly _kernels: IKernels
  ) {
    super();
    this.addClass('cellar-KernelUse');
    _current.changed.connect(() => this._repaint());
    _kernels.changed.connect((_, id) => id === _current.id && this._repaint());
    const timer = window.setInterval(() => this._counts && this.update(), TICK);
    this.disposed.connect(() => window.clearInterval(timer));
  }

  get active(): boolean {
    return this._kernels.get(this._current.id) !== undefined;
  }

  protected render(): JSX.Element | null {
    const kernel = this._kernels.get(this._current.id);
    if (!kernel) {
      return null;
    }
    const { configuration, cpu_percent, cpus, memory_bytes, memory_limit } = kernel;
    if (kernel.state !== 'running' && kernel.state !== 'switching') {
      return (
        <span className="cellar-KernelUse-parts">
          <TextItem source={`${configuration} · ${kernel.state}`} />
          {this._units(kernel)}
        </span>
      );
    }
    const all = cpus * 100; // 100 % is one core
    const cpu = `${Math.round(cpu_percent)} %${cpus > 0 ? ` of ${all} %` : ''}`;
    const memory = `${bytes(memory_bytes)}${memory_limit > 0 ? ` of ${bytes(memory_limit)}` : ''}`;
    return (
      <span className="cellar-KernelUse-parts" title={`This notebook's kernel: ${configuration}, CPU ${cpu}, memory ${memory}`}>
        <TextItem source={configuration} />
        <Gauge label="CPU" part={cpus > 0 ? cpu_percent / all : 0} />
        <TextItem source={`CPU ${cpu}`} />
        <Gauge label="Memory" part={memory_limit > 0 ? memory_bytes / memory_limit : 0} warn={0.9} />
        <TextItem source={memory} />
        {this._units(kernel)}
      </span>
    );
  }

  /** Something is used that this page shows: the figures run. */
  private get _counts(): boolean {
    return !document.hidden && (this._kernels.get(this._current.id)?.use?.project_per_second ?? 0) > 0;
  }

  /** What the kernel has used so far, and the project today; the hub tells it now and then, and it is counted on between. */
  private _units(kernel: hub.Kernel): JSX.Element | null {
    const { use } = kernel;
    if (!use) {
      return null;
    }
    const seconds = this._kernels.age(kernel.id) / 1000;
    const own = units(use.units + use.per_second * seconds);
    const today = units(use.project_today + use.project_per_second * seconds);
    const title = `This kernel has used ${own} units (${use.per_second} a second now), the whole project ${today} today (UTC)`;
    return (
      <span className="cellar-Units" title={title}>
        <TextItem source={`${own} units`} />
        <TextItem source={`${today} today`} className="cellar-Units-today" />
      </span>
    );
  }

  private _repaint(): void {
    this.update();
    this.activeChanged.emit();
  }
}

/** How much of a limit is used; the figure stands beside it. */
function Gauge({ label, part, warn = 2 }: { label: string; part: number; warn?: number }): JSX.Element {
  return (
    <span className="cellar-Gauge" data-label={label} data-full={part > warn} aria-hidden="true">
      <i style={{ width: `${Math.round(Math.min(1, Math.max(0, part)) * 100)}%` }} />
    </span>
  );
}
