// Requests to the admin listener's API.

const TIMEOUT_MS = 5000;
const TOKEN_KEY = "turnwheel-token";

/** An error reply: its status, and the reason in words. */
export class ErrorReply extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** There was no reply, or an incomplete one. */
export class NoReply extends Error {}

/** Stores the token until this tab is closed. */
export function storeToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

/** Removes the stored token. */
export function clearToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

/** Sends a GET, or a POST when there is a body, and returns the JSON of the reply. */
export async function request(path, content) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (content) headers["Content-Type"] = "application/json";
  const method = content ? "POST" : "GET";
  const body = content && JSON.stringify(content);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const reply = await fetch(path, { method, headers, body, signal, cache: "no-store" }).catch(throwNoReply);
  if (reply.ok) return reply.json().catch(throwNoReply);
  const failure = await reply.json().catch(() => null);
  throw new ErrorReply(reply.status, failure?.error ?? `the balancer replied ${reply.status} ${reply.statusText}`);
}

function throwNoReply() {
  throw new NoReply("the balancer does not reply");
}

/** Returns the sentence that is shown for a failed request. */
export function describeError(error) {
  if (error instanceof NoReply || error instanceof ErrorReply) return error.message;
  return `the reply could not be shown; reload this page (${error.message})`;
}
