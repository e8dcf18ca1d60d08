// Aliases: stable addresses that divide their calls among revisions of nodes.

import { api, base, follow, list, path, sentence } from "./api.js";
import { ask, once } from "./dialog.js";
import { button, byId, copyButton, empty, h, listOf, part, rows, say, setText, setWhen } from "./dom.js";
import { graphsOf } from "./graphs.js";

const target = (t) => `${t.name || t.node}${t.revision ? `@${t.revision}` : ""}`;

/** of: only those that lead to the node with this ID; suggest: the first target of a new one. */
export function aliasesPart(project, { of, suggest, changed = () => {} }) {
  const body = h("ul", { class: "stack tight" });
  const put = rows(body, (a) => aliasRow(project, a, () => look(true)));
  const all = listOf(project.api("/aliases"));
  const look = part(byId("aliases"), {
    load: async (quiet) => (await all(quiet)).filter((a) => !of || a.setting.targets.some((t) => t.node === of)),
    body, show: (items) => put(items), count: byId("aliases-count"),
    none: () => empty("No aliases", "Callers use the node’s own address. Make an alias to try a new revision on a part of the calls first."),
  });
  byId("aliases-tools")?.replaceChildren(button("New alias …", "small", async () => {
    await edit(project, null, suggest ? [suggest()] : []);
    await look(true);
    changed();
  }));
  return { look };
}

function aliasRow(project, alias, look) {
  const name = h("span", { class: "title" });
  const open = h("span", { class: "pill warn", hidden: true }, "Public");
  const since = h("time", {});
  const about = h("span", {});
  const shares = h("ul", { class: "shares" });
  const guard = h("p", { class: "sub" });
  const reason = h("p", { class: "note" });
  const history = h("div", {});
  const details = h("details", {}, h("summary", {}, "History"), history);
  const graphs = graphsOf(["Requests", "Answers", "Duration"]);
  const hour = h("details", {}, h("summary", {}, "The last hour"), h("div", { class: "history" }, graphs.el));
  const address = h("code", { tabIndex: 0 });
  const url = () => `${location.origin}${base}/aliases/${encodeURIComponent(alias.id)}/execute`;
  const el = h("li", { class: "card alias" },
    h("div", { class: "line" },
      h("div", { class: "what" }, h("div", { class: "line tight" }, name, open), h("p", { class: "sub" }, since, about)),
      h("div", { class: "actions" }, button("Change …", "", async () => { await edit(project, alias); await look(); }), button("Delete …", "quiet", () => remove()))),
    shares, guard, reason, h("div", { class: "joined address" }, address, copyButton(url, "Copy")), hour, details);
  const at = (deed = "") => project.api(path`/aliases/${alias.name}` + deed);
  const told = (error) => say(sentence(error));
  details.addEventListener("toggle", () => { if (details.open) draw().catch(told); });
  hour.addEventListener("toggle", () => { drawHour().catch(told); });

  // What is asked of an alias that is being deleted would not be found: its deletion waits for this, and nothing more is asked.
  let asked = Promise.resolve();
  let gone = false;
  const inTurn = (deed) => {
    asked = asked.catch(() => {}).then(() => (gone ? undefined : deed()));
    return asked;
  };
  const draw = () => inTurn(drawHistory);
  const drawHour = () => inTurn(drawFigures);

  async function drawFigures() {
    if (hour.open) graphs.show(await list(at("/figures"), { quiet: true }));
  }

  async function drawHistory() {
    const settings = await list(at("/history"));
    history.replaceChildren(h("ul", { class: "stack tight history" }, settings.map((s, i) => h("li", { class: "line" },
      h("div", { class: "what" }, h("span", { class: "title" }, s.targets.map((t) => `${target(t)} ${t.percent} %`).join(", ")),
        h("p", { class: "sub" }, [new Date(s.at).toLocaleString(), s.author ? `by ${s.author}` : "by itself", s.reason].filter(Boolean).join(" · "))),
      i > 0 && button("Back to this", "small", async () => {
        await follow(await api("POST", at("/rollback"), { setting: s.number }));
        say(`${alias.name} is back at setting ${s.number}.`);
        await look();
        await draw();
      })))));
  }

  async function remove() {
    const done = await ask({
      title: `Delete the alias “${alias.name}”?`, action: "Delete the alias", danger: true,
      body: [h("p", {}, "Programs that call it get an error from then on. The nodes stay.")],
      run: async () => {
        gone = true;
        await asked.catch(() => {});
        try {
          await api("DELETE", at());
        } catch (error) {
          gone = false;
          throw error;
        }
        return true;
      },
    });
    if (done) {
      say("The alias is deleted.");
      await look();
    }
  }

  function update(a) {
    const moved = a.setting.number !== alias.setting.number;
    alias = a;
    setText(name, a.name);
    open.hidden = !a.setting.public;
    setWhen(since, a.setting.at, "some time ago");
    setText(about, ` · ${a.setting.author ? `set by ${a.setting.author}` : "gone back by itself"}`);
    shares.replaceChildren(...a.setting.targets.map(share));
    const g = a.setting.guard ?? {};
    const limits = [g.error_percent && `more than ${g.error_percent} % of a target’s calls fail`, g.latency_ms && `${g.percentile} % of them take over ${g.latency_ms} ms`].filter(Boolean);
    setText(guard, limits.length ? `Goes back by itself when ${limits.join(" or ")} (in ${g.window_seconds} s, of ${g.min_calls} calls at least).` : "");
    guard.hidden = !limits.length;
    setText(reason, a.setting.reason || "");
    reason.hidden = !a.setting.reason;
    setText(address, `POST ${url()}`);
    if (moved && details.open) draw().catch(told);
    drawHour().catch(() => {}); // it is tried again at the next look
  }

  return { el, update };
}

