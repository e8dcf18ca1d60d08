// The hub's REST API: requests, problems in the server's own words, long actions.

const root = document.documentElement.dataset;

/** Path prefix of the server, "" or "/cellar". */
export const base = root.base ?? "";

const seg = encodeURIComponent;

/** path`projects/${id}` escapes what is put in. */
export const path = (parts, ...values) =>
  parts.reduce((out, part, i) => out + seg(values[i - 1]) + part);

/** An error that can be shown: its message is a sentence for a person. */
export class Problem extends Error {
  constructor(message, { status = 0, code = "", id = "" } = {}) {
    super(message);
    this.name = "Problem";
    Object.assign(this, { status, code, id });
  }
}

/** The sentence for a person; mistakes of our own go to the browser's log as well. */
export function sentence(error) {
  if (error instanceof Problem) return error.message;
  console.error(error);
  return "Something went wrong on this page. Reload it and try again.";
}

function xsrf() {
  for (const pair of document.cookie.split(";")) {
    const [name, ...value] = pair.trim().split("=");
    if (name === "_xsrf") return decodeURIComponent(value.join("=").replace(/^"|"$/g, ""));
  }
  return root.xsrf ?? "";
}

let pending = 0;
let shown = 0;

/** While something runs for longer than a blink, the line at the top of the page moves. */
async function visibly(work) {
  const line = document.getElementById("busy");
  pending++;
  if (pending === 1) {
    shown = setTimeout(() => { if (line) line.hidden = false; }, 300);
  }
  try {
    return await work;
  } finally {
    pending--;
    if (pending === 0) {
      clearTimeout(shown);
      if (line) line.hidden = true;
    }
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  let message = told.detail || told.title || told.message;
  if (!message) {
    message = response.status >= 500
      ? "The server could not do this. Try again in a moment."
      : `The server refused this (${response.status}).`;
  }
  const id = told.id || told.error_id || "";
  return new Problem(id && response.status >= 500 && !message.includes(id) ? `${message} (In the log as ${id}.)` : message,
    { status: response.status, code: told.code, id });
}

async function request(method, url, body, signal) {
  const headers = { Accept: "application/json" };
  const file = body instanceof Blob;
  if (method !== "GET") headers["X-XSRFToken"] = xsrf();
  if (body !== undefined) headers["Content-Type"] = file ? "application/x-tar" : "application/json";
  let response;
  try {
    response = await fetch(`${base}/api/v1/${url}`, {
      method, headers, signal, credentials: "same-origin", cache: "no-store",
      body: body === undefined || file ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. Look at the connection, then try again.");
  }
  if (response.status === 401) {
    location.assign(`${base}/signin?next=${seg(location.pathname + location.search)}`);
    throw new Problem("You are signed out. Sign in again.", { status: 401 });
  }
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return null;
  return response.json().catch(() => null);
}

/** Asks the hub. quiet is for what the person did not ask for: looking again every few seconds. */
export function api(method, url, body, { signal, quiet = false } = {}) {
  const work = request(method, url, body, signal);
  return quiet ? work : visibly(work);
}

export const get = (url, options) => api("GET", url, undefined, options);

/** The items of a list. */
export const list = async (url, options) => (await get(url, options))?.items ?? [];

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Follows an operation to its end and returns its response; told is called at every step.
 * A server that goes away for a moment is asked again.
 */
export async function follow(operation, told = () => {}) {
  let misses = 0;
  for (let turn = 0; ; turn++) {
    if (operation) {
      told(operation);
      if (operation.done) break;
    }
    await pause(turn < 10 ? 250 : 1000);
    try {
      operation = await get(path`operations/${operation.id}`, { quiet: true });
      misses = 0;
    } catch (error) {
      if (error.status && error.status < 500 || ++misses > 20) throw error;
    }
  }
  if (operation.error) {
    const { detail, title, code } = operation.error;
    throw new Problem(detail || title || "This did not work.", { code });
  }
  return operation.response;
}
