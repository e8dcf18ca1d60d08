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
    const { configuration, cpu_percent, memory_bytes, memory_limit } = kernel;
    if (kernel.state !== 'running' && kernel.state !== 'switching') {
      return <TextItem source={`${configuration} · ${kernel.state}`} />;
    }
    const full = memory_limit > 0 && memory_bytes / memory_limit > 0.9;
    const limit = memory_limit > 0 ? ` / ${bytes(memory_limit)}` : '';
    return (
      <TextItem
        source={`${configuration} · CPU ${Math.round(cpu_percent)} % · ${bytes(memory_bytes)}${limit}`}
        title="Configuration, processor and memory of this notebook's kernel"
        data-full={full}
      />
    );
  }

  private _repaint(): void {
    this.update();
    this.activeChanged.emit();
  }
}
