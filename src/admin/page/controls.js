// What a person can change, and what is said where it was refused.

import { ask, reason } from "./ask.js";
import { notice, part, say } from "./dom.js";
import { count } from "./words.js";

/** Sends the changes of one form one after the other. Those that wait for the same are put together. */
export class Sender {
  #refusal;
  #done;
  #waiting = [];
  #sending = false;

  /** The refusal is said in this element; `done` hears when all has been answered. */
  constructor(refusal, done) {
    this.#refusal = refusal;
    this.#done = done;
  }

  /** Is there a change that has not been answered yet? */
  get busy() {
    return this.#sending;
  }

  async send(path, change) {
    const last = this.#waiting.at(-1);
    if (last?.path === path) Object.assign(last.change, change);
    else this.#waiting.push({ path, change });
    if (this.#sending) return;
    this.#sending = true;
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      const refusal = await ask(next.path, next.change).then(() => "", reason);
      notice(this.#refusal, refusal && `Not done: ${refusal}.`);
    }
    this.#sending = false;
    this.#done();
  }
}

/** The whole number in a field, or null if there is none: then it is said. */
export function wholeNumber(input, refusal) {
  const number = input.valueAsNumber;
  if (Number.isInteger(number)) return number;
  notice(refusal, `Not done: ${input.name} must be a whole number.`);
  return null;
}

/** Shows a number in a field, unless somebody is writing there. */
export function show(input, number) {
  const text = String(number);
  if (document.activeElement !== input && input.value !== text) input.value = text;
}

/** How much traffic the demo makes. */
export class Traffic {
  #form;
  #sender;

  constructor(form, done) {
    this.#form = form;
    const refusal = form.querySelector(".refusal");
    this.#sender = new Sender(refusal, done);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const rate = wholeNumber(form.elements.rate, refusal);
      const clients = rate === null ? null : wholeNumber(form.elements.clients, refusal);
      if (clients !== null) this.#sender.send("/api/demo/traffic", { rate, clients });
    });
  }

  /** Shows how it is. Fields that somebody is filling in, one after the other, are left to them. */
  show({ rate, clients, sent, failed }) {
    const form = this.#form;
    say(part(form, "sent"), `${count(sent)} sent, ${count(failed)} failed`);
    if (form.contains(document.activeElement) || this.#sender.busy) return;
    show(form.elements.rate, rate);
    show(form.elements.clients, clients);
  }
}
