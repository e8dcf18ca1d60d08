// The side panel that lists the checkpoints of the current notebook's kernel.
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { ellipsesIcon, historyIcon, ReactWidget, refreshIcon } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Message } from '@lumino/messaging';
import { Menu } from '@lumino/widgets';
import { apply, sinceDialog } from './apply';
import { ago, bytes, plural } from './format';
import { showFiles } from './files';
import * as hub from './hub';
import { IKernels } from './kernels';
import * as lineage from './lineage';
import { family, layOut } from './lineage';
import { bringVariables } from './portable';
import { track } from './progress';
import { share } from './share';
import { Timeline, widthOf } from './timeline';
import { CurrentKernel } from './watch';

const KINDS: Record<string, string> = {
  manual: 'Saved',
  auto: 'Automatic',
  hibernate: 'Hibernation',
  hibernation: 'Hibernation',
  switch: 'Switch',
  rollback: 'For undoing',
  variables: 'Variables only'
};

/** What the hub calls those that nobody named: a tag would say it twice. */
const DEFAULT_NAMES: Record<string, string> = { hibernate: 'Hibernated', auto: 'Automatic', rollback: 'Before going back', switch: 'Before a move', variables: 'Variables' };

/** Milliseconds between repaints that only move "2 minutes ago" on. */
const TICK = 30000;

/** Milliseconds until it is asked again for what is about to be there. */
const SOON = 1500;

export class CheckpointPanel extends ReactWidget {
  constructor(
    private readonly _current: CurrentKernel,
    private readonly _kernels: IKernels,
    private readonly _commands: CommandRegistry
  ) {
    super();
    this.id = 'cellar-checkpoints';
    this.addClass('cellar-Checkpoints');
    this.title.icon = historyIcon;
    this.title.caption = 'Checkpoints';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Checkpoints');
    _current.changed.connect(() => void this.refresh());
    _kernels.changed.connect((_, id) => this._onKernel(id));
    this._timer = window.setInterval(() => this.isVisible && this.update(), TICK);
  }

  dispose(): void {
    window.clearInterval(this._timer);
    window.clearTimeout(this._again);
    super.dispose();
  }

  /** Asks the hub again; the answer for a kernel no longer shown is dropped. */
  async refresh(): Promise<void> {
    const kernel = this._current.id;
    if (kernel !== this._shown) {
      this._items = null;
      this._shown = kernel;
    }
    if (!kernel || !this.isVisible) {
      this.update();
      return;
    }
    try {
      const items = await hub.checkpoints();
      if (kernel === this._shown) {
        this._items = layOut(family(items, kernel, this._kernels.get(kernel)?.base));
        this._failure = '';
        if (items.some(c => c.files?.state === 'pending')) { // they are being kept: soon there is more to say
          window.clearTimeout(this._again);
          this._again = window.setTimeout(() => this.isVisible && !this.isDisposed && void this.refresh(), SOON);
        }
      }
    } catch (reason) {
      this._failure = hub.messageOf(reason);
    }
    this.update();
  }

