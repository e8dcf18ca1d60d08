// Where a project's long cells are told of when nobody is there.

import { api, get, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { busy, button, byId, h, notice, say, when } from "./dom.js";

export function webhookPart(project) {
  const place = byId("webhook");
  const url = project.api("/webhook");

  async function look() {
    try {
      const hook = await get(url, { quiet: true });
      show(hook.url ? hook : null);
    } catch (error) {
      place.replaceChildren(notice("fail", sentence(error), button("Try again", "small", look)));
    } finally {
      place.setAttribute("aria-busy", "false");
    }
  }

  function show(hook) {
    const answer = h("div", { "aria-live": "polite" });
    const tell = (kind, text) => answer.replaceChildren(notice(kind, text));
    const save = h("button", { class: "main" }, "Save");
    const radio = (value, text) => h("label", { class: "check" },
      h("input", { type: "radio", name: "when", value, checked: (hook?.when ?? "always") === value }), h("span", {}, text));
    const form = h("form", { class: "form card" },
      h("label", {}, "Address", h("input", { name: "url", type: "url", required: true, maxLength: 2048, autocomplete: "off", spellcheck: false, placeholder: "https://", value: hook?.url ?? "" })),
      h("label", {}, "Secret", h("input", { name: "secret", class: "secret", maxLength: 256, autocomplete: "off", spellcheck: false, placeholder: hook?.has_secret ? "One is set; type another to change it" : "None: messages are not signed" })),
      h("label", {}, "Seconds that a cell takes at least", h("input", { name: "seconds", type: "number", required: true, min: 0, max: 86400, step: "any", value: hook?.minimal_seconds ?? 60 })),
      h("fieldset", { class: "options" }, h("legend", { class: "label" }, "Tell of"), radio("always", "every cell that has ended"), radio("failure", "only those that failed")),
      hook?.last_delivery && last(hook.last_delivery), answer,
      h("div", { class: "actions" }, save,
        hook && button("Send a test", "", () => test(tell)),
        hook && button("Remove …", "quiet", remove)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, async () => {
        const { url: address, secret, seconds, when } = form.elements;
        const asked = { url: address.value.trim(), minimal_seconds: Number(seconds.value), when: when.value };
        if (secret.value) asked.secret = secret.value;
        show(await api("PUT", url, asked));
        say("The webhook is saved.");
      }).catch((error) => tell("fail", sentence(error)));
    });
    place.replaceChildren(form);
  }

  async function test(tell) {
    const { delivered, status, error } = await api("POST", `${url}/test`);
    if (delivered) tell("good", `The test arrived: the address answered ${status}.`);
    else tell("fail", error || `The address answered ${status}.`);
  }

  async function remove() {
    const done = await ask({
      title: "Remove the webhook?", action: "Remove", danger: true, body: [h("p", {}, "Its address and secret are forgotten, and messages that wait are not sent.")],
      run: async () => { await api("DELETE", url); return true; },
    });
    if (done) show(null);
  }

  look();
}

function last(d) {
  const answer = d.error || (d.status ? `the address answered ${d.status}` : "nothing was sent yet");
  const words = { done: "The last message arrived", failed: "The last message did not arrive", pending: "The last message is under way" }[d.state] ?? d.state;
  return h("p", { class: "sub" }, `${words} (`, when(d.attempted_at ?? d.created_at), `): ${answer}`, answer.endsWith(".") ? "" : ".");
}
