// A cell becomes a node: what goes in and out, its name; then its address and key.
import { Dialog, Notification, ReactWidget } from '@jupyterlab/apputils';
import { ICellModel } from '@jupyterlab/cells';
import { NotebookPanel } from '@jupyterlab/notebook';
import { addIcon, deleteIcon, LabIcon } from '@jupyterlab/ui-components';
import { useId } from 'react';
import { Copied } from './copied';
import { launch } from './dialog';
import * as hub from './hub';
import { kernelOf } from './watch';

const TYPES = ['string', 'number', 'integer', 'boolean', 'array', 'object'];
const NAME = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
const IDENTIFIER = /^[\p{L}_][\p{L}\p{N}_]*$/u;
const PUBLISH = 1; // index of the button

/** A rocket. */
export const publishIcon = new LabIcon({
  name: 'cellar:publish',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">
  <g class="jp-icon3" style="fill:none" stroke="#616161" stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round">
    <path d="M5.2 9.2C6 5.400 9 2 14 2c0 5-3.400 8-7.200 8.800z"/>
    <path d="M5.600 7.500H3.200L2 10l3.200-.8M8.500 10.400v2.400L6 14l.8-3.200M2.400 13.600c.1-1.200.6-2 1.600-2"/>
    <circle cx="10.300" cy="5.700" r="1.100"/>
  </g>
</svg>`
});

interface Draft {
  name: string;
  inputs: hub.Field[];
  outputs: hub.Field[];
}

/** Asks what to publish, publishes, and shows how to call it. */
export async function publishCell(panel: NotebookPanel, cell: ICellModel, checkpoint?: string): Promise<void> {
  const kernel = kernelOf(panel.sessionContext);
  if (!kernel && !checkpoint) {
    Notification.warning('Start a kernel first: a node is made from the state of a kernel.');
    return;
  }
  let description: hub.Description;
  let nodes: hub.PublishedBefore[];
  const source = { notebook: panel.context.path, cell: cell.id, ...(checkpoint ? { checkpoint } : { kernel }) };
  try {
    if (panel.context.model.dirty) {
      await panel.context.save(); // the hub reads the cell from the file
    }
    [description, nodes] = await Promise.all([hub.describe(source), hub.nodes()]);
  } catch (reason) {
    Notification.error(`The cell cannot be described. ${hub.messageOf(reason)}`, { autoClose: false });
    return;
  }
  const draft = {
    name: suggestName(panel.context.path, cell.sharedModel.getSource()),
    inputs: description.inputs ?? [],
    outputs: description.outputs ?? []
  };
  const body = new PublishBody(draft, description.warnings ?? [], source, nodes);
  const dialog = new PublishDialog(body);
  await launch(dialog);
  if (body.published) {
    await showResult(body.published, body.draft.inputs);
  }
}

/** The first function's name, else the notebook's. */
function suggestName(path: string, source: string): string {
  const made = /^\s*(?:async\s+)?def\s+(\w+)/m.exec(source)?.[1];
  const file = path.slice(path.lastIndexOf('/') + 1).replace(/\.ipynb$/, '');
  const name = (made ?? file).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^[^a-z]+|-+$/g, '');
  return name.slice(0, 63) || 'node';
}

type Errors = Record<string, string>;

/** What is wrong with a draft, by the field it is wrong in. */
export function check(draft: Draft): Errors {
  const errors: Errors = {};
  if (!NAME.test(draft.name)) {
    errors.name = 'Small letters, digits and hyphens; a letter first; at most 63.';
  }
  for (const side of ['inputs', 'outputs'] as const) {
    const seen = new Set<string>();
    draft[side].forEach((field, i) => {
      if (!IDENTIFIER.test(field.name)) {
        errors[`${side}.${i}`] = field.name ? 'Not a variable name.' : 'A name is missing.';
      } else if (seen.has(field.name)) {
        errors[`${side}.${i}`] = 'This name is there twice.';
      }
      seen.add(field.name);
    });
  }
  if (!draft.outputs.length) {
    errors.outputs = 'A node answers with at least one output.';
  }
  return errors;
}

/** Stays open while publishing, and when the hub says no. */
class PublishDialog extends Dialog<unknown> {
  constructor(private readonly _form: PublishBody) {
    super({
      title: 'Publish cell',
      body: _form,
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Publish' })],
      defaultButton: PUBLISH
    });
    this.addClass('cellar-PublishDialog');
  }

  resolve(index: number = PUBLISH): void {
    if (index !== PUBLISH) {
      this._form.cancel();
      super.resolve(index);
      return;
    }
    void this._form.submit().then(done => done && super.resolve(index));
  }

  reject(): void {
    this._form.cancel();
    super.reject();
  }
}

class PublishBody extends ReactWidget {
  published: hub.PublishedNode | null = null;

  constructor(
    public draft: Draft,
    private readonly _warnings: string[],
    private readonly _source: hub.CellSource,
    private readonly _nodes: hub.PublishedBefore[]
  ) {
    super();
    this.addClass('cellar-Publish');
    this.node.tabIndex = -1;
  }

  /** True when the node is there. Says inline what is wrong otherwise. */
  async submit(): Promise<boolean> {
    if (this._operation !== null) {
      return false;
    }
    this._tried = true;
    this._failure = '';
    if (Object.keys(check(this.draft)).length) {
      this.update();
      return false;
    }
    const { name, inputs, outputs } = this.draft;
    this.node.focus(); // the fields are about to be disabled; focus must stay in the dialog, for Escape
    this._show({ progress: 0, message: 'Starting' });
    try {
      this.published = await hub.follow(await hub.publish(name, this._source, inputs, outputs), o => this._show(o));
      return true;
    } catch (reason) {
      this._failure = hub.messageOf(reason);
      return false;
    } finally {
      this._operation = null;
      this.update();
    }
  }

  /** Gives up an operation under way. */
  cancel(): void {
    if (this._operation?.id) {
      void hub.cancel(this._operation.id).catch(() => undefined);
    }
  }

  protected render(): JSX.Element {
    const errors = this._tried ? check(this.draft) : {};
    const busy = this._operation !== null;
    const same = this._nodes.find(n => n.name === this.draft.name);
    const change = (part: Partial<Draft>) => {
      this.draft = { ...this.draft, ...part };
      this.update();
    };
    return (
      <fieldset className="cellar-Form" disabled={busy}>
        <NameField value={this.draft.name} error={errors.name} onChange={name => change({ name })} />
        {same && (
          <p className="cellar-Note" role="status">
            There is a node {same.name}. It gets a new revision, which answers its calls from then on. You can go back to
            revision {same.revision} on the node’s page.
          </p>
        )}
        <Fields
          title="Inputs"
          side="inputs"
          fields={this.draft.inputs}
          errors={errors}
          onChange={inputs => change({ inputs })}
        />
        <Fields
          title="Outputs"
          side="outputs"
          fields={this.draft.outputs}
          errors={errors}
          onChange={outputs => change({ outputs })}
        />
        {this._warnings.map(w => (
          <p key={w} className="cellar-Note">
            {w}
          </p>
        ))}
        {this._failure && (
          <p className="cellar-Error" role="alert">
            {this._failure}
          </p>
        )}
        {this._operation && (
          <div className="cellar-Chooser-progress">
            <progress className="cellar-Progress" max={1} value={this._operation.progress} aria-label="Publishing" />
            <span role="status">{this._operation.message}</span>
          </div>
        )}
      </fieldset>
    );
  }

  private _show(operation: { id?: string; progress: number; message: string }): void {
    this._operation = operation;
    this.update();
  }

  private _tried = false;
  private _failure = '';
  private _operation: { id?: string; progress: number; message: string } | null = null;
}

interface NameFieldProps {
  value: string;
  error: string | undefined;
  onChange: (name: string) => void;
}

function NameField({ value, error, onChange }: NameFieldProps): JSX.Element {
  const id = useId();
  return (
    <div className="cellar-Field">
      <label htmlFor={id}>Name</label>
      <input
        id={id}
        className="jp-mod-styled"
        value={value}
        aria-invalid={!!error}
        aria-describedby={`${id}-error`}
        onChange={e => onChange(e.target.value)}
      />
      <span id={`${id}-error`} className="cellar-Error">
        {error}
      </span>
    </div>
  );
}

interface FieldsProps {
  title: string;
  side: 'inputs' | 'outputs';
  fields: hub.Field[];
  errors: Errors;
  onChange: (fields: hub.Field[]) => void;
}

function Fields({ title, side, fields, errors, onChange }: FieldsProps): JSX.Element {
  const replace = (i: number, part: Partial<hub.Field>) =>
    onChange(fields.map((f, j) => (i === j ? { ...f, ...part } : f)));
  return (
    <section className="cellar-Fields" data-side={side} aria-label={title}>
      <h3>
        {title}
        <button
          type="button"
          className="jp-mod-minimal cellar-IconButton"
          title={`Add to the ${side}`}
          onClick={() => onChange([...fields, { name: '', type: 'string' }])}
        >
          <addIcon.react tag="span" />
        </button>
      </h3>
      {!fields.length && <p className="cellar-Quiet">None</p>}
      {fields.map((f, i) => (
        <div key={i} className="cellar-FieldRow">
          <input
            className="jp-mod-styled"
            aria-label={`Name of ${title.toLowerCase()} ${i + 1}`}
            aria-invalid={!!errors[`${side}.${i}`]}
            value={f.name}
            placeholder="name"
            onChange={e => replace(i, { name: e.target.value })}
          />
          <select
            className="jp-mod-styled"
            aria-label={`Type of ${f.name || `${title.toLowerCase()} ${i + 1}`}`}
            value={f.type}
            onChange={e => replace(i, { type: e.target.value, example: undefined })}
          >
            {[...new Set([...TYPES, f.type])].map(t => (
              <option key={t}>{t}</option>
            ))}
          </select>
          <button
            type="button"
            className="jp-mod-minimal cellar-IconButton"
            title={`Remove ${f.name}`}
            onClick={() => onChange(fields.filter((_, j) => i !== j))}
          >
            <deleteIcon.react tag="span" />
          </button>
          <span className="cellar-Error">{errors[`${side}.${i}`]}</span>
        </div>
      ))}
      <span className="cellar-Error">{errors[side]}</span>
    </section>
  );
}

const EXAMPLES: Record<string, unknown> = {
  string: 'text',
  number: 1.5,
  integer: 1,
  boolean: true,
  array: [],
  object: {}
};

/** A line for a shell that calls the node with example inputs. */
export function curlLine(node: hub.PublishedNode, inputs: hub.Field[]): string {
  const url = new URL(node.url, window.location.href).href;
  const body = Object.fromEntries(inputs.map(f => [f.name, f.example ?? EXAMPLES[f.type] ?? null]));
  const quoted = (s: string) => `'${s.replace(/'/g, `'\\''`)}'`;
  return [
    `curl -X POST ${quoted(url)}`,
    `  -H ${node.key ? quoted(`Authorization: Bearer ${node.key}`) : '"Authorization: Bearer $CELLAR_KEY"'}`,
    `  -H 'Content-Type: application/json'`,
    `  -d ${quoted(JSON.stringify(body))}`
  ].join(' \\\n');
}

async function showResult(node: hub.PublishedNode, inputs: hub.Field[]): Promise<void> {
  const dialog = new Dialog({
    title: 'Published',
    body: new ResultBody(node, inputs),
    buttons: [Dialog.okButton({ label: 'Done' })]
  });
  await launch(dialog);
}

class ResultBody extends ReactWidget {
  constructor(
    private readonly _node: hub.PublishedNode,
    private readonly _inputs: hub.Field[]
  ) {
    super();
    this.addClass('cellar-Published');
  }

  protected render(): JSX.Element {
    const url = new URL(this._node.url, window.location.href).href;
    return (
      <>
        <p role="status">{this._node.message}</p>
        <Copied label="Address" name="url" text={url} />
        {this._node.key && (
          <Copied label="API key" name="key" text={this._node.key} note="Shown only now: keep it somewhere safe." />
        )}
        <Copied label="Try it" name="curl" text={curlLine(this._node, this._inputs)} />
      </>
    );
  }
}