function share(t) {
  const fill = h("i", {});
  fill.style.width = `${t.percent}%`;
  return h("li", {}, h("span", { class: "share-name" }, t.revision ? target(t) : `${target(t)} (its current revision)`), h("span", { class: "gauge wide-gauge", "aria-hidden": "true" }, fill), h("span", { class: "figure" }, `${t.percent} %`));
}

/** Asks for targets and weights; of a new alias also for its name. */
async function edit(project, alias, first = []) {
  const nodes = await list(project.api("/nodes"));
  const field = (label, props) => h("label", {}, label, h("input", { autocomplete: "off", spellcheck: false, ...props }));
  const targets = h("div", { class: "targets" });
  const sum = h("p", { class: "sub", role: "status" });
  const add = (t) => {
    const n = targets.children.length + 1;
    const line = h("div", { class: "joined" },
      h("input", { name: "target", required: true, value: t ? target(t) : "", placeholder: "node@revision", "aria-label": `Target ${n}`, list: "alias-nodes", spellcheck: false, autocomplete: "off" }),
      h("input", { name: "percent", type: "number", min: "0", max: "100", required: true, value: String(t?.percent ?? 0), "aria-label": `Percent of target ${n}`, class: "percent" }),
      h("button", { type: "button", class: "quiet", "aria-label": `Remove target ${n}`, onclick: () => { line.remove(); tell(); } }, "×"));
    targets.append(line);
    tell();
  };
  const total = () => [...targets.querySelectorAll("[name=percent]")].reduce((n, i) => n + Number(i.value), 0);
  function tell() {
    setText(sum, total() === 100 ? "100 % in all" : `${total()} % in all; it must be 100 %`);
    sum.classList.toggle("problem", total() !== 100);
  }
  targets.addEventListener("input", tell);
  const g = alias?.setting.guard ?? {};
  for (const t of alias?.setting.targets ?? first) add(t);
  if (!targets.children.length) add({ node: nodes[0]?.name ?? "", percent: 100 });
  const made = await ask({
    title: alias ? `Change the alias “${alias.name}”` : "New alias", action: alias ? "Change" : "Make the alias",
    body: [
      !alias && field("Name", { name: "name", required: true, pattern: "[a-z]([a-z0-9\\-]{0,61}[a-z0-9])?", title: "Small letters, digits and hyphens, a letter first" }),
      h("datalist", { id: "alias-nodes" }, nodes.map((n) => h("option", { value: n.name }))),
      h("fieldset", {}, h("legend", { class: "label" }, "Leads to, in percent of the calls"), targets, h("div", { class: "line" }, button("Add a target", "small", () => add(null)), sum)),
      h("details", { ...(g.error_percent || g.latency_ms ? { open: "" } : {}) }, h("summary", {}, "Go back by itself"),
        h("div", { class: "pair" },
          field("When more of a target’s calls fail, in %", { name: "error_percent", type: "number", min: "0", max: "100", step: "any", value: String(g.error_percent ?? "") }),
          field("When 95 % of them take longer, in ms", { name: "latency_ms", type: "number", min: "0", step: "any", value: String(g.latency_ms ?? "") })),
        h("div", { class: "pair" },
          field("Counted over, in seconds", { name: "window_seconds", type: "number", min: "1", max: "3600", value: String(g.window_seconds || "") , placeholder: "60" }),
          field("Not before so many calls", { name: "min_calls", type: "number", min: "1", value: String(g.min_calls || ""), placeholder: "20" }))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "public", checked: alias?.setting.public ?? false }), h("span", {}, "Public: it answers without a key")),
      field("Why, for the history", { name: "reason", maxLength: 500 }),
    ],
    ready: () => total() === 100,
    run: async (form) => {
      const f = form.elements;
      const guard = {};
      for (const key of ["error_percent", "latency_ms"]) if (Number(f[key].value) > 0) guard[key] = Number(f[key].value);
      if (Object.keys(guard).length) for (const key of ["window_seconds", "min_calls"]) if (f[key].value) guard[key] = Number(f[key].value);
      const found = [...targets.children].map((line) => {
        const [node, revision] = line.querySelector("[name=target]").value.trim().split("@");
        return { node, ...(revision ? { revision: Number(revision) || -1 } : {}), percent: Number(line.querySelector("[name=percent]").value) };
      });
      const named = alias?.name ?? f.name.value.trim();
      return follow(await api("PUT", project.api(path`/aliases/${named}`), { targets: found, guard, public: f.public.checked, reason: f.reason.value }));
    },
  });
  if (!made) return;
  if (made.key) await once({ title: `The alias “${made.name}” is there`, text: "This key is shown only now. Keep it somewhere safe.", label: "Key", value: made.key });
  say(`${made.name} leads to ${made.setting.targets.map((t) => `${target(t)} ${t.percent} %`).join(", ")}.`);
}
