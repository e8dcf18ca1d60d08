// Links by which something of a project is shared.

import { api, list, path } from "./api.js";
import { ask, once } from "./dialog.js";
import { button, byId, empty, h, listOf, part, plural, rows, say, setText, setWhen } from "./dom.js";

const day = 86400;

export function sharesPart(project) {
  const body = h("ul", { class: "stack tight" });
  const put = rows(body, (s) => shareRow(project, s, () => look(true)));
  const look = part(byId("shares"), {
    load: listOf(project.api("/shares")), body, show: (items) => put(items), count: byId("shares-count"),
    none: () => empty("Nothing is shared", "A link shows a notebook, or what a checkpoint has, to people who may not open this project. They can read it and make a copy of their own."),
  });
  project.share = async (what) => {
    if (await share(project, what)) await look(true);
  };
  byId("shares-tools").replaceChildren(button("Share a notebook …", "small", () => project.share({})));
  return { look };
}

const choice = (name, value, text, help, checked = false) => h("label", { class: "check" },
  h("input", { type: "radio", name, value, checked }), h("span", {}, text, help && h("span", { class: "help" }, ` ${help}`)));

/** Asks for a link to a notebook, or to a checkpoint, and tells it once. */
async function share(project, { checkpoint }) {
  const names = h("label", { hidden: true }, "Their names, separated by spaces", h("input", { name: "people", autocomplete: "off", spellcheck: false }));
  const risk = h("p", { class: "notice warn", hidden: true }, "Everything in the kernel’s memory goes with each copy: variables, passwords, keys and tokens that were typed, read or set in its environment. Tick this only if they may have all of it.");
  const known = checkpoint ? [] : notebooksOf(project);
  const options = h("datalist", { id: "share-notebooks" }, known.map((n) => h("option", { value: n })));
  const form = await ask({
    title: checkpoint ? `Share the checkpoint “${checkpoint.name || checkpoint.notebook}”` : "Share a notebook", action: "Make the link",
    body: [
      checkpoint
        ? h("p", {}, `Who opens the link reads ${checkpoint.notebook} as it was then, with its outputs. Your kernel is not started by it, and nothing of this project can be changed.`)
        : h("label", {}, "Notebook", h("input", { name: "notebook", required: true, list: "share-notebooks", autocomplete: "off", spellcheck: false, placeholder: "analysis.ipynb", value: known.length === 1 ? known[0] : "" }), options),
      !checkpoint && h("p", { class: "help" }, "Who opens the link reads it as it is at that time, with its outputs. Your kernel is not started by it, and no other file can be reached."),
      h("label", {}, "A name for the list of links", h("input", { name: "label", maxLength: 200, autocomplete: "off", placeholder: "for example: for the review" })),
      h("fieldset", {}, h("legend", { class: "label" }, "Who may open it"),
        choice("audience", "anyone", "Anyone who has the link", "", true),
        choice("audience", "people", "People who are signed in on this server"),
        choice("audience", "named", "These people", "They find it under “Shared with me”, too."), names),
      h("label", {}, "It is good for", h("select", { name: "expires" },
        h("option", { value: String(7 * day) }, "7 days"), h("option", { value: String(day) }, "1 day"), h("option", { value: String(30 * day) }, "30 days"), h("option", { value: "0" }, "as long as it is not revoked"))),
      checkpoint && h("fieldset", {}, h("legend", { class: "label" }, "What a copy has that they make"),
        choice("copies", "notebook", "The notebook alone"),
        choice("copies", "files", "The notebook, and all files and packages of the project as they were", "The kernel starts afresh.", true),
        choice("copies", "state", "All that, and the kernel with its state"), risk),
    ],
    run: async (f) => {
      const value = (name) => f.elements[name]?.value;
      return api("POST", project.api("/shares"), {
        name: value("label").trim(), audience: value("audience"), expires_seconds: Number(value("expires")),
        ...(checkpoint ? { checkpoint: checkpoint.id, copies: value("copies") } : { notebook: value("notebook").trim() }),
        ...(value("audience") === "named" ? { people: value("people").split(/[\s,]+/).filter(Boolean) } : {}),
      });
    },
    ready: (f) => {
      names.hidden = f.elements.audience.value !== "named";
      risk.hidden = f.elements.copies?.value !== "state";
      return true;
    },
  });
  if (!form) return false;
  await once({
    title: `The link to ${form.notebook} is there`, label: "Link", value: new URL(form.url, location.href).href,
    text: "It is shown only now. Whoever has it can open it, until you revoke it or it expires.",
  });
  return true;
}

/** Notebooks that have a kernel: those one is likely to mean. */
const notebooksOf = (project) => [...new Set(project.kernels.map((k) => k.notebook).filter(Boolean))];

const audiences = { anyone: "anyone with the link", people: "who is signed in" };
const copied = { files: "copies have the files", state: "copies have the kernel’s memory" };

function shareRow(project, share, look) {
  const name = h("span", { class: "title" });
  const over = h("span", { class: "pill warn" }, "Expired");
  const risky = h("span", { class: "pill warn" }, "With the kernel’s memory");
  const what = h("p", { class: "sub" });
  const opened = h("time", {});
  const often = h("span", {});
  const expires = h("p", { class: "sub" });
  const el = h("li", { class: "card share" }, h("div", { class: "line" },
    h("div", { class: "what" }, h("div", { class: "line tight" }, name, over, risky), what, h("p", { class: "sub" }, "Last opened ", opened, often), expires),
    h("div", { class: "actions" }, button("Revoke …", "quiet", () => revoke()))));

  async function revoke() {
    const done = await ask({
      title: `Revoke the link “${share.name}”?`, action: "Revoke", danger: true,
      body: [h("p", {}, "Nobody can open it from now on. Copies that people have made stay theirs. This cannot be undone.")],
      run: async () => { await api("DELETE", project.api(path`/shares/${share.id}`)); return true; },
    });
    if (done) {
      say("The link is revoked.");
      await look();
    }
  }

  function update(s) {
    share = s;
    setText(name, s.name);
    over.hidden = !s.expired;
    risky.hidden = s.copies !== "state";
    setText(what, [s.checkpoint ? `${s.notebook} of the checkpoint “${s.checkpoint_name || s.checkpoint}”` : s.notebook,
      `for ${audiences[s.audience] ?? (s.people ?? []).join(", ")}`, s.copies !== "state" && copied[s.copies]].filter(Boolean).join(" · "));
    setWhen(opened, s.opened_at);
    setText(often, s.opened ? ` · ${plural(s.opened, "time")}` : "");
    setText(expires, s.expires_at ? `${s.expired ? "Expired on" : "Good until"} ${new Date(s.expires_at).toLocaleString()}` : "");
    expires.hidden = !s.expires_at;
  }

  return { el, update };
}

/** What others share with me, on the page of projects. */
export async function sharedWithMe(section) {
  const items = await list("shared", { quiet: true });
  section.hidden = items.length === 0;
  section.querySelector("ul").replaceChildren(...items.map((s) => h("li", { class: "card row" },
    h("div", {}, h("a", { class: "title", href: s.url }, s.name), h("p", { class: "sub" }, `${s.name === s.notebook ? "" : `${s.notebook} · `}from ${s.owner}${s.at ? `, as it was on ${new Date(s.at).toLocaleString()}` : ""}`)),
    h("a", { class: "button", href: s.url, "aria-label": `Open ${s.name}` }, "Open"))));
}
