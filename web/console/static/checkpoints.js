// The checkpoints of a project: go back to one, delete one.

import { api, base, follow, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { button, byId, bytes, empty, h, listOf, notice, part, plural, progress, rows, say, setText, setWhen } from "./dom.js";

const kinds = {
  auto: "Automatic", manual: "Kept by hand", hibernate: "Hibernation", switch: "Change of configuration",
  rollback: "Before going back", publish: "Published",
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
    put(all ? items : items.slice(0, few));
    more.hidden = all || items.length <= few;
    setText(more, `Show all ${items.length}`);
  };
  const look = part(byId("checkpoints"), {
    load: listOf(project.api("/checkpoints")), body: h("div", {}, list, more), show, count: byId("checkpoints-count"),
    none: () => empty("No checkpoints", "A checkpoint holds a kernel’s state and its notebook at one moment. One is kept whenever a kernel hibernates."),
  });
  return { look };
}

const tick = (name, text) => h("label", { class: "check" }, h("input", { type: "checkbox", name }), h("span", {}, text));

function checkpointRow(project, checkpoint, look) {
  const name = h("span", { class: "title" });
  const kind = h("span", { class: "pill faint" });
  const created = h("time", {});
  const about = h("span", {});
  const bar = progress("Going back");
  const trouble = h("div", {});
  const back = button("Go back to this …", "", () => apply());
  const forked = button("New project …", "quiet", () => fork());
  const shown = button("Share …", "quiet", () => project.share({ checkpoint }));
  const saved = button("Export …", "quiet", () => save());
  const gone = button("Delete …", "quiet", () => remove());
  const el = h("li", { class: "card checkpoint" },
    h("div", { class: "line" },
      h("div", { class: "what" }, h("div", { class: "line tight" }, name, kind), h("p", { class: "sub" }, created, about)),
      h("div", { class: "actions" }, back, forked, shown, saved, gone)),
    bar.el, trouble);
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
    const facts = [c.name && c.notebook, bytes(c.size), c.added_bytes < c.size && `${bytes(c.added_bytes)} of it new`, c.files?.state === "kept" && plural(c.files.files, "file")];
    setText(about, facts.filter(Boolean).map((f) => ` · ${f}`).join(""));
  }

  return { el, update };
}
