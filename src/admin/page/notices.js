// Changes in words: announced to assistive technology, and shown when the balancer stops replying.

import { describeError } from "./api.js";
import { part, setAttribute, setNotice, setText } from "./dom.js";
import { count } from "./format.js";
import { reasonOf } from "./reason.js";

const MOST = 3;

/** The announcements and the state of the connection. */
export class Notices {
  #states = null;
  #lostAt = null;

  /** Announces which backends have changed since the reply before. */
  received({ backends }) {
    const back = this.#lostAt !== null;
    this.#lostAt = null;
    this.#showLink(true, "live", "up", "");
    const states = new Map(backends.map(({ name, state }) => [name, state]));
    const before = this.#states ?? states;
    this.#states = states;
    const changed = backends.filter(({ name, state }) => before.get(name) !== state);
    const removed = [...before.keys()].filter((name) => !states.has(name));
    const changes = [
      ...changed.map((backend) => `${backend.name} is ${backend.state}: ${reasonOf(backend)}.`),
      ...removed.map((name) => `${name} was removed.`),
    ];
    const sentences = changes.length > MOST ? [`${count(changes.length)} backends have changed.`] : changes;
    if (back) sentences.unshift("The balancer replies again.");
    if (sentences.length > 0) setText(part(document, "announcement"), sentences.join(" "));
  }

  /** Shows that the balancer does not reply. The text stays the same while retries fail. */
  failed(error) {
    this.#lostAt ??= new Date().toLocaleTimeString("en-GB");
    const reason = describeError(error);
    const sentence = reason.charAt(0).toUpperCase() + reason.slice(1);
    this.#showLink(false, "no reply", "down", `${sentence}. This page shows the state at ${this.#lostAt} and keeps trying.`);
  }

  /** Shows that a token is required. */
  locked() {
    this.#lostAt = null;
    this.#showLink(false, "token required", "checking", "");
  }

  #showLink(live, words, state, trouble) {
    document.body.dataset.live = String(live);
    const link = part(document, "link");
    setText(link, `${live ? "✓" : "✕"} ${words}`);
    setAttribute(link, "data-state", state);
    setNotice(part(document, "trouble"), trouble);
  }
}
