// What a project's owner decides of its sessions: when they are kept by themselves, and when they hibernate.

import { api, get, sentence } from "./api.js";
import { busy, byId, button, h, notice, say } from "./dom.js";

const AUTOSAVE = [
  ["", "As the operator chose"],
  ["cell", "After each cell, or group of cells"],
  ["idle", "When a session rests that has run something"],
  ["off", "Never"],
];

export function settingsPart(project) {
  const place = byId("settings");
  const url = `projects/${encodeURIComponent(project.id)}`;

  async function look() {
    try {
      show(await get(url, { quiet: true }));
    } catch (error) {
      place.replaceChildren(notice("fail", sentence(error), button("Try again", "small", look)));
    } finally {
      place.setAttribute("aria-busy", "false");
    }
  }

  function show(settings) {
    const answer = h("div", { "aria-live": "polite" });
    const save = h("button", { class: "main" }, "Save");
    const most = settings.idle_most ? Math.floor(settings.idle_most / 60) : 525600;
    const chosen = settings.idle_most ? `${most} minutes, as the operator chose, which is the most` : "never, as the operator chose";
    const form = h("form", { class: "form card" },
      h("label", {}, "Keep a checkpoint by itself", h("select", { name: "autosave" },
        AUTOSAVE.map(([value, text]) => h("option", { value, selected: value === settings.autosave }, text)))),
      h("p", { class: "sub" }, "The newest ten of each session stay. After each cell, a session pauses for a moment: longer, the more memory it has."),
      h("label", {}, "Minutes of rest before a session hibernates", h("input", {
        name: "idle", type: "number", min: 1, max: most, step: 1, placeholder: chosen, value: settings.idle_after ? settings.idle_after / 60 : "",
      })),
      h("p", { class: "sub" }, `Empty: ${chosen}.`),
      answer, h("div", { class: "actions" }, save));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, async () => {
        const { autosave, idle } = form.elements;
        show(await api("PATCH", url, { autosave: autosave.value, idle_after: Math.round(Number(idle.value || 0) * 60) }));
        say("The settings are saved.");
      }).catch((error) => answer.replaceChildren(notice("fail", sentence(error))));
    });
    place.replaceChildren(form);
  }

  look();
}
