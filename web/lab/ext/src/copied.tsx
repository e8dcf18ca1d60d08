// Something that is shown to be copied.
import { Clipboard } from '@jupyterlab/apputils';
import { copyIcon } from '@jupyterlab/ui-components';

interface CopiedProps {
  label: string;
  name: string;
  text: string;
  note?: string;
}

export const Copied = ({ label, name, text, note }: CopiedProps) => (
  <section className="cellar-Copied" data-name={name}>
    <h3>
      {label}
      {note && <small>{note}</small>}
    </h3>
    <pre tabIndex={0}>{text}</pre>
    <button
      type="button"
      className="jp-mod-styled cellar-IconButton"
      title={`Copy the ${label.toLowerCase()}`}
      onClick={() => Clipboard.copyToSystem(text)}
    >
      <copyIcon.react tag="span" />
    </button>
  </section>
);
