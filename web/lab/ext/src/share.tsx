// A link that shows a notebook, or what a checkpoint has, to others.
import { Dialog, ReactWidget } from '@jupyterlab/apputils';
import { useId } from 'react';
import { Copied } from './copied';
import * as hub from './hub';

const SHARE = 1; // index of the button
const DAY = 86400;

const LASTS: [string, number][] = [
  ['1 day', DAY],
  ['7 days', 7 * DAY],
  ['30 days', 30 * DAY],
  ['as long as it is not revoked', 0]
];

const AUDIENCES: [hub.Audience, string][] = [
  ['anyone', 'Anyone who has the link'],
  ['people', 'People who are signed in on this server'],
  ['named', 'These people; they find it under “Shared with me”, too']
];

const COPIES: [hub.Copies, string][] = [
  ['notebook', 'The notebook alone'],
  ['files', 'The notebook, and all files and packages of the project as they were'],
  ['state', 'All that, and the kernel with its state']
];

/** Asks for whom and how long, makes the link, and shows it once. */
export async function share(what: { notebook: string } | { checkpoint: hub.Checkpoint }): Promise<void> {
  const body = new ShareBody(what);
  const dialog = new ShareDialog(body);
  await dialog.launch();
  if (body.made) {
    const result = new Dialog({ title: 'The link is there', body: new MadeBody(body.made), buttons: [Dialog.okButton({ label: 'Done' })] });
    result.addClass('cellar-Dialog');
    await result.launch();
  }
}

/** Stays open when the hub says no. */
class ShareDialog extends Dialog<unknown> {
  constructor(private readonly _form: ShareBody) {
    super({ title: _form.title_, body: _form, buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Make the link' })], defaultButton: SHARE });
    this.addClass('cellar-Dialog');
  }

  resolve(index: number = SHARE): void {
    if (index !== SHARE) {
      super.resolve(index);
      return;
    }
    void this._form.submit().then(done => done && super.resolve(index));
  }
}

class ShareBody extends ReactWidget {
  made: hub.MadeShare | null = null;

  constructor(private readonly _what: { notebook: string } | { checkpoint: hub.Checkpoint }) {
    super();
    this.addClass('cellar-Publish');
    this.addClass('cellar-Share');
    this.node.tabIndex = -1;
  }

  get title_(): string {
    return 'checkpoint' in this._what ? `Share “${this._what.checkpoint.name}”` : 'Share this notebook';
  }

  async submit(): Promise<boolean> {
    if (this._busy) {
      return false;
    }
    this._busy = true;
    this._failure = '';
    const { name, audience, people, lasts, copies } = this._draft;
    const what = this._what;
    try {
      this.made = await hub.share({
        ...('checkpoint' in what ? { checkpoint: what.checkpoint.id, copies } : { notebook: what.notebook }),
        ...(audience === 'named' ? { people: people.split(/[\s,]+/).filter(Boolean) } : {}),
        name: name.trim(),
        audience,
        expires_seconds: lasts
      });
      return true;
    } catch (reason) {
      this._failure = hub.messageOf(reason);
      return false;
    } finally {
      this._busy = false;
      this.update();
    }
  }

  protected render(): JSX.Element {
    const d = this._draft;
    const change = (part: Partial<Draft>) => {
      this._draft = { ...this._draft, ...part };
      this.update();
    };
    const what = this._what;
    return (
      <div className="cellar-Form">
        <p>
          {'checkpoint' in what
            ? `Who opens the link reads ${what.checkpoint.notebook} as it was then, with its outputs.`
            : `Who opens the link reads ${what.notebook} as it is at that time, with its outputs.`}{' '}
          Your kernel is not started by it, and nothing of yours can be changed.
        </p>
        <Text label="Name, for your list of links" value={d.name} placeholder="for example: for the review" onChange={name => change({ name })} />
        <Choice title="Who may open it" items={AUDIENCES} value={d.audience} onChange={audience => change({ audience })} />
        {d.audience === 'named' && (
          <Text label="Their names, separated by spaces" value={d.people} placeholder="ada bob" onChange={people => change({ people })} />
        )}
        <Lasts value={d.lasts} onChange={lasts => change({ lasts })} />
        {'checkpoint' in what && (
          <>
            <Choice title="What a copy has that they make" items={COPIES} value={d.copies} onChange={copies => change({ copies })} />
            {d.copies === 'state' && (
              <p className="cellar-Note" role="status">
                Everything in the kernel’s memory goes with each copy: variables, passwords, keys and tokens that were typed,
                read or set in its environment. Choose this only if they may have all of it.
              </p>
            )}
          </>
        )}
        {this._failure && (
          <p className="cellar-Error" role="alert">
            {this._failure}
          </p>
        )}
      </div>
    );
  }

  private _draft: Draft = { name: '', audience: 'anyone', people: '', lasts: 7 * DAY, copies: 'files' };
  private _failure = '';
  private _busy = false;
}

interface Draft {
  name: string;
  audience: hub.Audience;
  people: string;
  lasts: number;
  copies: hub.Copies;
}

interface TextProps {
  label: string;
  value: string;
  placeholder: string;
  onChange: (value: string) => void;
}

function Text({ label, value, placeholder, onChange }: TextProps): JSX.Element {
  const id = useId();
  return (
    <div className="cellar-Field">
      <label htmlFor={id}>{label}</label>
      <input id={id} className="jp-mod-styled" value={value} placeholder={placeholder} maxLength={200} onChange={e => onChange(e.target.value)} />
    </div>
  );
}

interface ChoiceProps<T extends string> {
  title: string;
  items: [T, string][];
  value: T;
  onChange: (value: T) => void;
}

function Choice<T extends string>({ title, items, value, onChange }: ChoiceProps<T>): JSX.Element {
  const name = useId();
  return (
    <fieldset className="cellar-Options">
      <legend>{title}</legend>
      {items.map(([key, label]) => (
        <label key={key}>
          <input type="radio" name={name} value={key} checked={key === value} onChange={() => onChange(key)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Lasts({ value, onChange }: { value: number; onChange: (value: number) => void }): JSX.Element {
  const id = useId();
  return (
    <div className="cellar-Field">
      <label htmlFor={id}>It is good for</label>
      <select id={id} className="jp-mod-styled" value={String(value)} onChange={e => onChange(Number(e.target.value))}>
        {LASTS.map(([label, seconds]) => (
          <option key={seconds} value={String(seconds)}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}

class MadeBody extends ReactWidget {
  constructor(private readonly _made: hub.MadeShare) {
    super();
    this.addClass('cellar-Published');
  }

  protected render(): JSX.Element {
    return (
      <>
        <p role="status">Whoever has it can open it, until it expires or you revoke it on the project’s page.</p>
        <Copied label="Link" name="link" text={new URL(this._made.url, window.location.href).href} note="Shown only now." />
      </>
    );
  }
}
