// Deeds on projects that more than one page offers.

import { api, base, follow, path } from "./api.js";
import { ask } from "./dialog.js";
import { h, progress } from "./dom.js";

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

/** Makes a project of a checkpoint that was exported. What did not come along is read before it is opened. */
export async function importProject() {
  const bar = progress("Importing");
  const made = await ask({
    title: "Import a checkpoint", action: "Import",
    body: [
      h("p", {}, "A new project of yours gets the notebook, files and packages of a checkpoint that was exported, and its kernel too if this server exported it."),
      h("p", { class: "help" }, "Packages and variables in it run code in that project’s kernel: import what is of people you trust."),
      h("label", {}, "File", h("input", { name: "file", type: "file", required: true, accept: ".tar,application/x-tar" })),
      h("label", {}, "Name of the project", h("input", { name: "name", maxLength: 200, autocomplete: "off", placeholder: "the checkpoint’s" })),
      bar.el,
    ],
    run: async (form) => {
      bar.set(null, "Sending the file …");
      try {
        const begun = await api("POST", `checkpoints/import?name=${encodeURIComponent(form.elements.name.value.trim())}`, form.elements.file.files[0], { quiet: true });
        return await follow(begun, (o) => bar.set(o.progress, o.message || "Importing …"));
      } finally {
        bar.hide();
      }
    },
  });
  if (!made) return;
  if (made.notes?.length) {
    await ask({ title: "The project is there", action: "Open it", cancel: "", body: [h("ul", { class: "notes" }, made.notes.map((n) => h("li", {}, n)))] });
  }
  location.assign(labOf(made.project, made.notebook));
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
