// The projects.

import { get, list } from "./api.js";
import { button, byId, empty, every, h, listOf, part, plural, rows, say, setText, setWhen } from "./dom.js";
import { sharedWithMe } from "./shares.js";
import { createProject, deleteProject, importProject, labOf, pageOf } from "./projects.js";

const grid = h("ul", { class: "grid" });
const none = h("p", { class: "help", hidden: true }, "No project has that in its name.");
const find = byId("find");
const owners = whose();
let items = [];

/** Says whose a project is, where it is somebody else's. Only administrators see names. */
async function whose() {
  try {
    const me = await get("me", { quiet: true });
    const people = me.admin ? await list("users", { quiet: true }) : [];
    const names = new Map(people.map((p) => [p.id, p.name]));
    return (owner) => (!owner || owner === me.id || owner === me.name ? "" : ` · belongs to ${names.get(owner) ?? "somebody else"}`);
  } catch {
    return () => ""; // the projects are shown all the same
  }
}

function card(project) {
  const name = h("a", { class: "title", href: labOf(project.id) });
  const running = h("span", { class: "pill good" });
  const asleep = h("span", { class: "pill" });
  const still = h("span", { class: "pill faint" }, "No kernels");
  const created = h("time", {});
  const owner = h("span", {});
  const el = h("li", { class: "card project" },
    h("h2", {}, name),
    h("p", { class: "pills" }, running, asleep, still),
    h("p", { class: "sub" }, "Created ", created, owner),
    h("div", { class: "actions" },
      h("a", { class: "button main", href: labOf(project.id), "aria-label": `Open ${project.name}` }, "Open"),
      h("a", { class: "button", href: pageOf(project.id), "aria-label": `Details of ${project.name}` }, "Details"),
      h("span", { class: "grow" }),
      button("Delete …", "quiet", () => remove(project))));
  return {
    el,
    update(p) {
      project = p;
      setText(name, p.name);
      const { running: on = 0, hibernated: off = 0 } = p.kernels ?? {};
      setText(running, `${on} running`);
      setText(asleep, `${off} hibernated`);
      running.hidden = !on;
      asleep.hidden = !off;
      still.hidden = on + off > 0;
      setWhen(created, p.created_at, "some time ago");
      owners.then((named) => setText(owner, named(p.owner)));
    },
  };
}

async function remove(project) {
  if (await deleteProject(project)) {
    say(`“${project.name}” is deleted.`);
    await look(true);
  }
}

const put = rows(grid, card);

function show(all) {
  items = all;
  find.hidden = all.length < 7 && !find.value;
  const part = find.value.trim().toLowerCase();
  const found = all.filter((p) => p.name.toLowerCase().includes(part) || p.id.includes(part));
  none.hidden = found.length > 0;
  put(found);
  document.title = all.length ? `${plural(all.length, "project")} · Cellar` : "Projects · Cellar";
}

const look = part(byId("projects"), {
  load: listOf("projects"), body: h("div", {}, none, grid), show,
  none: () => empty("No projects yet",
    "A project holds notebooks, files and the kernels that run them. Close the tab whenever you like: you find everything as it was.",
    button("Create the first project", "main", createProject)),
});

byId("create").addEventListener("click", createProject);
byId("import").addEventListener("click", importProject);
find.addEventListener("input", () => show(items));
look();
every(10_000, look);
const shared = () => sharedWithMe(byId("shared-with-me")).catch(() => {}); // the projects are shown all the same
shared();
every(30_000, shared);
