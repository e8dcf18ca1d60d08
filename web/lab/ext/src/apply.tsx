// The dialog before a checkpoint is applied: what will be as it was then.
import { Dialog, Notification, ReactWidget } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';
import { useEffect, useState } from 'react';
import { launch } from './dialog';
import { ago, plural } from './format';
import { Cells, inWords } from './cells';
import { ChangeList, PackageList } from './files';
import * as hub from './hub';
import { track } from './progress';

/** Applies a checkpoint when the person has seen what that changes. */
export async function apply(checkpoint: hub.Checkpoint, panel: NotebookPanel | null | undefined): Promise<void> {
  const choice = await applyDialog(checkpoint);
  if (!choice) {
    return;
  }
  const applied = await track(
    `Applying “${checkpoint.name}”`,
    () => hub.applyCheckpoint(checkpoint.id, choice),
    `“${checkpoint.name}” is applied.`,
    done => {
      if (done?.applied?.notes?.length) {
        Notification.warning(`Not brought back: ${done.applied.notes.join(' ')}`, { autoClose: false });
      }
    }
  );
  if (applied && (choice.notebook || choice.notebooks) && panel && !panel.isDisposed) {
    await panel.context.revert();
  }
}

/** Goes back to the newest checkpoint from before the last run of the cell that is chosen. */
export async function undoCell(kernel: string, panel: NotebookPanel): Promise<void> {
  const cell = panel.content.activeCell?.model.id;
  try {
    const run = (await hub.timings(panel.context.path)).find(t => t.cell_id === cell && t.kernel === kernel);
    if (!run?.started_at) {
      Notification.info('This cell has not been run in this session: there is nothing to undo.', { autoClose: 6000 });
      return;
    }
    const began = run.started_at;
    const older = (await hub.checkpoints()).filter(c => c.kernel === kernel && Date.parse(c.created_at) <= Date.parse(began));
    if (!older.length) {
      Notification.info(
        'No checkpoint is older than the last run of this cell. The project’s page has a setting that keeps one after each cell.',
        { autoClose: 10000 }
      );
      return;
    }
    await apply(older.reduce((a, b) => (a.created_at > b.created_at ? a : b)), panel);
  } catch (reason) {
    Notification.error(hub.messageOf(reason), { autoClose: false });
  }
}

/** Shows what would change; null when the person decides against it. */
export async function applyDialog(checkpoint: hub.Checkpoint): Promise<hub.ApplyChoice | null> {
  const body = new ApplyBody(checkpoint);
  const dialog = new Dialog<hub.ApplyChoice>({
    title: `Apply “${checkpoint.name}”?`,
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Apply' })]
  });
  const { button, value } = await launch(dialog);
  return button.accept ? value : null;
}

class ApplyBody extends ReactWidget implements Dialog.IBodyWidget<hub.ApplyChoice> {
  constructor(private readonly _checkpoint: hub.Checkpoint) {
    super();
    this.addClass('cellar-Apply');
  }

  getValue(): hub.ApplyChoice {
    return this._choice;
  }

  protected render(): JSX.Element {
    return <Body checkpoint={this._checkpoint} onChoice={choice => (this._choice = choice)} />;
  }

  private _choice: hub.ApplyChoice = hub.VARIABLES_ONLY;
}

interface BodyProps {
  checkpoint: hub.Checkpoint;
  onChoice: (choice: hub.ApplyChoice) => void;
}

function Body({ checkpoint, onChoice }: BodyProps): JSX.Element {
  const [changes, setChanges] = useState<hub.Changes | null>(null);
  const [unknown, setUnknown] = useState(false);
  const [choice, setChoice] = useState<hub.ApplyChoice>(hub.VARIABLES_ONLY);
  useEffect(() => {
    hub.changesOf(checkpoint.id).then(setChanges, () => setUnknown(true)); // not every hub can tell
  }, [checkpoint.id]);
  const set = (part: Partial<hub.ApplyChoice>) => {
    const next = { ...choice, ...part };
    setChoice(next);
    onChoice(next);
  };
  return (
    <>
      <p>
        The kernel goes back to what it was when this checkpoint was saved ({ago(checkpoint.created_at)}). Variables
        made or changed since then give way to it.
      </p>
      {!changes && !unknown && <p className="cellar-Quiet">Comparing…</p>}
      {changes?.variables && <Variables rows={changes.variables} />}
      {changes?.notes?.map(note => <p key={note} className="cellar-Note">{note}</p>)}
      <Tick on={choice.notebook} onChange={notebook => set({ notebook })} label="The notebook’s text too">
        Otherwise what you wrote since then stays{changes?.cells?.items.length ? `: ${inWords(changes.cells)}` : ''}.
      </Tick>
      {choice.notebook && changes?.cells && <Cells cells={changes.cells} />}
      {changes?.tree && <TreeTicks tree={changes.tree} notebook={checkpoint.notebook} choice={choice} set={set} />}
      {changes?.tree_note && <p className="cellar-Quiet">{changes.tree_note} Other files are not touched.</p>}
    </>
  );
}