  protected onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    void this.refresh();
  }

  protected render(): JSX.Element {
    const kernel = this._kernels.get(this._current.id);
    const menu = (e: React.MouseEvent) => this._openMenu(e.currentTarget.getBoundingClientRect());
    return (
      <>
        <header className="cellar-Checkpoints-header">
          <h2>Checkpoints</h2>
          <button className="jp-mod-minimal cellar-IconButton" title="Refresh" onClick={() => void this.refresh()}>
            <refreshIcon.react tag="span" />
          </button>
          <button
            className="jp-mod-minimal cellar-IconButton"
            title="More: hibernate, resume, keep awake"
            aria-haspopup="menu"
            onClick={menu}
          >
            <ellipsesIcon.react tag="span" />
          </button>
        </header>
        <div className="cellar-Checkpoints-actions">
          <button
            className="jp-mod-styled jp-mod-accept"
            disabled={!this._shown}
            onClick={() => void this._commands.execute('cellar:save-checkpoint')}
          >
            Save checkpoint
          </button>
        </div>
        {this._failure && (
          <p className="cellar-Error" role="alert">
            {this._failure}
          </p>
        )}
        {this._body()}
        <Explanation state={kernel?.state} />
      </>
    );
  }

  private _body(): JSX.Element {
    if (!this._shown) {
      return <p className="cellar-Quiet">Open a notebook to see the checkpoints of its kernel.</p>;
    }
    if (!this._items) {
      return <p className="cellar-Quiet">{this._failure ? '' : 'Loading…'}</p>;
    }
    if (!this._items.length) {
      return <p className="cellar-Quiet">No checkpoints yet. A checkpoint keeps every variable of this kernel.</p>;
    }
    const base = this._kernels.get(this._shown)?.base;
    const width = widthOf(this._items);
    return (
      <ul className="cellar-Checkpoints-list">
        {this._items.map(row => (
          <Row
            key={row.checkpoint.id}
            row={row}
            width={width}
            here={row.checkpoint.id === base}
            foreign={row.checkpoint.kernel !== this._shown}
            onApply={() => this._apply(row.checkpoint)}
            onBranch={() => this._branch(row.checkpoint)}
            onMore={box => this._openRowMenu(row.checkpoint, box)}
          />
        ))}
      </ul>
    );
  }

  private async _apply(checkpoint: hub.Checkpoint): Promise<void> {
    await (checkpoint.kind === 'variables' ? bringVariables(checkpoint) : apply(checkpoint, this._current.panel));
    await this.refresh();
  }

  private async _delete(checkpoint: hub.Checkpoint): Promise<void> {
    const { button } = await showDialog({
      title: 'Delete checkpoint',
      body: `“${checkpoint.name}” will be gone for good.`,
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })]
    });
    if (button.accept) {
      await this._attempt(() => hub.deleteCheckpoint(checkpoint.id));
    }
  }

  /** Goes on from the checkpoint in a session of its own, and opens its notebook. */
  private async _branch(checkpoint: hub.Checkpoint): Promise<void> {
    await track(
      `Branching from “${checkpoint.name}”`,
      () => hub.branchCheckpoint(checkpoint.id),
      'The new session has the variables of that checkpoint; this one goes on as it was.',
      branched => {
        if (branched.notebook) {
          void this._commands.execute('docmanager:open', { path: branched.notebook });
        }
      }
    );
    await this.refresh();
  }

  /** A project of one's own that goes on from the checkpoint. */
  private async _newProject(checkpoint: hub.Checkpoint): Promise<void> {
    const { button, value } = await InputDialog.getText({
      title: 'New project from a checkpoint',
      label: 'Name. It gets this kernel with its variables, the notebook, files and packages as they were; keys and settings of this project’s home do not come along.',
      text: `${checkpoint.name}`,
      okLabel: 'Make the project',
      required: true
    });
    const name = value?.trim();
    if (!button.accept || !name) {
      return;
    }
    await track(
      `Making the project “${name}”`,
      () => hub.projectFrom(checkpoint.id, name),
      `The project “${name}” is there.`,
      made => {
        const open = { label: 'Open', callback: () => void window.open(`${made.url}lab`, '_blank', 'noopener') };
        const left = made.notes?.length ? ` Not in it: ${made.notes.join(' ')}` : '';
        Notification.success(`“${name}” has ${plural(made.files, 'file')}.${left}`, { autoClose: false, actions: [open] });
      }
    );
  }

  private async _rename(checkpoint: hub.Checkpoint): Promise<void> {
    const { button, value } = await InputDialog.getText({
      title: 'Keep checkpoint under a name',
      label: 'Name. A checkpoint with a name of yours stays until you delete it.',
      text: checkpoint.name,
      okLabel: 'Keep',
      required: true
    });
    const name = value?.trim();
    if (button.accept && name) {
      await this._attempt(() => hub.renameCheckpoint(checkpoint.id, name));
    }
  }

  private async _attempt(deed: () => Promise<unknown>): Promise<void> {
    try {
      await deed();
    } catch (reason) {
      Notification.error(hub.messageOf(reason), { autoClose: false });
    }
    await this.refresh();
  }

  private _openMenu(box: DOMRect): void {
    this._openMenuOf(this._commands, ['cellar:hibernate', 'cellar:resume', 'cellar:keep-awake', 'cellar:switch', 'cellar:keep-variables'], box);
  }

  /** What can be done with one checkpoint beside applying it. */
  private _openRowMenu(checkpoint: hub.Checkpoint, box: DOMRect): void {
    const commands = new CommandRegistry();
    commands.addCommand('branch', {
      label: 'Branch: go on from here in a second session',
      isEnabled: () => checkpoint.kind !== 'variables',
      execute: () => this._branch(checkpoint)
    });
    commands.addCommand('compare', {
      label: 'What changed since the one before…',
      isEnabled: () => !!checkpoint.parent,
      execute: () => sinceDialog(checkpoint)
    });
    commands.addCommand('files', {
      label: 'Files since then: compare, restore…',
      isEnabled: () => checkpoint.files?.state === 'kept',
      execute: () => showFiles(checkpoint)
    });
    commands.addCommand('project', {
      label: 'New project from here…',
      isEnabled: () => checkpoint.files?.state === 'kept',
      execute: () => this._newProject(checkpoint)
    });
    commands.addCommand('share', {
      label: 'Share by a link…',
      isEnabled: () => !!checkpoint.notebook,
      execute: () => share({ checkpoint })
    });
    const publish = { checkpoint: checkpoint.id };
    commands.addCommand('publish', {
      label: this._commands.label('cellar:publish', publish),
      isEnabled: () => checkpoint.kind !== 'variables' && this._commands.isEnabled('cellar:publish', publish),
      execute: () => this._commands.execute('cellar:publish', publish)
    });
    commands.addCommand('rename', {
      label: checkpoint.pinned ? 'Rename…' : 'Keep under a name…',
      execute: () => this._rename(checkpoint)
    });
    commands.addCommand('delete', { label: 'Delete…', execute: () => this._delete(checkpoint) });
    this._openMenuOf(commands, ['branch', 'compare', 'files', 'project', 'publish', 'share', 'rename', 'delete'], box);
  }

  private _openMenuOf(commands: CommandRegistry, names: string[], box: DOMRect): void {
    const menu = new Menu({ commands });
    for (const command of names) {
      menu.addItem({ command });
    }
    menu.aboutToClose.connect(() => window.setTimeout(() => menu.dispose()));
    menu.open(box.left, box.bottom);
  }

  private _onKernel(id: string): void {
    if (id !== this._shown || !this.isVisible) {
      return;
    }
    const kernel = this._kernels.get(id);
    const state = `${kernel?.state} ${kernel?.base}`;
    if (state !== this._state) {
      this._state = state;
      void this.refresh(); // freezing ends in a checkpoint
    }
  }

  private _items: lineage.Row[] | null = null;
  private _failure = '';
  private _shown: string | undefined;
  private _state: string | undefined;
  private _timer: number;
  private _again: number | undefined;
}

