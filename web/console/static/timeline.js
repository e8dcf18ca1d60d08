// How checkpoints came from each other: a drawing beside their list, newest first.

const lane = 14;
const middle = 26; // pixels from a card's top to its name
const gap = 8; // pixels between cards
const most = 12; // lanes that are drawn
const ns = "http://www.w3.org/2000/svg";

/** Lays checkpoints out, newest first: {lane, above, below, passing, joining} by ID. */
export function layOut(newest) {
  const ids = new Set(newest.map((c) => c.id));
  const lanes = []; // the checkpoint that each waits for
  const out = new Map();
  for (const c of newest) {
    const waiting = lanes.flatMap((id, i) => (id === c.id ? [i] : []));
    const free = lanes.indexOf(null);
    const own = waiting[0] ?? (free < 0 ? lanes.length : free);
    for (const i of waiting) lanes[i] = null;
    const passing = lanes.flatMap((id, i) => (id !== null && i !== own ? [i] : []));
    const below = Boolean(c.parent) && ids.has(c.parent);
    lanes[own] = below ? c.parent : null;
    out.set(c.id, { lane: own, above: waiting.length > 0, below, passing, joining: waiting.slice(1) });
  }
  return out;
}

export const widthOf = (rows) => lane * Math.min(most, 1 + Math.max(0, ...[...rows.values()].map((r) => Math.max(r.lane, ...r.passing, ...r.joining))));

function svg(tag, props, ...children) {
  const el = document.createElementNS(ns, tag);
  for (const [name, value] of Object.entries(props)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

const x = (n) => lane / 2 + lane * Math.min(n, most - 1);
const line = (x1, y1, x2, y2) => svg("line", { x1, y1, x2, y2 });

/** The part beside one card; a list reader hears "from the one before" from the card itself. */
export function drawing(row, width, here) {
  const el = svg("svg", { class: "timeline", "aria-hidden": "true" },
    ...row.passing.map((n) => line(x(n), 0, x(n), "100%")),
    ...row.joining.map((n) => line(x(n), 0, x(row.lane), middle)));
  if (row.above) el.append(line(x(row.lane), 0, x(row.lane), middle));
  if (row.below) el.append(line(x(row.lane), middle, x(row.lane), "100%"));
  el.append(svg("circle", { cx: x(row.lane), cy: middle, r: here ? 6 : 4, class: here ? "here" : "" }));
  el.style.width = `${width}px`; // not as an attribute: the page's policy allows no inline style
  el.style.height = `calc(100% + ${gap}px)`;
  return el;
}
