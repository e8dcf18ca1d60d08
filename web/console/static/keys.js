// Keys of those who call a node.

import { api, path } from "./api.js";
import { ask, once } from "./dialog.js";
import { button, byId, empty, h, listOf, number, part, plural, rows, say, setText, setWhen } from "./dom.js";

export function keysPart(project, of) {
  const body = h("ul", { class: "stack tight" });
  const put = rows(body, (k) => keyRow(project, k, () => look(true)));
  const look = part(byId("keys"), {
    load: listOf(project.api("/keys") + `?for=${encodeURIComponent(of)}`), body, show: (items) => put(items), count: byId("keys-count"),
    none: () => empty("No keys", "Nobody can call this node by its own address. Make a key for each caller."),
  });
  byId("keys-tools").replaceChildren(button("New key …", "small", async () => {
    const made = await form(project, null, [of]);
    if (made) await once({ title: `The key “${made.name}” is there`, text: "It is shown only now. Keep it somewhere safe.", label: "Key", value: made.key });
    await look(true);
  }));
  return { look };
}

function form(project, key, scope) {
  const field = (label, props) => h("label", {}, label, h("input", { autocomplete: "off", spellcheck: false, ...props }));
  return ask({
    title: key ? `Change the key “${key.name}”` : "New key", action: key ? "Change" : "Make the key",
    body: [
      field("Whose it is", { name: "name", required: true, maxLength: 100, value: key?.name ?? "" }),
      field("For nodes and aliases (IDs or names, separated by spaces)", { name: "scope", required: true, value: scope.join(" ") }),
      h("div", { class: "pair" },
        field("Calls a second, at most", { name: "rate", type: "number", min: "0", step: "any", placeholder: "no limit", value: key?.rate ? String(key.rate) : "" }),
        field("Calls a day, at most", { name: "quota", type: "number", min: "0", step: "1", placeholder: "no limit", value: key?.quota ? String(key.quota) : "" })),
    ],
    run: (f) => api(key ? "PUT" : "POST", project.api("/keys") + (key ? path`/${key.id}` : ""), {
      name: f.elements.name.value, scope: f.elements.scope.value.split(/\s+/).filter(Boolean), rate: Number(f.elements.rate.value) || 0, quota: Number(f.elements.quota.value) || 0,
    }),
  });
}

function keyRow(project, key, look) {
  const name = h("span", { class: "title" });
  const used = h("time", {});
  const about = h("span", {});
  const old = h("p", { class: "sub" });
  const el = h("li", { class: "card key" }, h("div", { class: "line" },
    h("div", { class: "what" }, name, h("p", { class: "sub" }, "Last used ", used, about), old),
    h("div", { class: "actions" },
      button("Change …", "quiet", async () => { await form(project, key, key.scope); await look(); }),
      button("Rotate …", "quiet", () => rotate()), button("Revoke …", "quiet", () => revoke()))));
  const at = (deed = "") => project.api(path`/keys/${key.id}` + deed);

  async function rotate() {
    const hours = h("input", { name: "hours", type: "number", min: "0", max: "720", step: "any", required: true, value: "24" });
    const made = await ask({
      title: `Rotate the key “${key.name}”?`, action: "Rotate",
      body: [h("p", {}, "It gets a new secret. The present one stays good for a while, so that the caller can change over."), h("label", {}, "The present one stays good for, in hours", hours)],
      run: () => api("POST", at("/rotate"), { overlap_seconds: Math.round(Number(hours.value) * 3600) }),
    });
    if (made) await once({ title: `The new secret of “${key.name}”`, text: "It is shown only now. Keep it somewhere safe.", label: "Key", value: made.key });
    await look();
  }

  async function revoke() {
    const done = await ask({
      title: `Revoke the key “${key.name}”?`, action: "Revoke", danger: true,
      body: [h("p", {}, "Who calls with it is refused from now on. This cannot be undone.")],
      run: async () => { await api("DELETE", at()); return true; },
    });
    if (done) {
      say("The key is revoked.");
      await look();
    }
  }

  function update(k) {
    key = k;
    setText(name, k.name);
    setWhen(used, k.used_at);
    const today = k.quota ? `${number(k.calls_today)} of ${number(k.quota)} today` : k.calls_today ? `${plural(k.calls_today, "call")} today` : "";
    setText(about, [today, k.rate && `${number(k.rate)} a second`, k.scope.length > 1 && `for ${k.scope.length} nodes and aliases`, k.author && `made by ${k.author}`].filter(Boolean).map((t) => ` · ${t}`).join(""));
    setText(old, k.old_until ? `The secret of before is good until ${new Date(k.old_until).toLocaleString()}.` : "");
    old.hidden = !k.old_until;
  }

  return { el, update };
}
