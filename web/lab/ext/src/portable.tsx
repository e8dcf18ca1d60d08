// Variables kept one by one, for where the process itself cannot go.
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { launch } from './dialog';
import { bytes } from './format';
import * as hub from './hub';
import { track } from './progress';

/** Keeps the variables of a kernel, and says which could not be. */
export async function keepVariables(kernel: string): Promise<void> {
  const { button } = await showDialog({
    title: 'Keep the variables only?',
    body: ReactWidget.create(
      <p className="cellar-Explain">
        Each variable is kept for itself, so that a kernel of another image or on another kind of machine can take it up.
        Generators, threads, open files and connections cannot be kept this way: a checkpoint keeps those too, and is the
        better choice as long as nothing changes.
      </p>
    ),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Keep' })]
  });
  if (button.accept) {
    await track('Keeping the variables', () => hub.keepVariables(kernel), 'The variables are kept.', ({ report }) => {
      const size = report.kept.reduce((sum, v) => sum + (v.size ?? 0), 0);
      if (report.left.length) {
        void tell('Variables kept', `${count(report.kept.length)} kept, ${bytes(size)}.`, [['Cannot be kept', report.left]]);
      }
    });
  }
}

/** Starts the kernel afresh with the variables of a checkpoint. */
export async function bringVariables(checkpoint: hub.Checkpoint): Promise<void> {
  const { button } = await showDialog({
    title: `Apply “${checkpoint.name}”?`,
    body: ReactWidget.create(
      <p className="cellar-Explain">
        The kernel starts afresh, and the variables of this checkpoint are made again in it. What it holds now is kept first:
        the list gets an entry for undoing.
      </p>
    ),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Apply' })]
  });
  if (button.accept) {
    await track(`Applying “${checkpoint.name}”`, () => hub.bringVariables(checkpoint.id), 'The variables are there.', brought => {
      if (brought.failed.length || brought.left.length || brought.other?.length) {
        const said = [`${count(brought.came)} came back.`, ...(brought.other ?? []).map(text => `${text}.`)].join(' ');
        void tell('Variables brought back', said, [
          ['Could not be made again', brought.failed],
          ['Were not kept', brought.left]
        ]);
      }
    });
  }
}

const count = (n: number) => (n === 1 ? '1 variable' : `${n} variables`);

async function tell(title: string, said: string, lists: [string, hub.PortableItem[]][]): Promise<void> {
  const body = ReactWidget.create(
    <>
      <p>{said}</p>
      {lists.filter(([, items]) => items.length).map(([heading, items]) => (
        <table className="cellar-Table" key={heading}>
          <caption>{heading}</caption>
          <thead>
            <tr>
              <th scope="col">Variable</th>
              <th scope="col">Type</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {items.map(v => (
              <tr key={v.name}>
                <th scope="row">
                  <code>{v.name}</code>
                </th>
                <td>{v.type}</td>
                <td>{v.reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ))}
    </>
  );
  body.addClass('cellar-Apply');
  const dialog = new Dialog({ title, body, buttons: [Dialog.okButton({ label: 'Close' })] });
  await launch(dialog);
}
