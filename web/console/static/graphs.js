// Small graphs of the last hour, as SVG: no library, no colour that means something alone.

import { h, setText } from "./dom.js";

const width = 300;
const height = 96;
const ns = "http://www.w3.org/2000/svg";

function svg(tag, props = {}, ...children) {
  const el = document.createElementNS(ns, tag);
  for (const [name, value] of Object.entries(props)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

/** The next of 1, 2, 5, 10, 20 ... that is not below n. */
function nice(n) {
  if (!(n > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((f) => f * ten).find((v) => v >= n * 0.9999);
}

export const ms = (n) => (n >= 1000 ? `${Number((n / 1000).toPrecision(2))} s` : `${Number(n.toPrecision(2))} ms`);
const count = (n) => n.toLocaleString("en", { maximumFractionDigits: 1 });

const group = (minute, from, to) => Object.entries(minute.codes ?? {}).reduce((sum, [code, n]) => sum + (code >= from && code < to ? n : 0), 0);

// kind: bars are stacked; a line has no point where nothing was called; a step goes on.
const graphs = [
  { title: "Requests", unit: (n) => `${count(n)} a minute`, kind: "bars", series: [{ name: "requests", cls: "one", of: (m) => m.calls }] },
  {
    title: "Answers", unit: count, kind: "bars", series: [
      { name: "good", cls: "good", of: (m) => group(m, 200, 400) },
      { name: "the caller’s mistake or the cell’s, 4xx", cls: "warn", of: (m) => group(m, 400, 500) },
      { name: "failed, 5xx", cls: "bad", of: (m) => group(m, 500, 600) },
    ],
  },
  {
    title: "Duration", unit: ms, kind: "line", series: [
      { name: "half of the calls", cls: "one", of: (m) => (m.calls ? m.p50_ms : null) },
      { name: "95 %", cls: "two", of: (m) => (m.calls ? m.p95_ms : null) },
      { name: "99 %", cls: "three", of: (m) => (m.calls ? m.p99_ms : null) },
    ],
  },
  { title: "At a time", unit: (n) => `${count(n)} ${n === 1 ? "call" : "calls"}`, kind: "step", series: [{ name: "calls at a time, the most", cls: "one", of: (m) => m.active }] },
  { title: "Instances", unit: count, kind: "step", series: [{ name: "instances, the most", cls: "one", of: (m) => m.instances }] },
];

/** What belongs to one node or alias; show(minutes) draws. */
export function graphsOf(only = graphs.map((g) => g.title)) {
  const drawn = graphs.filter((g) => only.includes(g.title)).map(graph);
  const body = h("tbody", {});
  const table = h("details", {}, h("summary", {}, "As a table"), h("div", { class: "card table figures-table", tabIndex: 0, role: "region", "aria-label": "The last hour as a table" },
    h("table", {}, h("thead", {}, h("tr", {}, ["Minute", "Requests", "Answers", "50 %", "95 %", "99 %", "At a time", "Instances"].map((t) => h("th", { scope: "col" }, t)))), body)));
  const el = h("div", {}, h("div", { class: "graphs" }, drawn.map((g) => g.el)), table);
  return {
    el,
    show(minutes) {
      for (const g of drawn) g.draw(minutes);
      body.replaceChildren(...minutes.filter((m) => m.calls || m.active || m.instances).reverse().map((m) => h("tr", {},
        [new Date(m.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }), count(m.calls), Object.entries(m.codes ?? {}).map(([c, n]) => `${c}: ${count(n)}`).join(", "),
          ms(m.p50_ms), ms(m.p95_ms), ms(m.p99_ms), count(m.active), count(m.instances)].map((t) => h("td", {}, t)))));
      table.hidden = body.children.length === 0;
    },
  };
}

function graph(g) {
  const now = h("span", { class: "figure-now" });
  const top = h("span", { class: "figure-top" });
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", class: "graph" });
  const keys = g.series.length > 1 && h("p", { class: "legend" }, g.series.map((s) => h("span", { class: s.cls }, s.name)));
  const el = h("figure", { class: "card figure-card" }, h("figcaption", {}, h("span", { class: "title" }, g.title), now),
    h("div", { class: "plot" }, picture, top), h("p", { class: "axis" }, h("span", {}, "an hour ago"), h("span", {}, "now")), keys);

  function draw(minutes) {
    const values = g.series.map((s) => minutes.map(s.of));
    const sums = minutes.map((_, i) => values.reduce((sum, v) => (g.kind === "bars" ? sum + v[i] : Math.max(sum, v[i] ?? 0)), 0));
    const most = Math.max(0, ...sums);
    const scale = nice(most);
    const y = (v) => height - (v / scale) * (height - 4);
    const step = width / Math.max(1, minutes.length);
    const parts = [svg("line", { x1: 0, x2: width, y1: y(scale), y2: y(scale), class: "rule" }), svg("line", { x1: 0, x2: width, y1: y(scale / 2), y2: y(scale / 2), class: "rule" })];
    g.series.forEach((s, n) => parts.push(...(g.kind === "bars" ? bars(values, n, s, y, step) : [line(values[n], s, y, step, g.kind)])));
    picture.replaceChildren(...parts);
    // The last minute is not over: of what is counted, the one before it says how much it is now.
    const end = minutes.length - 1;
    const last = (g.kind === "step" ? [end, end - 1] : [end - 1, end]).find((i) => sums[i] > 0);
    setText(now, last === undefined ? "none now" : g.kind === "line" ? `95 % within ${g.unit(values[1][last] ?? 0)}` : g.unit(sums[last]));
    setText(top, most > 0 ? g.unit(scale) : "");
    picture.setAttribute("aria-label", most > 0 ? `${g.title} in the last hour: ${g.unit(most)} at most, ${now.textContent} last` : `${g.title}: nothing in the last hour`);
  }
  return { el, draw };
}

function bars(values, n, series, y, step) {
  return values[n].flatMap((v, i) => {
    if (!v) return [];
    const below = values.slice(0, n).reduce((sum, other) => sum + other[i], 0);
    return [svg("rect", { x: i * step + 0.5, width: Math.max(0.5, step - 1), y: y(below + v), height: Math.max(0.8, y(below) - y(below + v)), class: series.cls })];
  });
}

function line(values, series, y, step, kind) {
  let d = "";
  let open = false;
  values.forEach((v, i) => {
    if (v === null || v === undefined) {
      open = false;
    } else if (kind === "step") {
      d += `${d ? "L" : "M"}${i * step} ${y(v)}L${(i + 1) * step} ${y(v)}`;
    } else {
      const alone = !open && (values[i + 1] ?? null) === null;
      if (alone) d += `M${i * step} ${y(v)}L${(i + 1) * step} ${y(v)}`; // a stroke, as a point is not seen
      else d += `${open ? "L" : "M"}${(i + 0.5) * step} ${y(v)}`;
      open = true;
    }
  });
  return svg("path", { d: d || "M0 0", class: `stroke ${series.cls}` });
}