interface RowProps {
  row: lineage.Row;
  width: number;
  here: boolean;
  foreign: boolean;
  onApply: () => void;
  onBranch: () => void;
  onMore: (box: DOMRect) => void;
}

function Row({ row, width, here, foreign, onApply, onBranch, onMore }: RowProps): JSX.Element {
  const c = row.checkpoint;
  const when = new Date(c.created_at).toLocaleString();
  return (
    <li className="cellar-Checkpoint" data-checkpoint={c.id} data-foreign={foreign || undefined} style={{ paddingLeft: width + 4 }}>
      <Timeline row={row} width={width} here={here} foreign={foreign} />
      <div className="cellar-Checkpoint-name" title={c.note || c.name}>
        {c.name || 'Unnamed'}
      </div>
      <div className="cellar-Checkpoint-facts">
        {DEFAULT_NAMES[c.kind] !== c.name && (
          <span className="cellar-Tag" data-kind={c.kind}>
            {KINDS[c.kind] ?? c.kind}
          </span>
        )}
        <time dateTime={c.created_at} title={when}>
          {ago(c.created_at)}
        </time>
        {here && <span title="What was run since then is not in any checkpoint yet">the kernel goes on from here</span>}
        {!!c.after_count && <span title="The cell that had ended last">after [{c.after_count}]</span>}
        {foreign && <span title="The session that it was kept of">{c.notebook || 'another session'}</span>}
        <span
          title={
            c.stored ? `${bytes(c.size)} in all, of which the rest is shared` : `${bytes(c.size)} until it is stored compressed`
          }
        >
          +{bytes(c.added_bytes + (c.files?.added_bytes ?? 0))}
        </span>
        {c.files?.state === 'kept' && (
          <span title={`${bytes(c.files.bytes)} of files and packages${c.files.left_out ? `; ${c.files.left_out} are listed only` : ''}`}>
            {plural(c.files.files, 'file')}
          </span>
        )}
        {c.files?.state === 'failed' && <span title={c.files.detail}>no files</span>}
      </div>
      <div className="cellar-Checkpoint-buttons">
        {foreign ? (
          <button className="jp-mod-styled" onClick={onBranch} aria-label={`Branch from ${c.name}`}>
            Branch
          </button>
        ) : (
          <button className="jp-mod-styled" onClick={onApply} aria-label={`Apply ${c.name}`}>
            Apply
          </button>
        )}
        <button
          className="jp-mod-minimal cellar-IconButton"
          title="More: branch, compare, files, new project, share, rename, delete"
          aria-label={`More for ${c.name}`}
          aria-haspopup="menu"
          onClick={e => onMore(e.currentTarget.getBoundingClientRect())}
        >
          <ellipsesIcon.react tag="span" />
        </button>
      </div>
    </li>
  );
}

