// Building blocks of the pages. Text always goes in as text, never as markup.

import { list as ask, sentence } from "./api.js";

// What is set on the element itself; everything else is an attribute.
const properties = new Set(["value", "checked", "disabled", "hidden", "readOnly", "required", "tabIndex", "rows", "maxLength"]);

/** h("button", {class: "main", onclick: f}, "Open") */
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (properties.has(name)) el[name] = value;
    else el.setAttribute(name, value);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return el;
}

export const byId = (id) => document.getElementById(id);

/** Sets text only where it differs, so that a screen reader is not woken for nothing. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

// --- words and figures

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const spans = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(date) {
  const seconds = (date - Date.now()) / 1000;
  for (const [unit, length] of spans) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return "just now";
}

/** A moment as "3 hours ago", kept true while the page is open. */
export function when(value, never = "never") {
  const el = h("time", {});
  setWhen(el, value, never);
  return el;
}

export function setWhen(el, value, never = "never") {
  const date = new Date(value ?? NaN);
  if (isNaN(date) || date.getUTCFullYear() < 1971) {
    el.removeAttribute("datetime");
    el.title = "";
    setText(el, never);
    return;
  }
  el.dateTime = date.toISOString();
  el.title = date.toLocaleString();
  setText(el, ago(date));
}

setInterval(() => {
  for (const el of document.querySelectorAll("time[datetime]")) setText(el, ago(new Date(el.dateTime)));
}, 20_000);

const sizes = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n) {
  let unit = 0;
  for (n = Number(n) || 0; n >= 1024 && unit < sizes.length - 1; unit++) n /= 1024;
  return `${unit === 0 || n >= 100 ? Math.round(n) : Number(n.toFixed(1))} ${sizes[unit]}`;
}

export const plural = (n, one, many = `${one}s`) => `${Number(n).toLocaleString("en")} ${n === 1 ? one : many}`;

export const number = (n) => Number(n ?? 0).toLocaleString("en", { maximumFractionDigits: 4 });

// --- progress, notices

/** A bar; set(0.4, "…") shows how far, set(null, "…") that it goes on without saying how far. */
export function progress(label) {
  const fill = h("i", {});
  const bar = h("div", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  const text = h("p", { class: "step" });
  const el = h("div", { class: "progress", hidden: true }, bar, text);
  const set = (part, message = "") => {
    el.hidden = false;
    const known = typeof part === "number" && part > 0;
    bar.classList.toggle("moving", !known);
    if (known) {
      const percent = Math.round(Math.min(1, part) * 100);
      fill.style.width = `${percent}%`;
      bar.setAttribute("aria-valuenow", percent);
    } else {
      fill.style.width = "";
      bar.removeAttribute("aria-valuenow");
    }
    setText(text, message);
  };
  return { el, set, hide: () => { el.hidden = true; } };
}

/** A gauge: how much of a limit is used. */
export function gauge() {
  const fill = h("i", {});
  const el = h("div", { class: "gauge", "aria-hidden": "true" }, fill);
  return {
    el,
    set(part) {
      el.hidden = !(part >= 0);
      fill.style.width = `${Math.min(1, part || 0) * 100}%`;
      el.classList.toggle("high", part > 0.9);
    },
  };
}

let saying = 0;

/** Says a short sentence at the foot of the page. */
export function say(text) {
  const el = byId("say");
  clearTimeout(saying);
  el.textContent = text;
  el.classList.add("on");
  saying = setTimeout(() => { el.classList.remove("on"); }, 6000);
}

export function notice(kind, text, ...more) {
  return h("div", { class: `notice ${kind}`, role: kind === "fail" ? "alert" : "status" }, h("span", {}, text), ...more);
}

export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("p", { class: "title" }, title), h("p", {}, text), actions.length > 0 && h("div", { class: "actions center" }, actions));
}

/** Runs work with the button turned off and turning. */
export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  button.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-busy");
    button.removeAttribute("aria-disabled");
  }
}

/** A button whose trouble is said at the foot of the page. */
export function button(text, cls, work) {
  const el = h("button", { type: "button", class: cls }, text);
  el.addEventListener("click", () => {
    if (el.getAttribute("aria-disabled") === "true") return;
    busy(el, async () => work(el)).catch((error) => say(sentence(error)));
  });
  return el;
}

/** Copies text; works without the clipboard's API too, which plain http does not have. */
export function copyButton(text, label = "Copy") {
  const el = h("button", { type: "button", class: "small" }, label);
  el.addEventListener("click", async () => {
    const value = typeof text === "function" ? text() : text;
    const done = await copy(value, el);
    el.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { el.textContent = label; }, 2000);
  });
  return el;
}

async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "visually-hidden", readOnly: true, value: text });
    near.after(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    near.focus();
    return done;
  }
}

// --- lists

/**
 * A list that changes in place: rows stay what they are, so that the keyboard's focus, an
 * opened part or a half-written text outlives every look at the server.
 * make(item) returns {el, update(item), close?()}.
 */
export function rows(container, make, key = (item) => item.id) {
  const known = new Map();
  return (items) => {
    const now = new Set(items.map(key));
    for (const [id, row] of known) {
      if (now.has(id)) continue;
      if (row.el.contains(document.activeElement)) byId("main").focus({ preventScroll: true });
      row.close?.();
      row.el.remove();
      known.delete(id);
    }
    items.forEach((item, i) => {
      let row = known.get(key(item));
      if (!row) {
        row = make(item);
        known.set(key(item), row);
      }
      row.update(item);
      if (container.children[i] !== row.el) container.insertBefore(row.el, container.children[i] ?? null);
    });
  };
}

/**
 * A part of the page that is asked for. load() returns the items; show(items) puts them
 * into body; when there are none, none() says so. The returned function looks again.
 */
export function part(el, { load, body, show, none, count }) {
  let last = "";
  let first = true;
  let turn = 0;
  const put = (child) => { el.replaceChildren(child); };
  return async function look(quiet = !first) {
    const mine = ++turn;
    try {
      const items = await load(quiet);
      if (mine !== turn) return;
      const what = items.length === 0 ? "none" : "body";
      if (what !== last) put(what === "none" ? none() : body);
      last = what;
      show(items);
      if (count) setText(count, items.length ? String(items.length) : "");
      first = false;
    } catch (error) {
      if (mine !== turn || quiet && !first) return;
      last = "";
      put(notice("fail", sentence(error), button("Try again", "small", () => look(false))));
    } finally {
      el.setAttribute("aria-busy", "false");
    }
  };
}

/** The load of a part that is a plain list of the API. */
export const listOf = (url) => (quiet) => ask(url, { quiet });

/** Calls look every few seconds while the page is seen, and at once when it is seen again. */
export function every(ms, look) {
  let timer = 0;
  const turn = () => {
    clearInterval(timer);
    if (document.hidden) return;
    timer = setInterval(() => look(true), ms);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look(true);
    turn();
  });
  turn();
}
