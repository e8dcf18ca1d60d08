// The dialog before a checkpoint is applied: what will be as it was then.
import { Dialog, Notification, ReactWidget } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';
import { useEffect, useState } from 'react';
import { ago } from './format';
import * as hub from './hub';
import { track } from './progress';

export interface ApplyChoice {
  files: boolean;
}

/** Applies a checkpoint when the person has seen what that changes. */
export async function apply(checkpoint: hub.Checkpoint, panel: NotebookPanel | null | undefined): Promise<void> {
  const choice = await applyDialog(checkpoint);
  if (!choice) {
    return;
  }
  const applied = await track(
    `Applying “${checkpoint.name}”`,
    () => hub.applyCheckpoint(checkpoint.id, choice.files),
    `“${checkpoint.name}” is applied.`
  );
  if (applied && choice.files && panel && !panel.isDisposed) {
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
export async function applyDialog(checkpoint: hub.Checkpoint): Promise<ApplyChoice | null> {
  const body = new ApplyBody(checkpoint);
  const dialog = new Dialog<ApplyChoice>({
    title: `Apply “${checkpoint.name}”?`,
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Apply' })]
  });
  dialog.addClass('cellar-Dialog');
  const { button, value } = await dialog.launch();
  return button.accept ? value : null;
}

class ApplyBody extends ReactWidget implements Dialog.IBodyWidget<ApplyChoice> {
  constructor(private readonly _checkpoint: hub.Checkpoint) {
    super();
    this.addClass('cellar-Apply');
  }

  getValue(): ApplyChoice {
    return this._choice;
  }

  protected render(): JSX.Element {
    return <Body checkpoint={this._checkpoint} onFiles={files => (this._choice = { files })} />;
  }

  private _choice: ApplyChoice = { files: false };
}

interface BodyProps {
  checkpoint: hub.Checkpoint;
  onFiles: (files: boolean) => void;
}

function Body({ checkpoint, onFiles }: BodyProps): JSX.Element {
  const [changes, setChanges] = useState<hub.Changes | null>(null);
  const [unknown, setUnknown] = useState(false);
  const [files, setFiles] = useState(false);
  useEffect(() => {
    hub.changesOf(checkpoint.id).then(setChanges, () => setUnknown(true)); // not every hub can tell
  }, [checkpoint.id]);
  return (
    <>
      <p>
        The kernel goes back to what it was when this checkpoint was saved ({ago(checkpoint.created_at)}). Variables
        made or changed since then give way to it.
      </p>
      {!changes && !unknown && <p className="cellar-Quiet">Comparing…</p>}
      {changes?.variables && <Variables rows={changes.variables} />}
      {changes?.notes?.map(note => <p key={note} className="cellar-Note">{note}</p>)}
      <label className="cellar-Check">
        <input
          type="checkbox"
          checked={files}
          onChange={e => {
            setFiles(e.target.checked);
            onFiles(e.target.checked);
          }}
        />
        <span>
          The notebook’s text too
          <small>Otherwise what you wrote since then stays. Other files are never touched.</small>
        </span>
      </label>
      {files && changes && <Files rows={changes.files ?? []} />}
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
  dialog.addClass('cellar-Dialog');
  await dialog.launch();
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

function Files({ rows }: { rows: NonNullable<hub.Changes['files']> }): JSX.Element {
  if (!rows.length) {
    return <p className="cellar-Quiet">No file differs.</p>;
  }
  const named = rows.map(r => (typeof r === 'string' ? { path: r, change: '' } : r));
  return (
    <ul className="cellar-Files">
      {named.map(f => (
        <li key={f.path}>
          <code>{f.path}</code> {f.change}
        </li>
      ))}
    </ul>
  );
}
