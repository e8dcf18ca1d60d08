// How the text of a notebook differs from what a checkpoint has of it.
import { plural } from './format';
import { Difference } from './files';
import * as hub from './hub';

const WORDS: Record<hub.CellChange['kind'], string> = { new: 'New', gone: 'Gone', edited: 'Edited' };

/** What a cell begins with, for a line about it. */
const beginning = (source: string) => source.trim().split('\n', 1)[0].slice(0, 80) || 'an empty cell';

export function Cells({ cells }: { cells: hub.CellChanges }): JSX.Element {
  if (!cells.items.length) {
    return <p className="cellar-Quiet">The notebook’s text is the same.</p>;
  }
  return (
    <>
      {cells.items.map(cell => (
        <details key={cell.id} className="cellar-CellChange" data-kind={cell.kind}>
          <summary>
            <span className="cellar-Tag">{WORDS[cell.kind]}</span> <code>{beginning(cell.now || cell.then)}</code>
          </summary>
          <Difference then={cell.then} now={cell.now} />
        </details>
      ))}
      {cells.more > 0 && <p className="cellar-Quiet">And {plural(cells.more, 'more cell')}.</p>}
    </>
  );
}

/** In a few words: "2 cells edited, 1 new". */
export function inWords(cells: hub.CellChanges): string {
  const count = (kind: hub.CellChange['kind']) => cells.items.filter(c => c.kind === kind).length;
  const parts = [count('edited') && `${plural(count('edited'), 'cell')} edited`, count('new') && `${count('new')} new`, count('gone') && `${count('gone')} gone`];
  return parts.filter(Boolean).join(', ');
}
