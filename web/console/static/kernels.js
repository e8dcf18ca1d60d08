// The kernels of a project: state, use, another configuration, hibernate, resume, shut down.

import { api, follow, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { button, byId, bytes, empty, gauge, h, listOf, notice, number, part, plural, progress, rows, say, setText, setWhen } from "./dom.js";
import { labOf } from "./projects.js";

// What is said of each state, its colour, and whether it passes by itself.
export const states = {
  starting: ["Starting", "info", true], running: ["Running", "good", false], switching: ["Switching", "info", true],
  freezing: ["Freezing", "info", true], hibernated: ["Hibernated", "", false], resuming: ["Resuming", "info", true], dead: ["Dead", "bad", false],
};

export function size(c) {
  const parts = [plural(c.cpus, "CPU"), bytes(c.memory)];
  if (c.gpus) parts.push(plural(c.gpus, "GPU"));
  return parts.join(", ");
}

export const kernelName = (k) => k.notebook || `Kernel ${k.id.slice(0, 8)}`;

export function kernelsPart(project, { changed, shown }) {
  const body = h("ul", { class: "stack" });
  const put = rows(body, (k) => kernelRow(project, k, () => look(true)));
  let items = [];
  const again = () => { put(items); };
  const show = (found) => {
    const before = new Map(items.map((k) => [k.id, k]));
    const moved = items.length > 0 && found.some((k) => before.get(k.id)?.state !== k.state);
    const based = found.some((k) => before.get(k.id)?.base !== k.base);
    project.kernels = items = found;
    again();
    if (moved) changed();
    else if (based) shown();
  };
  const look = part(byId("kernels"), {
    load: listOf(project.api("/kernels")), body, show, count: byId("kernels-count"),
    none: () => empty("No kernels", "A kernel starts by itself when a notebook runs its first cell, and keeps its variables until you shut it down.",
      h("a", { class: "button", href: labOf(project.id) }, "Open the project")),
  });
  /** Takes what an event tells of one kernel. */
  const told = (kernel) => {
    const at = items.findIndex((k) => k.id === kernel.id);
    if (kernel.gone || at < 0) look(true);
    else show(items.with(at, { ...items[at], ...kernel }));
  };
  return { look, again, told };
}

function kernelRow(project, kernel, look) {
  let working = false; // an operation that was started here is being followed
  const name = h("span", { class: "title" });
  const pill = h("span", { class: "pill" });
  const detail = h("p", { class: "sub" });
  const active = h("time", {});
  const since = h("time", {});
  const size = h("dd", {});
  const cpu = figure("CPU");
  const memory = figure("Memory");
  const bar = progress("Progress");
  const trouble = h("div", {});
  const actions = {
    configuration: button("Configuration …", "", () => change()),
    hibernate: button("Hibernate", "", () => operate("Hibernating", "hibernate")),
    resume: button("Resume", "main", () => operate("Resuming", "resume")),
    remove: button("Shut down …", "quiet", () => remove()),
  };
  const el = h("li", { class: "card kernel", tabIndex: -1 },
    h("div", { class: "line" }, name, pill, h("span", { class: "grow" }), h("div", { class: "actions" }, Object.values(actions))),
    detail,
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Configuration"), size), cpu.el, memory.el,
      h("div", {}, h("dt", {}, "Last active"), h("dd", {}, active)),
      h("div", {}, h("dt", {}, "State since"), h("dd", {}, since))),
    bar.el, trouble);

  const url = (deed = "") => project.api(path`/kernels/${kernel.id}` + deed);

  async function operate(doing, deed, body) {
    trouble.replaceChildren();
    working = true;
    bar.set(null, `${doing} …`);
    el.focus({ preventScroll: true }); // the button that was pressed goes away
    update(kernel);
    try {
      await follow(await api("POST", url(`/${deed}`), body, { quiet: true }), (o) => bar.set(o.progress, o.message || `${doing} …`));
    } catch (error) {
      trouble.replaceChildren(notice("fail", sentence(error), button("Close", "small quiet", () => trouble.replaceChildren())));
    } finally {
      working = false;
      bar.hide();
      await look();
      update(kernel);
    }
  }

  async function change() {
    const picked = await pickConfiguration(project, kernel);
    if (picked) await operate(`Switching to ${picked.configuration}`, "switch", picked);
  }

  async function remove() {
    const done = await ask({
      title: `Shut down ${kernelName(kernel)}?`, action: "Shut down", danger: true,
      body: [h("p", {}, "Its variables are lost. The notebook, its output and the checkpoints made so far stay.")],
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
    if (k.notebook && name.textContent !== k.notebook) name.replaceChildren(h("a", { href: labOf(project.id, k.notebook) }, k.notebook));
    else if (!k.notebook) setText(name, kernelName(k));
    pill.className = `pill ${colour}`;
    setText(pill, k.state === "running" && k.execution_state ? `${word}, ${k.execution_state}` : word);
    setText(detail, k.state_detail || "");
    detail.hidden = !k.state_detail;
    setWhen(active, k.last_activity);
    setWhen(since, k.since, "the start");
    const at = project.configurations.find((c) => c.name === k.configuration);
    setText(size, [k.configuration, k.machine && k.machine !== "local" && `on ${k.machine}`].filter(Boolean).join(" ") || "none");
    size.title = at ? `${plural(at.cpus, "CPU")}, ${bytes(at.memory)}` : "";
    const on = k.memory_limit > 0 || k.memory_bytes > 0;
    cpu.el.hidden = memory.el.hidden = !on;
    cpu.set(at ? `${number(Math.round(k.cpu_percent))} % of ${at.cpus * 100} %` : `${Math.round(k.cpu_percent)} %`, at ? k.cpu_percent / (at.cpus * 100) : -1);
    memory.set(k.memory_limit ? `${bytes(k.memory_bytes)} of ${bytes(k.memory_limit)}` : bytes(k.memory_bytes), k.memory_limit ? k.memory_bytes / k.memory_limit : -1);
    const still = !passing && !working;
    actions.configuration.hidden = !(still && (k.state === "running" || k.state === "hibernated"));
    actions.hibernate.hidden = !(still && k.state === "running");
    actions.resume.hidden = !(still && (k.state === "hibernated" || k.state === "dead" && k.checkpoint));
    setText(actions.remove, k.state === "dead" ? "Remove …" : "Shut down …");
    if (working) return;
    if (passing) bar.set(null, k.state_detail ? "" : `${word} …`);
    else bar.hide();
  }

  return { el, update };
}

function figure(label) {
  const text = h("span", {});
  const bar = gauge();
  const el = h("div", {}, h("dt", {}, label), h("dd", {}, text, bar.el));
  return { el, set(words, part) { setText(text, words); bar.set(part); } };
}

function pickConfiguration(project, kernel) {
  const options = project.configurations.map((c) => h("label", { class: `choice${c.available === false ? " off" : ""}` },
    h("input", { type: "radio", name: "configuration", value: c.name, checked: c.name === kernel.configuration, disabled: c.available === false }),
    h("span", { class: "title" }, c.name, c.name === kernel.configuration && h("span", { class: "pill faint" }, "now")),
    h("span", { class: "sub" }, size(c)),
    h("span", { class: "sub price" }, c.available === false ? (c.reason ? "no room now" : "not available here") : `${number(c.units_per_second)} ${c.units_per_second === 1 ? "unit" : "units"}/s`)));
  return ask({
    title: "Change the configuration", action: "Switch",
    body: options.length === 0 ? [h("p", {}, "The configurations are not known yet. Try again in a moment.")] : [
      h("p", {}, "The kernel keeps its variables. What you run meanwhile waits and runs afterwards."),
      h("fieldset", { class: "choices" }, h("legend", { class: "visually-hidden" }, "Configuration"), options),
      h("details", {}, h("summary", {}, "More"),
        h("label", { class: "check" }, h("input", { type: "checkbox", name: "move" }), h("span", {}, "Freeze and thaw the kernel even where its limits could be changed in place"))),
    ],
    ready: (form) => {
      const picked = form.elements.configuration?.value;
      return Boolean(picked) && (picked !== kernel.configuration || form.elements.move.checked);
    },
    run: async (form) => ({ configuration: form.elements.configuration.value, move: form.elements.move.checked }),
  });
}
