// The nodes of a project: what they take and give, how to call them, a call right here.

import { api, base, path, sentence } from "./api.js";
import { ask } from "./dialog.js";
import { busy, button, byId, copyButton, empty, h, listOf, number, part, plural, rows, say, setText, setWhen } from "./dom.js";

export const states = {
  idle: ["Idle", ""], starting: ["Starting", "info"], running: ["Running", "good"], paused: ["Paused", "warn"], failed: ["Failed", "bad"],
};

export const callURL = (node) => `${location.origin}${base}/nodes/${encodeURIComponent(node.id)}/execute`;

// A value to begin with where the node gives no example, by the type's name in JSON or in Python.
const examples = {
  int: 1, integer: 1, float: 1.5, number: 1.5, str: "text", string: "text", bool: true, boolean: true,
  list: [], array: [], tuple: [], dict: {}, object: {}, bytes: "",
};

function example(node) {
  const body = {};
  for (const { name, type, example: seen } of node.inputs ?? []) {
    body[name] = seen ?? examples[String(type ?? "").toLowerCase().replace(/\[.*$/, "")] ?? null;
  }
  return JSON.stringify(body, null, 2);
}

/** One word for a shell, whatever is in it. */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(node, body) {
  let small = body;
  try { small = JSON.stringify(JSON.parse(body)); } catch { /* shown as it is written */ }
  return [
    `curl -X POST ${quote(callURL(node))} \\`,
    "  -H \"Authorization: Bearer $CELLAR_KEY\" \\",
    "  -H 'Content-Type: application/json' \\",
    `  -d ${quote(small)}`,
  ].join("\n");
}

export const signature = (list) => (list ?? []).map((v) => (typeof v === "string" ? v : v.type ? `${v.name}: ${v.type}` : v.name)).join(", ");

export function nodesPart(project) {
  const body = h("ul", { class: "stack" });
  const put = rows(body, (n) => nodeRow(project, n, () => look(true)));
  const look = part(byId("nodes"), {
    load: listOf(project.api("/nodes")), body, show: (items) => put(items), count: byId("nodes-count"),
    none: () => empty("No nodes", "A node answers HTTP calls with what a cell computes. Publish a cell from its notebook, and it appears here."),
  });
  return { look };
}

function nodeRow(project, node, look) {
  const link = h("a", { href: base + path`/p/${project.id}/nodes/${node.id}` });
  const name = h("span", { class: "title" }, link);
  const pill = h("span", { class: "pill" });
  const shape = h("p", { class: "shape" });
  const from = h("p", { class: "sub" });
  const created = h("time", {});
  const fact = (label) => { const dd = h("dd", {}); return [dd, h("div", {}, h("dt", {}, label), dd)]; };
  const [calls, callsEl] = fact("Calls");
  const [errors, errorsEl] = fact("Errors");
  const [instances, instancesEl] = fact("Instances");
  const [revision, revisionEl] = fact("Revision");
  const el = h("li", { class: "card node" },
    h("div", { class: "line" }, name, pill, h("span", { class: "grow" }), h("div", { class: "actions" }, button("Delete …", "quiet", () => remove()))),
    shape, from,
    h("dl", { class: "facts" }, revisionEl, callsEl, errorsEl, instancesEl, h("div", {}, h("dt", {}, "Published"), h("dd", {}, created))),
    h("div", { class: "joined address" }, h("code", { tabIndex: 0 }, `POST ${callURL(node)}`), copyButton(() => callURL(node), "Copy")),
    tryIt(node, look));

  async function remove() {
    const done = await ask({
      title: `Delete the node “${node.name}”?`, action: "Delete the node", danger: true,
      body: [h("p", {}, "Programs that call it get an error from then on. The notebook that it came from stays.")],
      run: async () => { await api("DELETE", project.api(path`/nodes/${node.id}`)); return true; },
    });
    if (done) {
      say("The node is deleted.");
      await look();
    }
  }

  function update(n) {
    node = n;
    const [word, colour] = states[n.state] ?? [n.state, ""];
    setText(link, n.name || n.id);
    setText(pill, word);
    pill.className = `pill ${colour}`;
    const gives = signature(n.outputs);
    setText(shape, `(${signature(n.inputs)})${gives && ` → ${gives}`}`);
    shape.hidden = shape.textContent === "()";
    setText(from, [n.state_detail, n.notebook && `From a cell of ${n.notebook}`].filter(Boolean).join(" · "));
    from.hidden = !from.textContent;
    setText(revision, number(n.revision));
    setText(calls, number(n.calls));
    setText(errors, number(n.errors));
    errors.classList.toggle("bad", n.errors > 0);
    setText(instances, Array.isArray(n.instances) ? number(n.instances.length) : number(n.instances));
    setWhen(created, n.created_at, "some time ago");
  }

  return { el, update };
}

/** The form that calls the node from here. The key stays in its field: it is kept nowhere. */
export function tryIt(node, called) {
  const body = h("textarea", { rows: Math.min(12, Math.max(3, example(node).split("\n").length)), spellcheck: false, class: "code", value: example(node) });
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: false, required: true, placeholder: "Shown once when the node was published" });
  const trouble = h("p", { class: "problem", role: "alert", hidden: true });
  const status = h("p", { class: "answer-head", role: "status" });
  const text = h("pre", { tabIndex: 0, "aria-label": "Answer" });
  const answer = h("div", { class: "answer", hidden: true }, status, text);
  const snippet = h("pre", { tabIndex: 0, "aria-label": "The same call with curl" });
  const write = () => { snippet.textContent = curl(node, body.value); };
  const go = h("button", { class: "main" }, "Call");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const form = h("form", { class: "form" },
    h("label", {}, "Body, as JSON", body), h("label", {}, "Key of the node", key), trouble,
    h("div", { class: "actions" }, stop, go));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trouble.hidden = true;
    try {
      JSON.parse(body.value);
    } catch (error) {
      trouble.textContent = `The body is not JSON: ${error.message}.`;
      trouble.hidden = false;
      body.focus();
      return;
    }
    busy(go, call);
  });

  async function call() {
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    stop.hidden = false;
    answer.hidden = false;
    text.textContent = "";
    const start = performance.now();
    const took = () => { const ms = performance.now() - start; return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`; };
    status.className = "answer-head";
    status.textContent = "Calling …";
    const clock = setInterval(() => { status.textContent = `Calling … ${took()}`; }, 500);
    try {
      const response = await fetch(`${base}/nodes/${encodeURIComponent(node.id)}/execute`, {
        method: "POST", signal: abort.signal, credentials: "omit", cache: "no-store", body: body.value,
        headers: { Authorization: `Bearer ${key.value.trim()}`, "Content-Type": "application/json" },
      });
      const raw = await response.text();
      status.textContent = `${response.status} ${response.statusText} · ${took()} · ${plural(raw.length, "character")}`;
      status.classList.add(response.ok ? "good" : "bad");
      text.textContent = pretty(raw);
    } catch (error) {
      status.classList.add("bad");
      if (abort.signal.aborted) status.textContent = `Stopped after ${took()}.`;
      else status.textContent = error instanceof TypeError ? `The server does not answer, or the key has characters that cannot be sent (${took()}).` : sentence(error);
    } finally {
      clearInterval(clock);
      stop.hidden = true;
      called();
    }
  }

  body.addEventListener("input", write);
  write();
  return h("details", { class: "try" }, h("summary", {}, "Try it"),
    h("div", { class: "two" }, h("div", {}, form, answer),
      h("div", {}, h("div", { class: "line tight" }, h("span", { class: "label" }, "With curl"), h("span", { class: "grow" }), copyButton(() => snippet.textContent)), snippet)));
}

function pretty(raw) {
  const limit = 100_000;
  try {
    raw = JSON.stringify(JSON.parse(raw), null, 2);
  } catch { /* shown as it came */ }
  return raw.length > limit ? `${raw.slice(0, limit)}\n… ${plural(raw.length - limit, "character")} more` : raw;
}
