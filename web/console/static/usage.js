// What compute has cost me; for administrators, everybody, and by person.

import { base, get, path, sentence } from "./api.js";
import { button, byId, h, notice } from "./dom.js";
import { changeLimits, limitBars, query, usageTable, usageView } from "./units.js";

const projectName = (i) => (i.name ? h("a", { href: `${base}/p/${encodeURIComponent(i.key)}` }, i.name) : [h("code", {}, i.key), h("span", { class: "sub" }, " deleted")]);
const admin = byId("all").dataset.admin === "true";

usageView(byId("usage"), { tables: [["project", "Projects", projectName]] });

/** Everybody, also who has used nothing: a limit may be set before. */
async function people() {
  const place = byId("users");
  try {
    const [report, users] = await Promise.all([get(`usage?by=user&${query(30)}`, { quiet: true }), get("users", { quiet: true })]);
    const limits = await Promise.all(users.items.map((u) => get(path`users/${u.id}/limits`, { quiet: true })));
    const used = new Map(report.items.map((i) => [i.key, i]));
    const items = users.items.map((u, n) => ({ seconds: 0, units: 0, held: 0, ...used.get(u.id), key: u.id, name: u.name, standing: limits[n] }))
      .sort((a, b) => b.units - a.units || a.name.localeCompare(b.name));
    place.replaceChildren(h("p", { class: "help" }, "The last 30 days, today with them."), usageTable("People", items,
      (i) => [h("span", {}, i.name), h("div", { class: "limits sub" }, limitBars("Limit", i.standing))],
      (i) => button("Limits …", "small", async () => {
        if (await changeLimits(`Limits of ${i.name}`, path`users/${i.key}/limits`, i.standing.limits)) people();
      })));
  } catch (error) {
    place.replaceChildren(notice("fail", sentence(error), button("Try again", "small", people)));
  } finally {
    place.setAttribute("aria-busy", "false");
  }
}

if (admin) people();
