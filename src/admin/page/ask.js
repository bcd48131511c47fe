// Asking the admin listener, one question at a time.

const PATIENCE = 5000;
const KEY = "turnwheel-token";

/** An answer that says no: its status, and why in words. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** No answer, or one that broke off. */
export class Silence extends Error {}

/** Keeps the token for as long as this tab is open. */
export function remember(token) {
  sessionStorage.setItem(KEY, token);
}

/** Forgets it. */
export function forget() {
  sessionStorage.removeItem(KEY);
}

/** Asks, or with a second argument changes something, and returns what the answer says. */
export async function ask(path, change) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (change) headers["Content-Type"] = "application/json";
  const method = change ? "POST" : "GET";
  const body = change && JSON.stringify(change);
  const signal = AbortSignal.timeout(PATIENCE);
  const reply = await fetch(path, { method, headers, body, signal, cache: "no-store" }).catch(silent);
  if (reply.ok) return reply.json().catch(silent);
  const said = await reply.json().catch(() => null);
  throw new Refused(reply.status, said?.error ?? `the answer is ${reply.status} ${reply.statusText}`);
}

function silent() {
  throw new Silence("the balancer does not answer");
}

/** What a person is told of a question that failed. */
export function reason(error) {
  if (error instanceof Silence || error instanceof Refused) return error.message;
  return `this page does not understand the answer; load it again (${error.message})`;
}
