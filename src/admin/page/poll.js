// Polling: four times a second while the page is visible, one request at a time.

import { request } from "./api.js";

const STATE_EVERY = 250;
const REST_EVERY = 1000;
const LONGEST_PAUSE = 2000;

/**
 * Polls for as long as the page is open. The listener's methods: `state`, `history` and `demo` take the replies,
 * `historyPath` returns the path of the history, `failed` takes an error, and `locked` is called when a token is
 * required: polling then stops until `now` is called.
 */
export class Poll {
  #listener;
  #timer = null;
  #polling = false;
  #locked = false;
  #pause = STATE_EVERY;
  #restAt = 0;

  constructor(listener) {
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.#schedule(0));
    this.#schedule(0);
  }

  /** Polls at once, after a change or with a new token. */
  now() {
    this.#locked = false;
    this.#restAt = 0;
    this.#schedule(0);
  }

  #schedule(pause) {
    clearTimeout(this.#timer);
    const idle = this.#polling || this.#locked || document.visibilityState === "hidden";
    if (!idle) this.#timer = setTimeout(() => this.#round(), pause);
  }

  async #round() {
    const began = performance.now();
    this.#polling = true;
    try {
      await this.#requestAll(began);
      this.#pause = STATE_EVERY;
    } catch (error) {
      this.#failed(error);
    }
    this.#polling = false;
    this.#schedule(Math.max(0, this.#pause - (performance.now() - began)));
  }

  async #requestAll(now) {
    const state = await request("/api/state");
    this.#listener.state(state);
    if (now < this.#restAt) return;
    this.#restAt = now + REST_EVERY - STATE_EVERY / 2;
    this.#listener.history(await request(this.#listener.historyPath()));
    if (state.demo) this.#listener.demo(await request("/api/demo"));
  }

  #failed(error) {
    if (error.status === 401) {
      this.#locked = true;
      this.#listener.locked();
      return;
    }
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#restAt = 0;
    this.#listener.failed(error);
  }
}
