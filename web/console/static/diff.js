// What differs between two texts, line by line.

import { h } from "./dom.js";

const most = 600; // lines of each; longer texts are shown whole

/** Lists ["same" | "gone" | "new", line]. */
export function diff(before, after) {
  const a = before === "" ? [] : before.split("\n");
  const b = after === "" ? [] : after.split("\n");
  if (a.length > most || b.length > most) return [...a.map((l) => ["gone", l]), ...b.map((l) => ["new", l])];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const out = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(["same", a[i++]]);
      j++;
    } else if (i < a.length && (j === b.length || common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      out.push(["gone", a[i++]]);
    } else {
      out.push(["new", b[j++]]);
    }
  }
  return out;
}

const signs = { same: " ", gone: "−", new: "+" };
const words = { gone: "removed: ", new: "added: " };

export function diffView(before, after) {
  const lines = diff(before, after);
  if (lines.every(([kind]) => kind === "same")) return h("p", { class: "sub" }, "The source is the same.");
  return h("pre", { class: "diff", tabIndex: 0, "aria-label": "What differs" }, lines.map(([kind, text]) =>
    h("span", { class: kind }, words[kind] && h("span", { class: "visually-hidden" }, words[kind]), h("span", { "aria-hidden": "true" }, `${signs[kind]} `), `${text}\n`)));
}
