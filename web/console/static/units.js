// What compute has cost: by day as a graph, by kernel, node, project and person as tables, and the limits.

import { api, base, get, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { button, byId, empty, h, notice, say } from "./dom.js";

const ns = "http://www.w3.org/2000/svg";
const width = 600;
const height = 96;

/** "0.125", "12.5", "1,204": three digits at least, no more than are true. */
export const units = (n) => Number(n ?? 0).toLocaleString("en", { maximumFractionDigits: n >= 100 ? 0 : n >= 1 ? 1 : 3 });
export const unitsOf = (n) => `${units(n)} ${n === 1 ? "unit" : "units"}`;

/** "2 h 05 min", "41 s". */
export function held(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  const minutes = Math.round(s / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const spans = [[7, "7 days"], [30, "30 days"], [90, "90 days"], [365, "a year"]];

/** The midnight of UTC that begins so many days, today with them. */
function since(days) {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - days + 1));
}

export const query = (days, project) =>
  `from=${encodeURIComponent(since(days).toISOString())}` + (project ? `&project=${encodeURIComponent(project)}` : "");

/** A bar for each day, oldest first; days of which nothing is told are empty. */
function daysGraph(items, days) {
  const used = new Map(items.map((d) => [d.key, d.units]));
  const list = Array.from({ length: days }, (_, i) => {
    const day = new Date(since(days).getTime() + i * 86_400_000).toISOString().slice(0, 10);
    return { day, units: used.get(day) ?? 0 };
  });
  const most = Math.max(...list.map((d) => d.units));
  const step = width / days;
  const picture = document.createElementNS(ns, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", class: "graph" })) picture.setAttribute(name, value);
  picture.setAttribute("aria-label", most > 0 ? `Units by day: ${units(most)} at most; the table has each day` : "Nothing was used");
  list.forEach((d, i) => {
    if (!(d.units > 0)) return;
    const tall = Math.max(1, (d.units / most) * (height - 6));
    const bar = document.createElementNS(ns, "rect");
    const gap = Math.min(2, step / 5);
    for (const [name, value] of Object.entries({ x: i * step + gap / 2, width: step - gap, y: height - tall, height: tall, class: "one" })) bar.setAttribute(name, value);
    const title = document.createElementNS(ns, "title");
    title.textContent = `${d.day}: ${unitsOf(d.units)}`;
    bar.append(title);
    picture.append(bar);
  });
  return h("figure", { class: "card figure-card" },
    h("figcaption", {}, h("span", { class: "title" }, "Units by day"), h("span", { class: "figure-now" }, `${units(list.at(-1).units)} today`)),
    h("div", { class: "plot" }, picture, h("span", { class: "figure-top" }, most > 0 ? units(most) : "")),
    h("p", { class: "axis" }, h("span", {}, list[0].day), h("span", {}, "today, UTC")));
}

/** One table; name(item) gives what its first column shows. */
export function usageTable(label, items, name, more) {
  return h("div", { class: "card table usage-table", tabIndex: 0, role: "region", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, label), ["Held", "Units", ""].map((t) => t || more ? h("th", { scope: "col", class: "figure" }, t) : null))),
      h("tbody", {}, items.map((i) => h("tr", {},
        h("th", { scope: "row" }, name(i), i.held > 0 && h("span", { class: "pill good" }, "now")),
        h("td", { class: "figure" }, held(i.seconds)), h("td", { class: "figure" }, units(i.units)), more && h("td", { class: "figure" }, more(i)))))));
}

const gone = (id, what) => [h("code", {}, id.slice(0, 8)), h("span", { class: "sub" }, ` a ${what} that is no more`)];
export const kernelName = (i) => (i.name ? i.name : gone(i.key, "kernel"));
export const nodeName = (i) => (i.name ? i.name : gone(i.key, "node"));

/**
 * Shows what was used in a time that the person chooses. tables is a list of [by, label, name]; extra() gives
 * more elements to stand before them.
 */
