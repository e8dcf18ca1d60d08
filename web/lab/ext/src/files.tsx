// Files as checkpoints have them: lists of what changed, earlier versions of one, and bringing one back.
import { Dialog, Notification, ReactWidget } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { useEffect, useState } from 'react';
import * as dialogs from './dialog';
import { difference, near } from './difference';
import { ago, bytes, moment } from './format';
import * as hub from './hub';

/** What is shown of a list at once. */
const SHOWN = 200;
/** Larger files are not shown, in bytes. */
const READABLE = 2_000_000;

const WORDS: Record<hub.FileChange['change'], string> = {
  added: 'made since',
  changed: 'changed since',
  removed: 'gone since'
};

interface ChangeListProps {
  items: hub.FileChange[];
  more?: number;
  /** what can be done with each */
  actions?: (item: hub.FileChange) => React.ReactNode;
}

export function ChangeList({ items, more = 0, actions }: ChangeListProps): JSX.Element {
  if (!items.length) {
    return <p className="cellar-Quiet">No file differs.</p>;
  }
  const rest = Math.max(0, items.length - SHOWN) + more;
  return (
    <ul className="cellar-Files">
      {items.slice(0, SHOWN).map(item => (
        <li key={item.raw ?? item.path} data-change={item.change}>
          <code>{item.path}</code>
          <span>{WORDS[item.change]}</span>
          {actions?.(item)}
        </li>
      ))}
      {rest > 0 && <li>and {rest.toLocaleString('en')} more</li>}
    </ul>
  );
}

export const PackageList = ({ items }: { items: hub.FileChanges['packages'] }): JSX.Element => (
  <ul className="cellar-Files">
    {items.slice(0, SHOWN).map(p => (
      <li key={`${p.language}/${p.name}`}>
        <code>{p.name}</code>
        <span>
          {p.now || 'not installed'} now, {p.then || 'not installed'} then
        </span>
      </li>
    ))}
    {items.length > SHOWN && <li>and {items.length - SHOWN} more</li>}
  </ul>
);

/** Shows something in the place of a list, or the list again. */
type Show = (detail: JSX.Element | null) => void;

/** A list, or what was chosen of it: JupyterLab shows one dialog at a time. */
function Pages({ list }: { list: (show: Show) => JSX.Element }): JSX.Element {
  const [detail, setDetail] = useState<JSX.Element | null>(null);
  return (
    <>
      {detail && (
        <div className="cellar-Detail">
          <button className="jp-mod-styled" autoFocus onClick={() => setDetail(null)}>
            Back
          </button>
          {detail}
        </div>
      )}
      <div hidden={!!detail}>{list(setDetail)}</div>
    </>
  );
}

/** Shows a list in a dialog that is only closed. */
async function launch(title: string, list: (show: Show) => JSX.Element): Promise<void> {
  const widget = ReactWidget.create(<Pages list={list} />);
  widget.addClass('cellar-Apply');
  widget.addClass('cellar-History');
  const dialog = new Dialog({ title, body: widget, buttons: [Dialog.cancelButton({ label: 'Close' })] });
  await dialogs.launch(dialog);
}

/** Says how the files differ now from those of a checkpoint, and brings some back. */
export const showFiles = (checkpoint: hub.Checkpoint) =>
  launch(`Files since “${checkpoint.name}”`, show => <Since checkpoint={checkpoint} show={show} />);

function Since({ checkpoint, show }: { checkpoint: hub.Checkpoint; show: Show }): JSX.Element {
  const [changes, setChanges] = useState<hub.FileChanges | null>(null);
  const [failure, setFailure] = useState('');
  const load = () => hub.filesSince(checkpoint.id).then(setChanges, reason => setFailure(hub.messageOf(reason)));
  useEffect(() => void load(), [checkpoint.id]);
  return (
    <>
      {!changes && !failure && <p className="cellar-Quiet">Comparing…</p>}
      {failure && <p className="cellar-Error">{failure}</p>}
      {changes && (
        <ChangeList
          items={changes.items}
          more={changes.more}
          actions={item =>
            item.then && <Actions checkpoint={checkpoint.id} file={item.then} now={!!item.now} show={show} done={load} />
          }
        />
      )}
      {!!changes?.packages.length && <PackageList items={changes.packages} />}
      {changes?.notes?.map(note => <p key={note} className="cellar-Note">{note}</p>)}
    </>
  );
}

