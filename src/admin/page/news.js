// What has changed, in words: for whoever listens to the page, and for whoever looks when nothing comes any more.

import { reason } from "./ask.js";
import { notice, part, say, set } from "./dom.js";
import { count } from "./words.js";

const MOST = 3;

/** Tells what is new. */
export class News {
  #states = null;
  #gone = null;

  /** An answer has come: says which backends have changed since the one before. */
  heard({ backends }) {
    const back = this.#gone !== null;
    this.#gone = null;
    this.#link(true, "live", "up", "");
    const states = new Map(backends.map(({ name, state }) => [name, state]));
    const before = this.#states ?? states;
    this.#states = states;
    const changed = backends.filter(({ name, state }) => before.get(name) !== state);
    const removed = [...before.keys()].filter((name) => !states.has(name));
    const lines = [
      ...changed.map(({ name, state, why }) => `${name} is ${state}: ${why}.`),
      ...removed.map((name) => `${name} was removed.`),
    ];
    const said = lines.length > MOST ? [`${count(lines.length)} backends have changed.`] : lines;
    if (back) said.unshift("The balancer answers again.");
    if (said.length > 0) say(part(document, "news"), said.join(" "));
  }

  /** None has come. Says it once, and not again with each try. */
  gone(error) {
    this.#gone ??= new Date().toLocaleTimeString("en-GB");
    const why = reason(error);
    const sentence = why.charAt(0).toUpperCase() + why.slice(1);
    const words = `${sentence}. What is shown here is how it was at ${this.#gone}. This page keeps asking.`;
    this.#link(false, "no answer", "down", words);
  }

  /** The token is wanted. */
  locked() {
    this.#gone = null;
    this.#link(false, "token wanted", "checking", "");
  }

  #link(live, words, state, trouble) {
    document.body.dataset.live = String(live);
    const link = part(document, "link");
    say(link, `${live ? "✓" : "✕"} ${words}`);
    set(link, "data-state", state);
    notice(part(document, "trouble"), trouble);
  }
}
