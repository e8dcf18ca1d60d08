// The notebook toolbar's configuration button, and the sheet behind it to switch.
import { ISessionContext, Notification } from '@jupyterlab/apputils';
import { caretDownEmptyIcon, ReactWidget } from '@jupyterlab/ui-components';
import { Message, MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { useEffect, useState } from 'react';
import { bytes, plural, sizeOf } from './format';
import * as hub from './hub';
import { IKernels } from './kernels';
import { KernelWidget } from './watch';

/** What the button and its sheet show of a switch under way. */
interface Progress {
  target: string;
  progress: number;
  message: string;
}

export class ConfigurationButton extends KernelWidget {
  constructor(session: ISessionContext, kernels: IKernels) {
    super(session, kernels);
    this.addClass('cellar-Configuration');
  }

  /** Opens the sheet; a second time closes it. */
  toggle(): void {
    if (this._sheet) {
      this._sheet.dispose();
      return;
    }
    this._sheet = new Sheet(this.node, () => this._sheetBody());
    this._sheet.disposed.connect(() => {
      this._sheet = null;
      this.update();
    });
    this.update();
  }

  /** Switches, shows the progress, and says what went wrong. */
  async switchTo(configuration: string, move: boolean): Promise<void> {
    const id = this.kernelId;
    if (!id || this._progress) {
      return;
    }
    this._show({ target: configuration, progress: 0, message: 'Asking for the machine' });
    try {
      await hub.follow(await hub.switchKernel(id, configuration, move), o =>
        this._show({ target: configuration, progress: o.progress, message: o.message })
      );
      Notification.success(`The kernel runs on ${configuration}; its variables are as they were.`, { autoClose: 4000 });
    } catch (reason) {
      Notification.error(`Not switched to ${configuration}. ${hub.messageOf(reason)}`, { autoClose: false });
    } finally {
      this._show(null);
      this._sheet?.dispose();
    }
  }

  dispose(): void {
    this._sheet?.dispose();
    super.dispose();
  }

  protected render(): JSX.Element {
    const progress = this._progress;
    const current = this.kernel?.configuration;
    const label = progress ? `${current ?? ''} → ${progress.target}` : (current ?? (this.kernelId ? 'Configuration' : 'No kernel'));
    return (
      <>
        <button
          className="cellar-Configuration-button"
          title={this._title()}
          aria-haspopup="dialog"
          aria-expanded={!!this._sheet}
          disabled={!this.kernelId}
          onClick={() => this.toggle()}
        >
          <span className="cellar-Configuration-name">{label}</span>
          <caretDownEmptyIcon.react tag="span" elementSize="small" />
        </button>
        {progress && <Bar {...progress} />}
      </>
    );
  }

  private _title(): string {
    const { configuration, home } = this.kernel ?? {};
    const now = home ? `${configuration} is for the cell that runs; then the kernel goes back to ${home}. ` : '';
    return `${now}Switch the configuration of this kernel; its variables stay`;
  }

  private _show(progress: Progress | null): void {
    this._progress = progress;
    this.update();
    this._sheet?.update();
  }

  private _sheetBody(): JSX.Element {
    return (
      <Chooser
        kernel={this.kernel}
        progress={this._progress}
        onSwitch={(configuration, move) => void this.switchTo(configuration, move)}
        onClose={() => this._sheet?.dispose()}
      />
    );
  }

  private _progress: Progress | null = null;
  private _sheet: Sheet | null = null;
}

const Bar = ({ progress, message }: Progress) => (
  <progress className="cellar-Progress" max={1} value={progress} aria-label={message || 'Switching'} />
);

interface ChooserProps {
  kernel: hub.Kernel | undefined;
  progress: Progress | null;
  onSwitch: (configuration: string, move: boolean) => void;
  onClose: () => void;
}

function Chooser({ kernel, progress, onSwitch, onClose }: ChooserProps): JSX.Element {
  const [items, setItems] = useState<hub.Configuration[] | null>(null);
  const [failure, setFailure] = useState('');
  const [chosen, setChosen] = useState('');
  const [move, setMove] = useState(false);
  const [free, setFree] = useState<hub.Free | null>(null);
  useEffect(() => {
    hub.configurations(kernel?.id).then(setItems, reason => setFailure(hub.messageOf(reason)));
    hub.free().then(setFree, () => undefined); // the list says what can be had all the same
  }, []);

  const selected = chosen || kernel?.configuration || '';
  const same = selected === kernel?.configuration;
  const pick = items?.find(c => c.name === selected);
  return (
    <form
      className="cellar-Chooser"
      onSubmit={e => {
        e.preventDefault();
        onSwitch(selected, move);
      }}
    >
      <h2>Configuration</h2>
      {failure && (
        <p className="cellar-Error" role="alert">
          {failure}
        </p>
      )}
      {!items && !failure && <p className="cellar-Quiet">Loading…</p>}
      <div role="radiogroup" aria-label="Configurations">
        {items?.map(c => (
          <Choice
            key={c.name}
            configuration={c}
            current={c.name === kernel?.configuration}
            checked={c.name === selected}
            disabled={!!progress}
            onChoose={() => setChosen(c.name)}
          />
        ))}
      </div>
      {pick && !pick.available && !same && (
        <p className="cellar-Quiet" role="status">
          {pick.reason}
        </p>
      )}
      {free && <p className="cellar-Quiet cellar-Free">{freeText(free)}</p>}
      <label className="cellar-Check">
        <input type="checkbox" checked={move} disabled={!!progress} onChange={e => setMove(e.target.checked)} />
        <span>
          Move to a new container
          <small>Checkpoint here, restore there: also when the size alone could change in place.</small>
        </span>
      </label>
      {progress && (
        <div className="cellar-Chooser-progress">
          <Bar {...progress} />
          <span role="status">{progress.message}</span>
        </div>
      )}
      <div className="cellar-Buttons">
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={onClose}>
          {progress ? 'Hide' : 'Cancel'}
        </button>
        <button
          type="submit"
          className="jp-mod-styled jp-mod-accept"
          disabled={!!progress || !selected || (same && !move)}
        >
          {same ? 'Move' : `Switch to ${selected}`}
        </button>
      </div>
    </form>
  );
}

/** What the machine has left, in a line. */
function freeText(f: hub.Free): string {
  const parts = [
    f.memory >= 0 ? `${bytes(f.memory)} of memory to give` : `${bytes(f.memory_idle)} of memory unused`,
    f.cpus >= 0 ? `${plural(f.cpus, 'core')} to give` : `${f.cpus_busy.toFixed(1)} of ${plural(f.cpus_total, 'core')} busy`,
    `${bytes(f.disk)} of disk`
  ];
  const line = f.waiting > 0 ? ` ${plural(f.waiting, 'kernel')} in line.` : '';
  return `Free now: ${parts.join(', ')}, ${f.gpus > 0 ? plural(f.gpus, 'GPU') : 'no GPU'}.${line}`;
}

interface ChoiceProps {
  configuration: hub.Configuration;
  current: boolean;
  checked: boolean;
  disabled: boolean;
  onChoose: () => void;
}

function Choice({ configuration: c, current, checked, disabled, onChoose }: ChoiceProps): JSX.Element {
  const availability = c.available ? 'available' : 'no room now';
  return (
    <label className="cellar-Choice" data-configuration={c.name} data-available={c.available} title={c.reason}>
      <input
        type="radio"
        name="cellar-configuration"
        value={c.name}
        checked={checked}
        disabled={disabled}
        onChange={onChoose}
      />
      <span className="cellar-Choice-name">
        {c.name}
        {current && <em>current</em>}
      </span>
      <span className="cellar-Choice-size">{sizeOf(c)}</span>
      <span className="cellar-Choice-price" title={`${plural(c.units_per_second, 'unit')} per second of running`}>
        {c.units_per_second} units/s
      </span>
      <span className="cellar-Choice-free">{availability}</span>
    </label>
  );
}

/** A small dialog under a toolbar button, which keeps the focus; Escape or a click elsewhere closes it. */
class Sheet extends ReactWidget {
  constructor(
    private readonly _anchor: HTMLElement,
    private readonly _body: () => JSX.Element
  ) {
    super();
    this.addClass('cellar-Sheet');
    this.node.setAttribute('role', 'dialog');
    this.node.setAttribute('aria-label', 'Configuration of the kernel');
    this.node.tabIndex = -1;
    Widget.attach(this, document.body);
  }

  handleEvent(event: Event): void {
    const target = event.target as Element;
    if (event.type === 'keydown' && (event as KeyboardEvent).key === 'Escape') {
      event.stopPropagation();
      this.node.focus();
      this.dispose();
    } else if (event.type === 'resize') {
      this._place();
    } else if (event.type === 'focusin') {
      this._keepFocus(target);
    } else if (event.type === 'pointerdown' && !this.node.contains(target) && !this._anchor.contains(target)) {
      this.dispose();
    }
  }

  dispose(): void {
    if (!this.isDisposed && this.isAttached) {
      const { activeElement } = document; // the body, when the button that had the focus was disabled
      const focused = activeElement === document.body || this.node.contains(activeElement);
      Widget.detach(this);
      focused && this._anchor.querySelector('button')?.focus();
    }
    super.dispose();
  }

  /** JupyterLab gives the focus to a notebook a moment after its toolbar was used. A dialog may have it. */
  private _keepFocus(target: Element): void {
    if (target.closest('.jp-Dialog')) {
      this.dispose();
    } else if (!this.node.contains(target)) {
      this.node.focus();
    }
  }

  protected render(): JSX.Element {
    return this._body();
  }

  protected onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    document.addEventListener('pointerdown', this, true);
    document.addEventListener('focusin', this, true);
    document.addEventListener('keydown', this, true); // wherever the focus went
    window.addEventListener('resize', this);
    MessageLoop.flush();
    this._place();
    this.node.focus();
  }

  protected onBeforeDetach(msg: Message): void {
    document.removeEventListener('pointerdown', this, true);
    document.removeEventListener('focusin', this, true);
    document.removeEventListener('keydown', this, true);
    window.removeEventListener('resize', this);
    super.onBeforeDetach(msg);
  }

  private _place(): void {
    const box = this._anchor.getBoundingClientRect();
    this.node.style.top = `${box.bottom + 4}px`;
    this.node.style.right = `${Math.max(8, window.innerWidth - box.right)}px`;
    this.node.style.maxHeight = `${window.innerHeight - box.bottom - 16}px`;
  }
}
