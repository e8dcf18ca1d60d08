// The revisions of a node: what each serves, what differs, and the way back.

import { api, follow, path } from "./api.js";
import { ask } from "./dialog.js";
import { diffView } from "./diff.js";
import { button, byId, empty, h, listOf, number, part, plural, rows, say, setText, setWhen } from "./dom.js";

export function revisionsPart(node, { changed }) {
  const body = h("ul", { class: "stack tight" });
  let items = [];
  const put = rows(body, (r) => revisionRow(node, r, () => items, changed), (r) => r.number);
  const look = part(byId("revisions"), {
    load: listOf(node.api("/revisions")), body, count: byId("revisions-count"),
    show: (found) => { items = found; put(found); },
    none: () => empty("No revisions", "This node has been deleted."),
  });
  return { look, items: () => items };
}

function revisionRow(node, revision, all, changed) {
  const name = h("span", { class: "title" });
  const pill = h("span", { class: "pill good", hidden: true }, "Current");
  const made = h("time", {});
  const about = h("span", {});
  const note = h("p", { class: "note" });
  const calls = h("p", { class: "sub" });
  const back = button("Make current", "", () => rollback());
  const gone = button("Delete …", "quiet", () => remove());
  const shown = h("div", {});
  const summary = h("summary", {}, "Source");
  const details = h("details", {}, summary, shown);
  const el = h("li", { class: "card revision" },
    h("div", { class: "line" },
      h("div", { class: "what" }, h("div", { class: "line tight" }, name, pill), h("p", { class: "sub" }, made, about), note, calls),
      h("div", { class: "actions" }, back, gone)),
    details);
  details.addEventListener("toggle", draw);

  function draw() {
    if (!details.open) return;
    const other = all().find((r) => r.number < revision.number);
    const text = revision.source ?? "";
    shown.replaceChildren(
      h("p", { class: "label" }, "Source"), h("pre", { tabIndex: 0, "aria-label": `Source of revision ${revision.number}` }, text),
      ...(other ? [h("p", { class: "label" }, `What is new since revision ${other.number}`), diffView(other.source ?? "", text), settings(other)] : []));
  }

  function settings(other) {
    const list = [];
    if (other.configuration !== revision.configuration) list.push(`Configuration: ${revision.configuration}, was ${other.configuration}`);
    if (other.checkpoint !== revision.checkpoint) list.push("It has a kernel’s state of its own");
    const shape = (r) => JSON.stringify([r.inputs ?? [], r.outputs ?? []].map((l) => l.map((f) => [f.name, f.type])));
    if (shape(other) !== shape(revision)) list.push("Inputs or outputs differ");
    return list.length ? h("ul", { class: "plain-list" }, list.map((t) => h("li", {}, t))) : "";
  }

  async function rollback() {
    const v = await follow(await api("POST", node.api("/rollback"), { revision: revision.number }));
    say(`Revision ${v.revision} answers from now on. No call was lost.`);
    await changed();
  }

  async function remove() {
    const done = await ask({
      title: `Delete revision ${revision.number}?`, action: "Delete the revision", danger: true,
      body: [h("p", {}, "Nobody can go back to it afterwards. Calls that are in it are answered first.")],
      run: async () => { await api("DELETE", node.api(path`/revisions/${revision.number}`)); return true; },
    });
    if (done) {
      say(`Revision ${revision.number} is deleted.`);
      await changed();
    }
  }

  function update(r) {
    revision = r;
    setText(name, `Revision ${r.number}`);
    pill.hidden = !r.current;
    back.hidden = gone.hidden = r.current;
    back.setAttribute("aria-label", `Make revision ${r.number} current`);
    gone.setAttribute("aria-label", `Delete revision ${r.number}`);
    setWhen(made, r.created_at, "some time ago");
    setText(about, [r.author && `by ${r.author}`, r.notebook && `from ${r.notebook}`, r.configuration].filter(Boolean).map((t) => ` · ${t}`).join(""));
    setText(note, r.note || "");
    note.hidden = !r.note;
    const facts = [r.calls && `${plural(r.calls, "call")} since the server started`, r.errors && `${number(r.errors)} failed`, r.instances && plural(r.instances, "instance")];
    setText(calls, facts.filter(Boolean).join(" · "));
    calls.hidden = !calls.textContent;
  }

  return { el, update };
}