export function usageView(place, { project, tables, extra = () => [] }) {
  let days = 30;
  const choice = h("select", { "aria-label": "Time", onchange: (e) => { days = Number(e.target.value); look(); } },
    spans.map(([n, text]) => h("option", { value: n, selected: n === days ? "" : undefined }, text)));
  const download = h("a", { class: "button small", download: "usage.csv" }, "Download as CSV");

  async function look() {
    const q = query(days, project);
    download.href = `${base}/api/v1/usage.csv?${q}`;
    try {
      const [byDay, more, ...others] = await Promise.all([
        get(`usage?by=day&${q}`, { quiet: true }), extra(), ...tables.map(([by]) => get(`usage?by=${by}&${q}`, { quiet: true })),
      ]);
      const total = h("p", { class: "usage-total" }, h("strong", {}, unitsOf(byDay.units)), ` in ${spans.find(([n]) => n === days)[1]}`);
      const shown = others.map((r, i) => r.items.length > 0 && usageTable(tables[i][1], r.items, tables[i][2]));
      const had = document.activeElement === choice;
      place.replaceChildren(h("div", { class: "usage" },
        h("div", { class: "usage-head" }, total, h("div", { class: "tools" }, choice, download)),
        more,
        byDay.items.length > 0 ? daysGraph(byDay.items, days) : empty("Nothing was used", "Compute that runs is counted here, by the second."),
        h("div", { class: "usage-tables" }, shown)));
      if (had) choice.focus();
    } catch (error) {
      place.replaceChildren(notice("fail", sentence(error), button("Try again", "small", look)));
    } finally {
      place.setAttribute("aria-busy", "false");
    }
  }
  look();
  return look;
}

const windows = [["run", "in one run of a cell"], ["hour", "an hour"], ["day", "a day"], ["month", "a month"]];

/** How far limits are used up, one line for each there is. */
export function limitBars(whose, { limits, used }) {
  return windows.filter(([w]) => limits[w] > 0).map(([w, text]) => {
    const limit = limits[w];
    if (w === "run") return h("p", {}, `${whose}: ${unitsOf(limit)} ${text} at most`);
    const part = Math.min(1, used[w] / limit);
    const inner = h("i", {});
    inner.style.width = `${Math.round(part * 100)}%`;
    const now = w === "day" ? "today" : `this ${w}`;
    const words = `${units(used[w])} of ${unitsOf(limit)} ${now}`;
    return h("div", {}, h("p", {}, `${whose}: ${words}`),
      h("div", { class: "bar", role: "meter", "aria-label": `${whose}, ${now}`, "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": used[w], "aria-valuetext": words }, inner));
  });
}

/** Asks for limits and sets them at an address of the API. */
export async function changeLimits(title, url, now) {
  const done = await ask({
    title, action: "Save",
    body: [
      h("p", { class: "sub" }, "At four fifths of a limit a warning is shown. At the limit kernels hibernate with all that is in them, until the next hour, day or month begins in UTC. A cell that is over the limit of a run is interrupted."),
      windows.map(([w, text]) => h("label", {}, `Units ${text}`,
        h("input", { name: w, type: "number", min: 0, max: 1e9, step: "any", placeholder: "no limit", value: now[w] > 0 ? now[w] : "" }))),
    ],
    run: (f) => api("PUT", url, Object.fromEntries(windows.map(([w]) => [w, Number(f.elements[w].value || 0)]))),
  });
  if (done) say("The limits are saved.");
  return done;
}

/** The usage of one project, with its limits. */
export function projectUsage(project) {
  const url = path`projects/${project.id}/limits`;
  const look = usageView(byId("usage"), {
    project: project.id,
    tables: [["kernel", "Kernels", kernelName], ["node", "Nodes", nodeName]],
    extra: async () => {
      const now = await get(url, { quiet: true });
      const bars = [...limitBars("This project", now.project), ...limitBars("All projects of its owner", now.user)];
      return h("div", { class: "card limits" },
        now.news.map((n) => notice(n.level === "reached" ? "fail" : "warn", n.detail)),
        bars.length > 0 ? bars : h("p", { class: "sub" }, "There is no limit on what this project may use."),
        h("div", { class: "actions" }, button("Limits …", "", async () => {
          if (await changeLimits("Limits of this project", url, now.project.limits)) look();
        })));
    },
  });
}
