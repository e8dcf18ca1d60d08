// Deeds on projects that more than one page offers.

import { api, base, path } from "./api.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";

export const labOf = (id, file = "") =>
  `${base}/projects/${encodeURIComponent(id)}/lab${file && "/tree/" + file.split("/").map(encodeURIComponent).join("/")}`;

export const pageOf = (id) => `${base}/p/${encodeURIComponent(id)}`;

/** Asks for a name, makes the project and opens it. */
export function createProject() {
  return ask({
    title: "New project", action: "Create and open",
    body: [h("label", {}, "Name", h("input", { name: "name", required: true, maxLength: 200, autocomplete: "off", placeholder: "For example: Churn model" }))],
    run: async (form) => {
      const made = await api("POST", "projects", { name: form.elements.name.value.trim() });
      location.assign(labOf(made.id));
      return made;
    },
  });
}

/** Resolves to true when the project is gone. */
export function deleteProject({ id, name }) {
  return ask({
    title: `Delete “${name}”?`, action: "Delete the project", danger: true,
    body: [
      h("p", {}, "Its notebooks, files, kernels, checkpoints and nodes go with it. This cannot be undone."),
      h("label", {}, "Type the project’s name to go on", h("input", { name: "name", autocomplete: "off", spellcheck: false, placeholder: name })),
    ],
    ready: (form) => form.elements.name.value.trim() === name.trim(),
    run: async () => {
      await api("DELETE", path`projects/${id}`);
      return true;
    },
  });
}
