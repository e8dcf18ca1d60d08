// What the current notebook's kernel uses, in the status bar.
import { TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import { bytes } from './format';
import { IKernels } from './kernels';
import { CurrentKernel } from './watch';

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
      return <TextItem source={`${configuration} · ${kernel.state}`} />;
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
