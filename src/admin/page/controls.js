// The controls for changes, and the messages for refused changes.

import { describeError, request } from "./api.js";
import { part, setNotice, setText } from "./dom.js";
import { count } from "./format.js";

/** Sends the changes of one form, one request at a time. Changes that wait for the same path are merged. */
export class ChangeQueue {
  #refusal;
  #done;
  #waiting = [];
  #sending = false;

  /** Refusals are shown in `refusal`; `done` is called when every change has a reply. */
  constructor(refusal, done) {
    this.#refusal = refusal;
    this.#done = done;
  }

  /** Returns whether a change has no reply yet. */
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
      const refusal = await request(next.path, next.change).then(() => "", describeError);
      setNotice(this.#refusal, refusal && `Not changed: ${refusal}.`);
    }
    this.#sending = false;
    this.#done();
  }
}

/** Returns the whole number in a field. For anything else it shows a refusal and returns null. */
export function wholeNumber(input, refusal) {
  const number = input.valueAsNumber;
  if (Number.isInteger(number)) return number;
  setNotice(refusal, `Not changed: ${input.name} must be a whole number.`);
  return null;
}

/** Shows a number in a field, unless the field has the focus. */
export function setNumber(input, number) {
  const text = String(number);
  if (document.activeElement !== input && input.value !== text) input.value = text;
}

/** The form for the demo's traffic. */
export class TrafficForm {
  #form;
  #changes;

  /** `done` is called after each change. */
  constructor(form, done) {
    this.#form = form;
    const refusal = form.querySelector(".refusal");
    this.#changes = new ChangeQueue(refusal, done);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const rate = wholeNumber(form.elements.rate, refusal);
      const clients = rate === null ? null : wholeNumber(form.elements.clients, refusal);
      if (clients !== null) this.#changes.send("/api/demo/traffic", { rate, clients });
    });
  }

  /** Shows the current traffic. While the form has the focus its fields are left alone, so that both can be edited. */
  show({ rate, clients, sent, failed }) {
    const form = this.#form;
    setText(part(form, "sent"), `${count(sent)} sent, ${count(failed)} failed`);
    if (form.contains(document.activeElement) || this.#changes.busy) return;
    setNumber(form.elements.rate, rate);
    setNumber(form.elements.clients, clients);
  }
}