interface TickProps {
  on: boolean;
  onChange: (on: boolean) => void;
  label: string;
  disabled?: boolean;
  children?: React.ReactNode;
}

const Tick = ({ on, onChange, label, disabled, children }: TickProps): JSX.Element => (
  <label className="cellar-Check">
    <input type="checkbox" checked={on} disabled={disabled} onChange={e => onChange(e.target.checked)} />
    <span>
      {label}
      <small>{children}</small>
    </span>
  </label>
);

interface TreeTicksProps {
  tree: hub.FileChanges;
  notebook: string;
  choice: hub.ApplyChoice;
  set: (part: Partial<hub.ApplyChoice>) => void;
}

/** What can come back of the project's files: nothing does that is not ticked. */
function TreeTicks({ tree, notebook, choice, set }: TreeTicksProps): JSX.Element {
  const back = tree.items.filter(i => i.change !== 'added' && i.path !== notebook);
  const files = back.filter(i => !i.path.endsWith('.ipynb'));
  const notebooks = back.filter(i => i.path.endsWith('.ipynb'));
  const since = tree.items.filter(i => i.change === 'added').length;
  return (
    <>
      <Tick on={choice.files} disabled={!files.length} onChange={on => set({ files: on })} label="The project’s other files">
        {files.length
          ? `${plural(files.length, 'file')} as then. ${since ? `What came since (${since}) stays.` : ''}`
          : 'None differs from then.'}
      </Tick>
      {choice.files && <ChangeList items={files} />}
      <Tick
        on={choice.notebooks}
        disabled={!notebooks.length}
        onChange={on => set({ notebooks: on })}
        label="The project’s other notebooks"
      >
        {notebooks.length ? `${plural(notebooks.length, 'notebook')} as then.` : 'None differs from then.'}
      </Tick>
      {choice.notebooks && <ChangeList items={notebooks} />}
      <Tick
        on={choice.packages}
        disabled={!tree.packages.length}
        onChange={on => set({ packages: on })}
        label="Installed packages"
      >
        {tree.packages.length
          ? `${plural(tree.packages.length, 'package')} as then. Those of now are put aside.`
          : 'None differs from then.'}
      </Tick>
      {choice.packages && <PackageList items={tree.packages} />}
      {tree.notes?.map(note => <p key={note} className="cellar-Note">{note}</p>)}
    </>
  );
}

/** Shows what the state before a checkpoint had otherwise. */
export async function sinceDialog(checkpoint: hub.Checkpoint): Promise<void> {
  const body = ReactWidget.create(<Since checkpoint={checkpoint} />);
  body.addClass('cellar-Apply');
  const dialog = new Dialog({
    title: `What changed until “${checkpoint.name}”`,
    body,
    buttons: [Dialog.okButton({ label: 'Close' })]
  });
  await launch(dialog);
}

function Since({ checkpoint }: { checkpoint: hub.Checkpoint }): JSX.Element {
  const [changes, setChanges] = useState<hub.Changes | null>(null);
  const [failure, setFailure] = useState('');
  useEffect(() => {
    hub.changesTo(checkpoint.parent, checkpoint.id).then(setChanges, reason => setFailure(hub.messageOf(reason)));
  }, [checkpoint.id]);
  return (
    <>
      {!changes && !failure && <p className="cellar-Quiet">Comparing…</p>}
      {failure && <p className="cellar-Error">{failure}</p>}
      {changes?.variables && <Variables rows={changes.variables} now="Here" then="Before" />}
      {changes?.cells && (
        <>
          <h3>Notebook</h3>
          <Cells cells={changes.cells} />
        </>
      )}
      {changes?.tree && (
        <>
          <h3>Files</h3>
          <ChangeList items={changes.tree.items} more={changes.tree.more} />
          {!!changes.tree.packages.length && <PackageList items={changes.tree.packages} />}
        </>
      )}
      {changes?.tree_note && <p className="cellar-Quiet">{changes.tree_note}</p>}
      {changes?.notes?.map(note => <p key={note} className="cellar-Note">{note}</p>)}
    </>
  );
}

interface VariablesProps {
  rows: NonNullable<hub.Changes['variables']>;
  now?: string;
  then?: string;
}

function Variables({ rows, now = 'Now', then = 'Then' }: VariablesProps): JSX.Element {
  if (!rows.length) {
    return <p className="cellar-Quiet">No difference is seen in names, types, shapes and first values.</p>;
  }
  return (
    <table className="cellar-Table">
      <thead>
        <tr>
          <th scope="col">Variable</th>
          <th scope="col">{now}</th>
          <th scope="col">{then}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(r => (
          <tr key={r.name}>
            <th scope="row">
              <code>{r.name}</code>
            </th>
            <td>{r.now ?? <em>not there</em>}</td>
            <td>{r.then ?? <em>not there</em>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
