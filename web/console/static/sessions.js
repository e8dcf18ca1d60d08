// The kernels of all projects: who uses what, since when, and how to stop it.

import { api, follow, get, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { button, byId, bytes, empty, every, gauge, h, listOf, part, plural, rows, say, setText, setWhen } from "./dom.js";
import { kernelName, states } from "./kernels.js";
import { labOf, pageOf } from "./projects.js";

const body = h("tbody", {});
const columns = ["Notebook", "State", "Configuration", "CPU", "Memory", "Last active"];
const table = h("div", { class: "card table sessions", tabIndex: 0, role: "region", "aria-label": "Sessions, a table" }, h("table", {},
  h("thead", {}, h("tr", {}, columns.map((t) => h("th", { scope: "col" }, t)),
    h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Actions")))), body));
const none = h("p", { class: "help", hidden: true }, "No session has that in its name.");
const find = byId("find");
let items = [];
let me = null;
get("me", { quiet: true }).then((found) => { me = found; put(shown()); }).catch(() => {}); // without it each owner is named

/** A figure with its bar. */
function use() {
  const text = h("span", {});
  const bar = gauge();
  return { el: h("td", { class: "use" }, text, bar.el), set(words, part) { setText(text, words); bar.set(part); } };
}

/** "since 14:02", "since Mar 3". */
function sinceWords(date) {
  if (isNaN(date)) return "";
  const today = date.toDateString() === new Date().toDateString();
  return `since ${today ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString([], { month: "short", day: "numeric" })}`;
}

function row(kernel) {
  let working = ""; // what was asked for here and is not done yet
  const name = h("a", { class: "title" });
  const project = h("a", {});
  const owner = h("span", {});
  const pill = h("span", { class: "pill" });
  const detail = h("p", { class: "sub detail" });
  const size = h("td", {});
  const cpu = use();
  const memory = use();
  const since = h("p", { class: "sub" });
  const active = h("time", {});
  const clients = h("p", { class: "sub" });
  const url = (deed = "") => path`projects/${kernel.project.id}/kernels/${kernel.id}` + deed;
  const actions = {
    interrupt: button("Interrupt", "small", async () => { await api("POST", url("/interrupt")); await look(); }),
    hibernate: button("Hibernate", "small", () => operate("Hibernating …", "/hibernate")),
    resume: button("Resume", "small", () => operate("Resuming …", "/resume")),
    stop: button("Shut down …", "small quiet", stop),
  };
  const el = h("tr", { tabIndex: -1 },
    h("th", { scope: "row" }, name, h("p", { class: "sub" }, project, owner)),
    h("td", {}, pill, since, detail), size, cpu.el, memory.el, h("td", {}, active, clients),
    h("td", {}, h("div", { class: "actions tight" }, Object.values(actions))));

  async function operate(doing, deed) {
    working = doing;
    el.focus({ preventScroll: true }); // the button that was pressed goes away
    update(kernel);
    try {
      await follow(await api("POST", url(deed), undefined, { quiet: true }));
    } catch (error) {
      say(sentence(error));
    } finally {
      working = "";
      await look();
    }
  }

  async function stop() {
    const done = await ask({
      title: `Shut down ${kernelName(kernel)}?`, action: "Shut down", danger: true,
      body: [
        kernel.running_cell && h("p", { class: "notice warn" }, "A cell is running in it."),
        h("p", {}, `It belongs to the project “${kernel.project.name}”. Its variables are lost; the notebook, its output and the checkpoints made so far stay.`),
      ],
      run: async () => { await api("DELETE", url()); return true; },
    });
    if (done) {
      say("The kernel is shut down.");
      await look();
    }
  }

  function update(k) {
    kernel = k;
    const [word, colour, passing] = states[k.state] ?? [k.state, "", false];
    setText(name, kernelName(k));
    name.href = labOf(k.project.id, k.notebook);
    setText(project, k.project.name);
    project.href = pageOf(k.project.id);
    setText(owner, me && k.owner !== me.name ? ` · belongs to ${k.owner}` : "");
    pill.className = `pill ${working ? "info" : colour}`;
    const waits = k.waiting_cells ? `, ${k.waiting_cells} waiting` : "";
    setText(pill, working || (k.state === "running" && k.execution_state ? `${word}, ${k.execution_state}${waits}` : word));
    setText(detail, k.state_detail || "");
    detail.hidden = !k.state_detail;
    setText(size, k.configuration || "none");
    const all = k.cpus * 100;
    const on = k.memory_bytes > 0;
    cpu.set(on ? `${Math.round(k.cpu_percent)} %${all ? ` of ${all} %` : ""}` : "–", on && all ? k.cpu_percent / all : -1);
    memory.set(on ? `${bytes(k.memory_bytes)}${k.memory_limit ? ` of ${bytes(k.memory_limit)}` : ""}` : "–", on && k.memory_limit ? k.memory_bytes / k.memory_limit : -1);
    setText(since, sinceWords(new Date(k.since)));
    setWhen(active, k.last_activity);
    setText(clients, k.connections ? plural(k.connections, "client") : "no client");
    const still = !passing && !working;
    actions.interrupt.hidden = !(still && k.state === "running" && k.execution_state === "busy");
    actions.hibernate.hidden = !(still && k.state === "running");
    actions.resume.hidden = !(still && (k.state === "hibernated" || k.state === "dead" && k.checkpoint));
    actions.stop.hidden = !still;
    for (const [deed, el] of Object.entries(actions)) el.setAttribute("aria-label", `${{ interrupt: "Interrupt", hibernate: "Hibernate", resume: "Resume", stop: "Shut down" }[deed]} ${kernelName(k)} of ${k.project.name}`);
  }

  return { el, update };
}

const put = rows(body, row);

function shown() {
  const part = find.value.trim().toLowerCase();
  return items.filter((k) => [k.notebook, k.project.name, k.owner, k.id].some((s) => s.toLowerCase().includes(part)));
}

function show(all) {
  items = all;
  find.hidden = all.length < 7 && !find.value;
  const found = shown();
  none.hidden = found.length > 0;
  table.hidden = found.length === 0;
  put(found);
  const on = all.filter((k) => k.memory_bytes > 0);
  const used = on.reduce((sum, k) => sum + k.memory_bytes, 0);
  const cores = on.reduce((sum, k) => sum + k.cpu_percent, 0) / 100;
  setText(byId("sum"), on.length ? `${plural(on.length, "kernel")} in memory: ${bytes(used)}, ${cores.toFixed(1)} cores busy.` : "");
}

const look = part(byId("sessions"), {
  load: listOf("kernels"), body: h("div", {}, none, table), show, count: byId("sessions-count"),
  none: () => {
    setText(byId("sum"), "");
    return empty("No sessions", "A kernel starts by itself when a notebook runs its first cell.", h("a", { class: "button", href: document.querySelector("a.brand").href }, "Projects"));
  },
});

find.addEventListener("input", () => show(items));
look();
every(3000, look);
