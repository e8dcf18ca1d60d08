// The machine: what the doctor finds, and the configurations.

import { list, sentence } from "./api.js";
import { busy, button, byId, bytes, copyButton, empty, h, listOf, notice, number, part, plural, progress } from "./dom.js";

const words = { ok: ["OK", "good"], warn: ["Look at this", "warn"], fail: ["Problem", "bad"] };

function finding(f) {
  const [word, colour] = words[f.status] ?? [f.status, ""];
  return h("li", { class: `card finding ${f.status}` },
    h("div", { class: "line tight" }, h("span", { class: `pill ${colour}` }, word), h("span", { class: "title" }, f.title), h("span", { class: "grow" }), h("code", { class: "faint" }, f.code)),
    f.detail && h("p", {}, f.detail),
    f.fix && h("div", { class: "fix" }, h("span", { class: "label" }, "What to do"), h("div", { class: "joined top" }, h("p", {}, f.fix), copyButton(f.fix))));
}

const doctor = byId("doctor");

async function examine() {
  const bar = progress("Checking the machine");
  bar.set(null, "Checking the machine …");
  doctor.replaceChildren(h("div", { class: "card" }, bar.el));
  doctor.setAttribute("aria-busy", "true");
  try {
    const items = await list("doctor", { quiet: true });
    const bad = items.filter((f) => f.status === "fail");
    const odd = items.filter((f) => f.status !== "fail" && f.status !== "ok");
    const good = items.filter((f) => f.status === "ok");
    const told = bad.length ? notice("fail", `${plural(bad.length, "problem")} ${bad.length === 1 ? "keeps" : "keep"} this machine from doing all it should.`)
      : odd.length ? notice("warn", `The machine works. ${plural(odd.length, "thing")} could be better.`)
        : notice("good", "The machine is well.");
    doctor.replaceChildren(h("div", {}, told, h("ul", { class: "stack tight" }, [...bad, ...odd].map(finding)),
      good.length > 0 && h("details", { class: "passed" }, h("summary", {}, `${plural(good.length, "check")} passed`), h("ul", { class: "stack tight" }, good.map(finding)))));
  } catch (error) {
    doctor.replaceChildren(notice("fail", sentence(error), button("Try again", "small", examine)));
  } finally {
    doctor.setAttribute("aria-busy", "false");
  }
}

const rowsOf = h("tbody", {});
const table = h("div", { class: "card table", tabIndex: 0, role: "region", "aria-label": "Configurations" }, h("table", {},
  h("thead", {}, h("tr", {}, ["Name", "CPUs", "Memory", "GPUs", "Units per second", "On this machine"].map((t, i) => h("th", { scope: "col", class: i > 0 && i < 5 ? "figure" : "" }, t)))), rowsOf));

const look = part(byId("configurations"), {
  load: listOf("configurations"), body: table, count: byId("configurations-count"),
  show: (items) => rowsOf.replaceChildren(...items.map((c) => h("tr", {},
    h("th", { scope: "row" }, c.name), h("td", { class: "figure" }, number(c.cpus)), h("td", { class: "figure" }, bytes(c.memory)),
    h("td", { class: "figure" }, c.gpus ? number(c.gpus) : "–"), h("td", { class: "figure" }, number(c.units_per_second)),
    h("td", {}, c.available === false ? h("span", { class: "pill faint", title: c.reason }, "Not available now") : h("span", { class: "pill good" }, "Available"))))),
  none: () => empty("No configurations", "The server’s settings name none, so no kernel can start."),
});

const again = byId("again");
again.addEventListener("click", () => busy(again, examine));
busy(again, examine);
look();
