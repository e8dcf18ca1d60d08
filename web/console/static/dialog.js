// Questions in front of the page.

import { sentence } from "./api.js";
import { busy, copyButton, h } from "./dom.js";

let ids = 0;

/**
 * Asks, does and closes: run(form) works while the dialog is still open, so that a refusal
 * is read beside what was asked. Resolves to what run returned, or undefined.
 */
export function ask({ title, body = [], action, danger = false, run, cancel = "Cancel", ready = () => true }) {
  return new Promise((resolve) => {
    const id = `dialog-${++ids}`;
    const trouble = h("p", { class: "problem", role: "alert", hidden: true });
    const go = h("button", { class: danger ? "danger main" : "main" }, action);
    const back = cancel && h("button", { type: "button", onclick: () => dialog.close() }, cancel);
    const form = h("form", { class: "form", method: "dialog" }, h("h2", { id }, title), body, trouble,
      h("div", { class: "actions" }, back, go));
    const dialog = h("dialog", { "aria-labelledby": id }, form);
    let result;
    const look = () => { go.disabled = !ready(form); };
    form.addEventListener("input", look);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      trouble.hidden = true;
      try {
        await busy(go, async () => { result = await run?.(form); });
        dialog.close();
      } catch (error) {
        trouble.textContent = sentence(error);
        trouble.hidden = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    look();
    dialog.showModal();
    (form.querySelector("input:not([type=checkbox]):not([type=radio]), input:checked") ?? (danger ? back : go)).focus();
  });
}

/** Shows what is shown once. */
export function once({ title, text, label, value }) {
  const field = h("input", { readOnly: true, value, class: "secret", spellcheck: false, onfocus: (e) => e.target.select() });
  return ask({
    title, action: "Done", cancel: "",
    body: [
      h("p", { class: "notice warn" }, text),
      h("label", {}, label, h("span", { class: "joined" }, field, copyButton(value))),
    ],
  });
}
