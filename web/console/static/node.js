// One node: its last hour, its revisions, aliases and keys.

import { api, base, get, list, path, sentence } from "./api.js";
import { aliasesPart } from "./aliases.js";
import { ask } from "./dialog.js";
import { button, byId, copyButton, every, h, notice, number, say, setText, setWhen } from "./dom.js";
import { graphsOf } from "./graphs.js";
import { keysPart } from "./keys.js";
import { callURL, signature, states, tryIt } from "./nodes.js";
import { revisionsPart } from "./revisions.js";

const { id, name, project: projectID } = byId("node").dataset;
const project = { id: projectID, api: (rest) => path`projects/${projectID}` + rest };
const node = { id, name, api: (rest) => project.api(path`/nodes/${id}` + rest) };

const revisions = revisionsPart(node, { changed: () => lookAll() });
const aliases = aliasesPart(project, { of: id, suggest: () => ({ node: id, name: now?.name, revision: now?.revision, percent: 100 }) });
const keys = keysPart(project, id);
const graphs = graphsOf();
let now = null;
let about = null;

const pause = button("Pause", "", async () => {
  await api("POST", node.api(now?.state === "paused" ? "/resume" : "/pause"));
  say(now?.state === "paused" ? "It takes calls again." : "It refuses calls from now on.");
  await look(true);
});
byId("tools").append(pause, button("Delete …", "danger", async () => {
  const done = await ask({
    title: `Delete the node “${name}”?`, action: "Delete the node", danger: true,
    body: [h("p", {}, "Programs that call it get an error from then on, and its revisions go with it. The notebook that it came from stays.")],
    run: async () => { await api("DELETE", node.api("")); return true; },
  });
  if (done) location.assign(base + path`/p/${projectID}`);
}));

function aboutCard(first) {
  const pill = h("span", { class: "pill" });
  const shape = h("p", { class: "shape" });
  const from = h("p", { class: "sub" });
  const made = h("time", {});
  const facts = ["Revision", "Calls", "Errors", "Cold starts", "Instances"].map((label) => { const dd = h("dd", {}); return [label, dd]; });
  const el = h("div", { class: "card node" }, h("div", { class: "line" }, pill, from), shape,
    h("dl", { class: "facts" }, facts.map(([label, dd]) => h("div", {}, h("dt", {}, label), dd)), h("div", {}, h("dt", {}, "Published"), h("dd", {}, made))),
    h("div", { class: "joined address" }, h("code", { tabIndex: 0 }, `POST ${callURL(first)}`), copyButton(() => callURL(first), "Copy")), tryIt(first, () => look(true)));
  return {
    el,
    update(n) {
      const [word, colour] = states[n.state] ?? [n.state, ""];
      setText(pill, word);
      pill.className = `pill ${colour}`;
      const gives = signature(n.outputs);
      setText(shape, `(${signature(n.inputs)})${gives && ` → ${gives}`}`);
      setText(from, [n.state_detail, n.notebook && `From a cell of ${n.notebook}`, n.configuration].filter(Boolean).join(" · "));
      [n.revision, n.calls, n.errors, n.cold_starts, n.instances].forEach((v, i) => setText(facts[i][1], number(v)));
      facts[2][1].classList.toggle("bad", n.errors > 0);
      setWhen(made, n.created_at, "some time ago");
      setText(pause, n.state === "paused" ? "Take calls again" : "Pause");
    },
  };
}

async function look(quiet) {
  try {
    now = await get(node.api(""), { quiet });
    if (!about) {
      about = aboutCard(now);
      byId("about").replaceChildren(about.el);
    }
    about.update(now);
  } catch (error) {
    if (!quiet || error.status === 404) byId("about").replaceChildren(notice("fail", sentence(error)));
  }
  byId("about").setAttribute("aria-busy", "false");
}

async function lookAtGraphs(quiet) {
  try {
    const minutes = await list(node.api("/figures"), { quiet });
    if (!graphs.el.isConnected) byId("graphs").replaceChildren(graphs.el);
    graphs.show(minutes);
  } catch (error) {
    if (!quiet) byId("graphs").replaceChildren(notice("fail", sentence(error)));
  }
  byId("graphs").setAttribute("aria-busy", "false");
}

const lookAll = () => Promise.all([look(true), revisions.look(true), aliases.look(true), keys.look(true), lookAtGraphs(true)]);

look();
lookAtGraphs();
revisions.look();
aliases.look();
keys.look();
every(5000, look);
every(5000, lookAtGraphs);
every(10_000, revisions.look);
every(10_000, aliases.look);
every(15_000, keys.look);