/** Lists the earlier versions of a file that checkpoints have. */
export const showVersions = (path: string) =>
  launch(`Earlier versions of ${path}`, show => <Versions path={path} show={show} />);

function Versions({ path, show }: { path: string; show: Show }): JSX.Element {
  const [items, setItems] = useState<hub.Version[] | null>(null);
  const [failure, setFailure] = useState('');
  const load = () => hub.versions(path).then(setItems, reason => setFailure(hub.messageOf(reason)));
  useEffect(() => void load(), [path]);
  if (failure) {
    return <p className="cellar-Error">{failure}</p>;
  }
  if (!items) {
    return <p className="cellar-Quiet">Looking…</p>;
  }
  if (!items.length) {
    return <p className="cellar-Quiet">No checkpoint has this file otherwise than it is now.</p>;
  }
  return (
    <table className="cellar-Table cellar-Versions">
      <thead>
        <tr>
          <th scope="col">Changed</th>
          <th scope="col">Size</th>
          <th scope="col">Checkpoint</th>
          <th scope="col">
            <span className="cellar-Hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {items.map(v => (
          <tr key={v.checkpoint}>
            <th scope="row" title={new Date(v.file.modified_at).toLocaleString()}>
              {moment(v.file.modified_at)}
            </th>
            <td>{bytes(v.file.size)}</td>
            <td>
              {v.name} <small>({ago(v.created_at)})</small>
            </td>
            <td>
              <Actions checkpoint={v.checkpoint} file={v.file} now={true} show={show} done={load} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface ActionsProps {
  checkpoint: string;
  file: hub.FileView;
  /** there is such a file now */
  now: boolean;
  show: Show;
  done: () => unknown;
}

function Actions({ checkpoint, file, now, show, done }: ActionsProps): JSX.Element {
  if (!file.kept) {
    return <small>not kept ({(file.why ?? '').replace('_', ' ')})</small>;
  }
  const button = (label: string, act: () => Promise<unknown>) => (
    <button
      className="jp-mod-styled"
      aria-label={`${label} ${file.path}`}
      onClick={() => void act().catch(reason => Notification.error(hub.messageOf(reason), { autoClose: false }))}
    >
      {label}
    </button>
  );
  return (
    <span className="cellar-Actions">
      {file.kind === 'file' && button('Open', async () => show(await open(checkpoint, file)))}
      {file.kind === 'file' && now && button('Compare', async () => show(await compare(checkpoint, file)))}
      {button('Restore', async () => {
        if (!now && (await restore(checkpoint, file, 'refuse'))) {
          done();
        } else {
          show(<Confirm checkpoint={checkpoint} file={file} show={show} done={done} />);
        }
      })}
    </span>
  );
}

/** Asks what becomes of the file that is there. */
function Confirm({ checkpoint, file, show, done }: Omit<ActionsProps, 'now'>): JSX.Element {
  const [keep, setKeep] = useState(true);
  const act = async () => {
    try {
      await restore(checkpoint, file, keep ? 'keep' : 'replace');
      show(null);
      done();
    } catch (reason) {
      Notification.error(hub.messageOf(reason), { autoClose: false });
    }
  };
  return (
    <>
      <p>
        <code>{file.path}</code> is there already.
      </p>
      <label className="cellar-Check">
        <input type="checkbox" checked={keep} onChange={e => setKeep(e.target.checked)} />
        <span>
          Keep the present file
          <small>It is called “… (before restore)” then. Otherwise it is replaced.</small>
        </span>
      </label>
      <div className="cellar-Buttons">
        <button className="jp-mod-styled jp-mod-accept" onClick={() => void act()}>
          Restore it
        </button>
      </div>
    </>
  );
}

/** Brings a file back; false: one is there, and nothing was done. */
async function restore(checkpoint: string, file: hub.FileView, present: hub.Present): Promise<boolean> {
  try {
    const back = await hub.restoreFile(checkpoint, file, present);
    const aside = back.aside ? ` The file that was there is ${back.aside} now.` : '';
    Notification.success(`${back.path} is restored.${aside}`, { autoClose: 8000 });
    return true;
  } catch (reason) {
    if (reason instanceof hub.Problem && reason.code === 'file_exists' && present === 'refuse') {
      return false;
    }
    throw reason;
  }
}

async function open(checkpoint: string, file: hub.FileView): Promise<JSX.Element> {
  const text = file.size <= READABLE ? readable(file.path, await hub.content(checkpoint, file)) : null;
  return (
    <>
      {text === null ? (
        <p className="cellar-Quiet">This file is not text, or too long to be shown.</p>
      ) : (
        <pre className="cellar-Text" tabIndex={0}>
          {text}
        </pre>
      )}
      <p>
        <a href={hub.downloadAddress(checkpoint, file)} download>
          Download
        </a>
      </p>
    </>
  );
}

async function compare(checkpoint: string, file: hub.FileView): Promise<JSX.Element> {
  const small = file.size <= READABLE;
  const then = small ? readable(file.path, await hub.content(checkpoint, file)) : null;
  const now = small ? readable(file.path, await present(file.path)) : null;
  if (then === null || now === null) {
    return <p className="cellar-Quiet">These are not text, or too long to be compared here.</p>;
  }
  return <Difference then={then} now={now} />;
}

export function Difference({ then, now }: { then: string; now: string }): JSX.Element {
  const lines = near(difference(then, now));
  if (!lines.some(l => l && l.kind !== 'same')) {
    return <p className="cellar-Quiet">The text is the same; what differs are outputs, or the file’s permissions.</p>;
  }
  const signs = { same: ' ', gone: '−', new: '+' };
  return (
    <pre className="cellar-Text cellar-Difference" tabIndex={0} aria-label="Lines with − were there then, lines with + are there now">
      {lines.map((line, i) =>
        line ? (
          <div key={i} data-kind={line.kind}>
            {signs[line.kind]} {line.text}
          </div>
        ) : (
          <div key={i} data-kind="skipped">
            …
          </div>
        )
      )}
    </pre>
  );
}

/** Reads a file as it is now. */
async function present(path: string): Promise<ArrayBuffer> {
  const settings = ServerConnection.makeSettings();
  const address = URLExt.join(PageConfig.getBaseUrl(), 'files', ...path.split('/').map(encodeURIComponent));
  const response = await ServerConnection.makeRequest(address, {}, settings);
  if (!response.ok) {
    throw new Error(`${path} cannot be read (${response.status}).`);
  }
  const length = Number(response.headers.get('Content-Length') ?? 0);
  if (length > READABLE) {
    throw new Error(`${path} is too long to be compared here.`);
  }
  return response.arrayBuffer();
}

/** A file as text, a notebook by its cells; null if it is none. */
function readable(path: string, content: ArrayBuffer): string | null {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    return null;
  }
  if (text.includes('\0')) {
    return null;
  }
  return path.endsWith('.ipynb') ? (cellsOf(text) ?? text) : text;
}

function cellsOf(text: string): string | null {
  try {
    const cells: { cell_type: string; source: string | string[] }[] = JSON.parse(text).cells;
    return cells.map(c => `[${c.cell_type}]\n${typeof c.source === 'string' ? c.source : c.source.join('')}\n`).join('\n');
  } catch {
    return null;
  }
}