const Explanation = ({ state }: { state: hub.KernelState | undefined }) => (
  <details className="cellar-Explanation" open={state === 'hibernated' || undefined}>
    <summary>{state === 'hibernated' ? 'This kernel is hibernated' : 'What hibernation does'}</summary>
    <p>
      A kernel that has been idle for a while hibernates: a checkpoint is saved and its machine is released, so nothing
      is charged. Run any cell and it continues with every variable where it was.
    </p>
  </details>
);

/** Asks for a name and saves; resolves when the checkpoint is there. */
export async function saveCheckpoint(kernel: string): Promise<void> {
  const { button, value } = await InputDialog.getText({
    title: 'Save checkpoint',
    label: 'Name',
    placeholder: 'for example: after cleaning the data',
    okLabel: 'Save',
    required: true
  });
  const name = value?.trim();
  if (!button.accept || !name) {
    return;
  }
  await track(`Saving “${name}”`, () => hub.saveCheckpoint(kernel, name), `“${name}” is saved.`);
}

const HOURS: Record<string, number> = { '1 hour': 1, '4 hours': 4, '8 hours': 8, '24 hours': 24, 'No longer': 0 };

/** Asks for how long a kernel is not to hibernate by itself. */
export async function keepAwake(kernel: string): Promise<void> {
  const { button, value } = await InputDialog.getItem({
    title: 'Keep awake',
    label: 'For how long the kernel does not hibernate by itself, from now on',
    items: Object.keys(HOURS),
    okLabel: 'Keep awake'
  });
  if (!button.accept || value === null) {
    return;
  }
  try {
    await hub.keepAwake(kernel, HOURS[value] * 3600);
    Notification.success(HOURS[value] ? `The kernel is kept awake for ${value}.` : 'The kernel hibernates when it rests, as before.', {
      autoClose: 4000
    });
  } catch (reason) {
    Notification.error(hub.messageOf(reason), { autoClose: false });
  }
}
