// The table of variables: sorted, filtered.
import { useState } from 'react';
import { bytes, plural } from './format';
import * as hub from './hub';

/** Rows that are drawn before somebody asks for all. */
const ROWS = 200;

type Column = 'name' | 'type' | 'shape' | 'size' | 'value';

const COLUMNS: [column: Column, label: string][] = [
  ['name', 'Name'],
  ['type', 'Type'],
  ['shape', 'Shape'],
  ['size', 'Size'],
  ['value', 'Value']
];

interface Order {
  column: Column;
  down: boolean;
}

interface Props {
  list: hub.Variables;
  /** false: it is what was there earlier */
  current: boolean;
  detail: string;
}

export function VariableTable({ list, current, detail }: Props): JSX.Element {
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState<Order>({ column: 'name', down: false });
  const [all, setAll] = useState(false);
  const found = sorted(list.items.filter(v => matches(v, filter.trim().toLowerCase())), order);
  const shown = all ? found : found.slice(0, ROWS);
  return (
    <>
      <input
        className="jp-mod-styled cellar-Variables-filter"
        type="search"
        placeholder="Filter by name or type"
        aria-label="Filter by name or type"
        value={filter}
        onChange={e => setFilter(e.target.value)}
      />
      {!current && detail && <p className="cellar-Note">{detail}</p>}
      <p className="cellar-Quiet cellar-Variables-count" role="status">
        {count(list, found.length, filter)}, as of{' '}
        <time dateTime={list.as_of} title={new Date(list.as_of).toLocaleString()}>
          {timeOf(list.as_of)}
        </time>
      </p>
      {shown.length > 0 && (
        <div className="cellar-Variables-scroll" tabIndex={0} role="group" aria-label="List of variables">
          <table className="cellar-Table" role="table" data-current={current}>
            <thead role="rowgroup">
              <tr role="row">
                {COLUMNS.map(([column, label]) => (
                  <Head key={column} column={column} label={label} order={order} onOrder={setOrder} />
                ))}
              </tr>
            </thead>
            <tbody role="rowgroup">
              {shown.map(v => (
                <Row key={v.name} variable={v} />
              ))}
            </tbody>
          </table>
          {shown.length < found.length && (
            <button className="jp-mod-styled" onClick={() => setAll(true)}>
              Show all {found.length.toLocaleString('en')}
            </button>
          )}
        </div>
      )}
    </>
  );
}

function Head({ column, label, order, onOrder }: { column: Column; label: string; order: Order; onOrder: (o: Order) => void }) {
  const mine = order.column === column;
  // Who asks for sizes looks for the large ones.
  const down = mine ? !order.down : column === 'size';
  return (
    <th scope="col" role="columnheader" data-column={column} aria-sort={mine ? (order.down ? 'descending' : 'ascending') : undefined}>
      <button onClick={() => onOrder({ column, down })}>
        {label}
        <span aria-hidden="true">{mine ? (order.down ? ' ▾' : ' ▴') : ''}</span>
      </button>
    </th>
  );
}

function Row({ variable: v }: { variable: hub.Variable }): JSX.Element {
  return (
    <tr role="row">
      <th scope="row" role="rowheader" data-column="name" title={v.name}>
        <code>{v.name}</code>
      </th>
      <td role="cell" data-column="type" title={v.type}>
        {v.type}
      </td>
      <td role="cell" data-column="shape">
        {v.shape}
      </td>
      <td role="cell" data-column="size" title={sizeTitle(v)}>
        {sizeOf(v)}
      </td>
      <td role="cell" data-column="value" title={v.value}>
        <code>{v.value}</code>
      </td>
    </tr>
  );
}

function sizeOf(v: hub.Variable): string {
  if (v.partial) {
    return v.size ? `≥ ${bytes(v.size)}` : '–';
  }
  return bytes(v.size);
}

function sizeTitle(v: hub.Variable): string {
  if (!v.partial) {
    return plural(v.size, 'byte');
  }
  return v.size ? `At least ${plural(v.size, 'byte')}: not all of it can be counted` : 'Not known without running its code';
}

function count(list: hub.Variables, found: number, filter: string): string {
  const all = plural(list.total, 'variable');
  if (filter.trim()) {
    return `${found.toLocaleString('en')} of ${all}`;
  }
  return list.total > list.items.length ? `The first ${list.items.length.toLocaleString('en')} of ${all}` : all;
}

/** The time of today, the date too of another day. */
function timeOf(at: string): string {
  const date = new Date(at);
  return date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleString();
}

const matches = (v: hub.Variable, text: string) =>
  !text || v.name.toLowerCase().includes(text) || v.type.toLowerCase().includes(text);

const byText = new Intl.Collator('en', { numeric: true });

function sorted(list: hub.Variable[], { column, down }: Order): hub.Variable[] {
  const way = down ? -1 : 1;
  const compare = (a: hub.Variable, b: hub.Variable) =>
    column === 'size' ? a.size - b.size : byText.compare(a[column] ?? '', b[column] ?? '');
  return [...list].sort((a, b) => way * compare(a, b) || byText.compare(a.name, b.name));
}
