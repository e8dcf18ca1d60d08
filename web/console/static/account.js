// The account: password and API tokens.

import { api, path, sentence } from "./api.js";
import { ask, once } from "./dialog.js";
import { busy, button, byId, empty, h, listOf, part, rows, say, setText, setWhen } from "./dom.js";
import { same } from "./passwords.js";

const form = byId("password");
const trouble = form.querySelector(".problem");
same(form);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  trouble.hidden = true;
  try {
    const { present, password, again } = form.elements;
    await busy(form.querySelector("button"), () => api("POST", "password", { present: present?.value, password: password.value }));
    if (!present) return location.reload(); // from now on the form asks for the present one
    present.value = password.value = again.value = "";
    say("The password is kept. Other browsers are signed out.");
  } catch (error) {
    trouble.textContent = sentence(error);
    trouble.hidden = false;
  }
});

async function create() {
  const made = await ask({
    title: "New token", action: "Create",
    body: [h("label", {}, "What is it for?", h("input", { name: "name", required: true, maxLength: 200, autocomplete: "off", placeholder: "For example: nightly report" }))],
    run: (f) => api("POST", "tokens", { name: f.elements.name.value.trim() }),
  });
  if (!made) return;
  look(true);
  await once({ title: "Your new token", label: "Token", value: made.token, text: "Copy it now: it is shown only this once, and the server keeps no copy that could be shown again." });
}

async function take(token) {
  const done = await ask({
    title: `Take back “${token.name}”?`, action: "Take back", danger: true,
    body: [h("p", {}, "A program that carries this token is refused from now on.")],
    run: async () => { await api("DELETE", path`tokens/${token.id}`); return true; },
  });
  if (done) {
    say("The token is taken back.");
    await look(true);
  }
}

function row(token) {
  const name = h("span", { class: "title" });
  const created = h("time", {});
  const used = h("time", {});
  const el = h("li", { class: "card" }, h("div", { class: "line" },
    h("div", { class: "what" }, name, h("p", { class: "sub" }, "Created ", created, " · used ", used)),
    h("div", { class: "actions" }, button("Take back …", "quiet", () => take(token)))));
  return { el, update(t) { token = t; setText(name, t.name); setWhen(created, t.created_at); setWhen(used, t.used_at); } };
}

const body = h("ul", { class: "stack tight" });
const put = rows(body, row);
const look = part(byId("tokens"), {
  load: listOf("tokens"), body, show: (items) => put(items), count: byId("tokens-count"),
  none: () => empty("No tokens", "Scripts and other machines reach this server with a token instead of your password."),
});

byId("create").addEventListener("click", create);
look();
