// The checkpoints of a project: go back to one, delete one.

import { api, base, follow, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { diffView } from "./diff.js";
import { button, byId, bytes, empty, h, listOf, notice, part, plural, progress, rows, say, setText, setWhen } from "./dom.js";
import { drawing, layOut, widthOf } from "./timeline.js";

const kinds = {
  auto: "Automatic", manual: "Kept by hand", hibernate: "Hibernation", switch: "Change of configuration",
  rollback: "Before going back", publish: "Published", variables: "Variables only",
};
const few = 20;

export function checkpointsPart(project) {
  const list = h("ul", { class: "stack tight" });
  const more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => { all = true; show(items); } });
  const put = rows(list, (c) => checkpointRow(project, c, () => look(true)));
  let items = [];
  let all = false;
  const show = (found) => {
    items = [...found].sort((a, b) => new Date(b.created_at) - new Date(a.created_at));
    const seen = all ? items : items.slice(0, few);
    const laid = layOut(seen);
    const here = new Map(project.kernels.filter((k) => k.base).map((k) => [k.base, k]));
    const width = widthOf(laid);
    put(seen.map((c) => ({ ...c, drawn: { row: laid.get(c.id), width }, here: here.get(c.id), before: items.find((o) => o.id === c.parent) })));
    more.hidden = all || items.length <= few;
    setText(more, `Show all ${items.length}`);
  };
  const look = part(byId("checkpoints"), {
    load: listOf(project.api("/checkpoints")), body: h("div", {}, list, more), show, count: byId("checkpoints-count"),
    none: () => empty("No checkpoints", "A checkpoint holds a kernel’s state and its notebook at one moment. One is kept whenever a kernel hibernates."),
  });
  return { look, again: () => items.length > 0 && show(items) };
}

const tick = (name, text) => h("label", { class: "check" }, h("input", { type: "checkbox", name }), h("span", {}, text));

