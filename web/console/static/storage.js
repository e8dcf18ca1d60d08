// What a project takes on the disk, and how much it may take.

import { get, path, sentence } from "./api.js";
import { button, byId, bytes, h, notice } from "./dom.js";

export function storagePart(project) {
  const place = byId("storage");

  async function look(fresh = false) {
    try {
      show(await get(path`projects/${project.id}/usage` + (fresh ? "?fresh=true" : ""), { quiet: true }));
    } catch (error) {
      place.replaceChildren(notice("fail", sentence(error), button("Try again", "small", () => look())));
    } finally {
      place.setAttribute("aria-busy", "false");
    }
  }

  function show(usage) {
    const { files = 0, home = 0, checkpoints = 0 } = usage.project ?? {};
    const facts = h("dl", { class: "facts" },
      fact("Notebooks and files", files), fact("Packages, caches and settings", home), fact("Added by checkpoints", checkpoints));
    place.replaceChildren(h("div", { class: "card" },
      full("This project", usage.project_total, usage.project_limit),
      full("All your projects", usage.user_total, usage.user_limit),
      facts,
      h("div", { class: "actions" }, button("Count again", "quiet", () => look(true)))));
  }

  const fact = (name, n) => h("div", {}, h("dt", {}, name), h("dd", {}, bytes(n)));

  /** How full it is: with a limit a bar, and when it is reached what to do. */
  function full(name, used, limit) {
    if (!limit) return h("p", {}, `${name}: ${bytes(used)}`);
    const part = Math.min(1, used / limit);
    const inner = h("i", {});
    inner.style.width = `${Math.round(part * 100)}%`;
    return h("div", {},
      h("p", {}, `${name}: ${bytes(used)} of ${bytes(limit)}`),
      h("div", { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": used, "aria-valuetext": `${bytes(used)} of ${bytes(limit)}` }, inner),
      used >= limit && notice("warn", "There is no room left: nothing new is kept or made. Delete files, packages or checkpoints that are not needed."));
  }

  look();
}
