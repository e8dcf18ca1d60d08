// Who has an account; for administrators.

import { api } from "./api.js";
import { ask, once } from "./dialog.js";
import { byId, empty, h, listOf, part, rows, setText, setWhen } from "./dom.js";

const place = byId("people");

async function create() {
  const made = await ask({
    title: "Add a person", action: "Add",
    body: [
      h("label", {}, "Name", h("input", { name: "name", required: true, maxLength: 200, autocomplete: "off", autocapitalize: "none", spellcheck: false })),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "admin" }), h("span", {}, "Administrator: may add people and look after the machine")),
    ],
    run: (f) => api("POST", "users", { name: f.elements.name.value.trim(), admin: f.elements.admin.checked }),
  });
  if (!made) return;
  look(true);
  if (made.password) {
    await once({ title: `${made.name} can sign in`, label: "Password", value: made.password,
      text: `Give this password to ${made.name}: it is shown only this once. It can be changed under Account.` });
  }
}

function row() {
  const name = h("span", { class: "title" });
  const admin = h("span", { class: "pill info" }, "Administrator");
  const you = h("span", { class: "pill faint" }, "You");
  const created = h("time", {});
  const el = h("li", { class: "card" }, h("div", { class: "line tight" }, name, admin, you, h("span", { class: "grow" }), h("span", { class: "sub" }, "since ", created)));
  return { el, update(p) { setText(name, p.name); admin.hidden = !p.admin; you.hidden = p.name !== place.dataset.me; setWhen(created, p.created_at, "the start"); } };
}

const body = h("ul", { class: "stack tight" });
const put = rows(body, row);
const look = part(place, {
  load: listOf("users"), body, show: (items) => put(items), count: byId("people-count"),
  none: () => empty("Nobody yet", "Add the people who work on this server."),
});

byId("create").addEventListener("click", create);
look();
