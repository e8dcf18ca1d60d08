// The packages of a project: what the person installed, what the image has, and the way back.

import { api, base, follow, get, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { button, byId, h, notice, part, plural, progress, say, setText, setWhen } from "./dom.js";

const words = { python: "Python", r: "R" };

function table(label, heads) {
  const body = h("tbody", {});
  const el = h("div", { class: "card table", tabIndex: 0, role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((t) => h("th", { scope: "col" }, t)))), body));
  return { el, put: (rows) => body.replaceChildren(...rows.map((cells) => h("tr", {}, h("th", { scope: "row" }, cells[0]), cells.slice(1).map((c) => h("td", {}, c))))) };
}

export function packagesPart(project) {
  const own = table("Your packages", ["Name", "Version", "In the image", ""]);
  const images = table("Packages of the image", ["Name", "Version", ""]);
  const none = h("p", { class: "help" }, "Nothing is installed beside what the image has. ",
    h("code", {}, "%pip install NAME"), " in a cell installs a package for all notebooks of this project.");
  const filter = h("input", { type: "search", placeholder: "Find a package", "aria-label": "Find a package of the image", oninput: () => showImage() });
  const summary = h("summary", {});
  const rest = h("details", { class: "packages" }, summary, filter, images.el);
  const bar = progress("Changing the packages");
  const trouble = h("div", {});
  const aside = h("div", {});
  const download = h("a", { class: "button", href: `${base}/api/v1/${project.api("/packages/requirements.txt")}`, download: "requirements.txt" }, "requirements.txt");
  const reset = button("Reset to the image’s …", "", () => askReset());
  const tools = h("div", { class: "actions" }, download, reset);
  const body = h("div", { class: "stack" }, bar.el, trouble, aside, none, own.el, tools, rest);
  let list = { items: [] };

  const language = (p) => (p.language === "python" ? "" : words[p.language] ?? p.language);

  function showImage() {
    const wanted = filter.value.trim().toLowerCase();
    const found = list.items.filter((p) => !p.own && p.name.toLowerCase().includes(wanted));
    images.put(found.map((p) => [p.name, p.version, language(p)]));
  }

  function show([found]) {
    list = found;
    const mine = list.items.filter((p) => p.own);
    const theirs = list.items.length - mine.length;
    own.el.hidden = mine.length === 0;
    none.hidden = mine.length > 0;
    download.hidden = !mine.some((p) => p.language === "python");
    reset.hidden = mine.length === 0;
    tools.hidden = download.hidden && reset.hidden;
    own.put(mine.map((p) => [p.name, p.version, p.image_version ?? "–", [language(p), p.requested === false && "needed by another"].filter(Boolean).join(", ")]));
    rest.hidden = theirs === 0;
    setText(summary, `${plural(theirs, "package")} of the image ${list.image ?? ""}`);
    setText(byId("packages-count"), mine.length ? String(mine.length) : "");
    showImage();
    showAside(list.aside);
    if (list.incomplete && !trouble.firstChild) trouble.replaceChildren(notice("warn", "Some packages could not be read, so this list is not complete."));
  }

  function showAside(put) {
    aside.hidden = !put;
    if (!put) {
      aside.replaceChildren();
      return;
    }
    const when = h("time", {});
    setWhen(when, put.at, "some time ago");
    aside.replaceChildren(h("div", { class: "card row" },
      h("p", {}, `${plural(put.packages, "package")} put aside `, when, "."),
      h("div", { class: "actions" }, button("Bring back", "", () => change("restore", "Bringing the packages back …", "The packages are back.")),
        button("Remove for good …", "quiet", forget))));
  }

  async function askReset() {
    const mine = list.items.filter((p) => p.own).length;
    const sure = await ask({
      title: "Reset the packages to the image’s?", action: "Reset", danger: true,
      body: [
        h("p", {}, `${plural(mine, "package")} you installed ${mine === 1 ? "is" : "are"} put aside. Notebooks and files stay as they are, and you can bring the packages back.`),
        h("p", {}, "Kernels that run keep what they have imported until they are restarted."),
      ],
      run: async () => true,
    });
    if (sure) await change("reset", "Putting the packages aside …", "The packages are the image’s again.");
  }

  async function change(deed, doing, done) {
    trouble.replaceChildren();
    tools.hidden = true;
    bar.set(null, doing);
    try {
      const told = await follow(await api("POST", project.api(`/packages/${deed}`), undefined, { quiet: true }), (o) => bar.set(o.progress, o.message || doing));
      say(done);
      if (told?.detail) trouble.replaceChildren(notice("good", told.detail, button("Close", "small quiet", () => trouble.replaceChildren())));
    } catch (error) {
      trouble.replaceChildren(notice("fail", sentence(error), button("Close", "small quiet", () => trouble.replaceChildren())));
    } finally {
      bar.hide();
      await look(true);
    }
  }

  async function forget() {
    const done = await ask({
      title: "Remove the packages for good?", action: "Remove", danger: true,
      body: [h("p", {}, "What was put aside cannot be brought back afterwards. It can be installed again.")],
      run: async () => { await api("DELETE", project.api("/packages/aside")); return true; },
    });
    if (done) {
      say("The packages are removed.");
      await look(true);
    }
  }

  const look = part(byId("packages"), {
    load: async (quiet) => [await get(project.api("/packages"), { quiet })], body, show, none: () => body,
  });
  return { look };
}
