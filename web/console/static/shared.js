// A notebook that somebody shares: a copy of it.

import { api, follow, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { busy, byId, h, notice, progress } from "./dom.js";

const { secret, share, copies, owner, label } = byId("shared").dataset;

const words = {
  notebook: "A new project of yours gets the notebook. Nothing of it is run before you run it.",
  files: "A new project of yours gets the notebook, and the files and packages that were beside it. Its kernel starts afresh: run the cells to have their variables.",
  state: `A new project of yours gets the notebook, the files and packages, and the kernel itself, with all its variables: it goes on where it was. What ${owner} had in its memory comes along.`,
};

byId("copy").addEventListener("click", async () => {
  const picked = await ask({
    title: "Open a copy?", action: "Make the copy",
    body: [
      h("p", {}, words[copies] ?? words.notebook),
      h("p", { class: "help" }, `Code that you run in it acts for you in that project: run it if you trust ${owner}.`),
      h("label", {}, "Name of the project", h("input", { name: "name", required: true, maxLength: 200, value: label.replace(/\.ipynb$/, "") })),
    ],
    run: async (form) => form.elements.name.value,
  });
  if (picked) await busy(byId("copy"), () => copy(picked));
});

async function copy(name) {
  const bar = progress("Making the copy");
  const place = byId("copying");
  place.replaceChildren(bar.el);
  bar.set(null, "Making the copy …");
  try {
    const body = { name, ...(secret ? { secret } : { share }) };
    const made = await follow(await api("POST", "shared/copy", body, { quiet: true }), (o) => bar.set(o.progress, o.message || "Making the copy …"));
    const where = `${made.url}lab${made.notebook ? `/tree/${made.notebook.split("/").map(encodeURIComponent).join("/")}` : ""}`;
    if (!made.notes?.length) {
      location.assign(where);
      return;
    }
    place.replaceChildren(notice("warn", `The project “${name}” is there. Not in it: ${made.notes.join(" ")}`, h("a", { class: "button small", href: where }, "Open it")));
  } catch (error) {
    place.replaceChildren(notice("fail", sentence(error)));
  }
}