function checkpointRow(project, checkpoint, look) {
  const name = h("span", { class: "title" });
  const kind = h("span", { class: "pill faint" });
  const created = h("time", {});
  const about = h("span", {});
  const place = h("div", { class: "place" });
  const now = h("span", { class: "pill", hidden: true }, "the kernel is here");
  const bar = progress("Going back");
  const trouble = h("div", {});
  const back = button("Go back to this …", "", () => apply());
  const forked = button("New project …", "quiet", () => fork());
  const branched = button("Branch", "quiet", () => branch());
  const shown = button("Share …", "quiet", () => project.share({ checkpoint }));
  const saved = button("Export …", "quiet", () => save());
  const gone = button("Delete …", "quiet", () => remove());
  const changed = h("div", {});
  const details = h("details", {}, h("summary", {}, "What changed"), changed);
  details.addEventListener("toggle", () => details.open && compare());
  const el = h("li", { class: "on-timeline" }, place, h("div", { class: "card checkpoint" },
    h("div", { class: "line" },
      h("div", { class: "what" }, h("div", { class: "line tight" }, name, kind, now), h("p", { class: "sub" }, created, about)),
      h("div", { class: "actions" }, back, branched, forked, shown, saved, gone)),
    details, bar.el, trouble));
  const url = (deed = "") => project.api(path`/checkpoints/${checkpoint.id}` + deed);

  async function apply() {
    const picked = await ask({
      title: "Go back to this checkpoint?", action: "Go back",
      body: [
        h("p", {}, `${checkpoint.notebook || "The kernel"} gets back the variables it had on ${new Date(checkpoint.created_at).toLocaleString()}. The present state is kept first, as a checkpoint of its own.`),
        tick("notebook", "Bring back the notebook’s text of that moment as well"),
        ...(checkpoint.files?.state === "kept" ? [
          tick("files", "Bring back the project’s other files; those made since stay"),
          tick("notebooks", "Bring back the project’s other notebooks"),
          tick("packages", "Bring back the installed packages; those of now are put aside"),
        ] : []),
      ],
      run: async (form) => Object.fromEntries(["notebook", "files", "notebooks", "packages"].map((n) => [n, Boolean(form.elements[n]?.checked)])),
    });
    if (!picked) return;
    trouble.replaceChildren();
    back.hidden = gone.hidden = true;
    bar.set(null, "Going back …");
    try {
      await follow(await api("POST", url("/apply"), picked, { quiet: true }), (o) => bar.set(o.progress, o.message || "Going back …"));
      say("The kernel is back at the checkpoint.");
    } catch (error) {
      trouble.replaceChildren(notice("fail", sentence(error), button("Close", "small quiet", () => trouble.replaceChildren())));
    } finally {
      back.hidden = gone.hidden = false;
      bar.hide();
      await project.lookAll();
    }
  }

  /** A project that goes on from here. */
  async function fork() {
    const picked = await ask({
      title: "New project from this checkpoint?", action: "Make the project",
      body: [
        h("p", {}, "It is yours, and has the kernel with its variables, the notebook, files and packages of that moment. What else is in this project’s home, such as keys and settings, does not come along."),
        h("label", {}, "Name", h("input", { name: "name", required: true, maxLength: 200, value: checkpoint.name || project.name })),
      ],
      run: async (form) => ({ name: form.elements.name.value }),
    });
    if (!picked) return;
    trouble.replaceChildren();
    bar.set(null, "Making the project …");
    try {
      const made = await follow(await api("POST", url("/project"), picked, { quiet: true }), (o) => bar.set(o.progress, o.message || "Making the project …"));
      const notes = made?.notes?.length ? ` Not in it: ${made.notes.join(" ")}` : "";
      trouble.replaceChildren(notice("ok", `The project “${picked.name}” is there.${notes}`, h("a", { class: "button small", href: `${base}/p/${encodeURIComponent(made.project)}` }, "Show it")));
    } catch (error) {
      trouble.replaceChildren(notice("fail", sentence(error), button("Close", "small quiet", () => trouble.replaceChildren())));
    } finally {
      bar.hide();
    }
  }

  /** A second session beside the first, which goes on as it is. */
  async function branch() {
    trouble.replaceChildren();
    bar.set(null, "Making a session …");
    try {
      const made = await follow(await api("POST", url("/branch"), {}, { quiet: true }), (o) => bar.set(o.progress, o.message || "Making a session …"));
      trouble.replaceChildren(notice("ok", `A second session goes on from here${made?.notebook ? `, with ${made.notebook}` : ""}. It wakes when something is run in it.`));
    } catch (error) {
      trouble.replaceChildren(notice("fail", sentence(error), button("Close", "small quiet", () => trouble.replaceChildren())));
    } finally {
      bar.hide();
      await project.lookAll();
    }
  }

  /** What it has otherwise than the one that it came from. */
  async function compare() {
    const { id, before } = checkpoint;
    if (changed.dataset.of === id) return;
    changed.dataset.of = id;
    changed.replaceChildren(h("p", { class: "sub" }, "Comparing …"));
    try {
      changed.replaceChildren(...changesView(await api("GET", project.api(path`/checkpoints/${before.id}/changes?now=${id}`))));
    } catch (error) {
      delete changed.dataset.of;
      changed.replaceChildren(notice("fail", sentence(error)));
    }
  }

  /** The checkpoint as a file; the browser saves it. */
  async function save() {
    const picked = await ask({
      title: "Export this checkpoint?", action: "Export",
      body: [
        h("p", {}, "One file with the notebook, the project’s files and the installed packages of that moment. “Import …” on the page of projects makes a project of it, here or on another server."),
        tick("state", "With the state of the kernel. Everything in its memory is in the file then: variables, passwords, keys and tokens too. Only this server brings it back to life."),
      ],
      run: async (form) => ({ state: form.elements.state.checked }),
    });
    if (picked) location.assign(`${base}/api/v1/${url("/export")}?state=${picked.state}`);
  }

  async function remove() {
    const done = await ask({
      title: "Delete this checkpoint?", action: "Delete", danger: true,
      body: [h("p", {}, "Nobody can go back to it afterwards, and links to it show nothing any more. The kernel and its notebook stay as they are.")],
      run: async () => { await api("DELETE", url()); return true; },
    });
    if (done) {
      say("The checkpoint is deleted.");
      await look();
    }
  }

  function update(c) {
    checkpoint = c;
    const word = kinds[c.kind] ?? c.kind ?? "";
    setText(name, c.name || c.notebook || word || c.id);
    setText(kind, word);
    setWhen(created, c.created_at, "some time ago");
    shown.hidden = !c.notebook;
    saved.hidden = c.files?.state === "pending";
    forked.hidden = c.files?.state !== "kept";
    branched.hidden = c.kind === "variables";
    now.hidden = !c.here;
    details.hidden = !c.before;
    const drawn = JSON.stringify([c.drawn, Boolean(c.here)]);
    if (place.dataset.drawn !== drawn) {
      place.dataset.drawn = drawn;
      place.style.width = `${c.drawn.width}px`;
      place.replaceChildren(drawing(c.drawn.row, c.drawn.width, Boolean(c.here)));
    }
    const facts = [c.after_count && `after [${c.after_count}]`, c.name && c.notebook, bytes(c.size), c.added_bytes < c.size && `${bytes(c.added_bytes)} of it new`, c.files?.state === "kept" && plural(c.files.files, "file")];
    setText(about, facts.filter(Boolean).map((f) => ` · ${f}`).join(""));
  }

  return { el, update };
}

const words = { new: "New cell", gone: "Cell gone", edited: "Cell edited" };

/** Variables, the notebook’s text and files, as far as they differ. */
function changesView(c) {
  const out = [];
  if (c.variables?.length) {
    out.push(h("div", { class: "card table", tabIndex: 0, role: "region", "aria-label": "Variables that differ" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Variable", "Before", "Here"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, c.variables.map((v) => h("tr", {}, h("th", { scope: "row" }, v.name), [v.then, v.now].map((t) => h("td", {}, t || "–"))))))));
  }
  for (const cell of c.cells?.items ?? []) out.push(h("p", { class: "label" }, words[cell.kind]), diffView(cell.then, cell.now));
  if (c.cells?.more) out.push(h("p", { class: "sub" }, `And ${plural(c.cells.more, "more cell")}.`));
  if (c.tree?.items?.length) out.push(h("p", { class: "label" }, "Files"), h("ul", { class: "plain-list" }, c.tree.items.slice(0, 50).map((f) => h("li", {}, `${f.path}: ${f.change}`))));
  for (const note of c.notes ?? []) out.push(h("p", { class: "sub" }, note));
  if (!out.length) out.push(h("p", { class: "sub" }, "Nothing differs in variables, the notebook’s text and files."));
  return out;
}
