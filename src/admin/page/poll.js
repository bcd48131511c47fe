// When the balancer is asked: four times a second while somebody looks, and never twice at once.

import { ask } from "./ask.js";

const STATE_EVERY = 250;
const REST_EVERY = 1000;
const LONGEST_PAUSE = 2000;

/**
 * Asks for as long as the page is open. The listener has: state, history and demo (what was heard),
 * historyPath (what to ask for), gone (no answer that is of use) and locked (the token is wanted; then `again` begins anew).
 */
export class Poll {
  #listener;
  #timer = null;
  #asking = false;
  #locked = false;
  #pause = STATE_EVERY;
  #restAt = 0;

  constructor(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#plan(0));
    this.#plan(0);
  }

  /** Asks at once, as somebody has changed something or has given the token. */
  again() {
    this.#locked = false;
    this.#restAt = 0;
    this.#plan(0);
  }

  #plan(pause) {
    clearTimeout(this.#timer);
    const idle = this.#asking || this.#locked || document.visibilityState === "hidden";
    if (!idle) this.#timer = setTimeout(() => this.#round(), pause);
  }

  async #round() {
    const began = performance.now();
    this.#asking = true;
    try {
      await this.#askAll(began);
      this.#pause = STATE_EVERY;
    } catch (error) {
      this.#failed(error);
    }
    this.#asking = false;
    this.#plan(Math.max(0, this.#pause - (performance.now() - began)));
  }

  async #askAll(now) {
    const state = await ask("/api/state");
    this.#listener.state(state);
    if (now < this.#restAt) return;
    this.#restAt = now + REST_EVERY - STATE_EVERY / 2;
    this.#listener.history(await ask(this.#listener.historyPath()));
    if (state.demo) this.#listener.demo(await ask("/api/demo"));
  }

  #failed(error) {
    if (error.status === 401) {
      this.#locked = true;
      this.#listener.locked();
      return;
    }
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#restAt = 0;
    this.#listener.gone(error);
  }
}
