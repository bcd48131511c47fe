// The cards of the backends. A card stays the same element for as long as its backend is there.

import { ChangeQueue, setNumber, wholeNumber } from "./controls.js";
import { fact, part, setAttribute, setNotice, setText, swap } from "./dom.js";
import { age, count, duration, percent, plural } from "./format.js";
import { labelBackends, labelOf } from "./labels.js";
import { reasonOf } from "./reason.js";

/** The largest number of cards: more would be slow to draw four times a second. */
const MOST = 50;

/** Up to this number of cards there is room for another box below them in their column. */
export const ROOMY = 3;

/** A sign beside each state, as the colour alone is not seen by every reader. */
const SIGNS = { up: "✓", checking: "…", down: "✕", draining: "▾" };

/** The list of backends. */
export class Backends {
  #root;
  #list;
  #cards = new Map();
  #changed;

  /** `changed` is called after each change made with a card's controls. */
  constructor(root, changed) {
    this.#root = root;
    this.#list = part(root, "cards");
    this.#changed = changed;
  }

  /** The cards' elements by backend name. */
  get cards() {
    return new Map([...this.#cards].map(([name, card]) => [name, card.element]));
  }

  show(backends) {
    const shown = backends.slice(0, MOST);
    labelBackends(shown.map(({ name }) => name));
    this.#removeAllBut(new Set(shown.map(({ name }) => name)));
    // In the balancer's order, which the arrows and the dial follow.
    this.#cards = new Map(shown.map(({ name }, at) => [name, this.#card(name, at)]));
    for (const backend of shown) this.#cards.get(backend.name).show(backend);
    setAttribute(this.#list, "data-density", shown.length <= ROOMY ? "roomy" : shown.length <= 8 ? "normal" : "compact");
    const up = backends.filter(({ state }) => state === "up").length;
    setText(part(this.#root, "backends-text"), `${count(up)} of ${count(backends.length)} up`);
    const more = backends.length - shown.length;
    setNotice(part(this.#root, "backends-more"), more > 0 ? `${count(more)} more not shown.` : "");
  }

  /** Shows the settings of the demo's backends. */
  showDemo(all) {
    for (const settings of all) this.#cards.get(settings.name)?.showDemoControls(settings);
  }

  #removeAllBut(present) {
    for (const [name, card] of this.#cards) {
      if (present.has(name)) continue;
      if (card.element.contains(document.activeElement)) this.#root.querySelector("h2").focus();
      card.element.remove();
      this.#cards.delete(name);
    }
  }

  /** Returns a backend's card at its position. An element that is moved loses the focus, so it is moved only if needed. */
  #card(name, at) {
    const card = this.#cards.get(name) ?? new Card(name, this.#changed);
    this.#cards.set(name, card);
    const occupant = this.#list.children[at];
    if (occupant !== card.element) {
      const focused = card.element.contains(document.activeElement) && document.activeElement;
      this.#list.insertBefore(card.element, occupant ?? null);
      if (focused) focused.focus();
    }
    return card;
  }
}

/** The card of one backend. */
class Card {
  element;
  #name;
  #changes;

  constructor(name, changed) {
    this.#name = name;
    this.element = document.getElementById("backend").content.cloneNode(true).firstElementChild;
    setAttribute(this.element, "data-backend", name);
    setText(part(this.element, "name"), name);
    this.#changes = new ChangeQueue(this.element.querySelector(".refusal"), changed);
    for (const verb of ["drain", "resume"]) {
      this.#onClick(verb, () => this.#changes.send(encodeURI(`/api/backends/${name}/${verb}`), {}));
    }
    this.#onClick("stop", () => this.#changeBehaviour({ running: false }));
    this.#onClick("start", () => this.#changeBehaviour({ running: true }));
    this.#bindDemoControls();
  }

  #button(action) {
    return this.element.querySelector(`[data-action="${action}"]`);
  }

  #onClick(action, act) {
    const button = this.#button(action);
    setAttribute(button, "aria-label", `${button.textContent} ${this.#name}`);
    button.addEventListener("click", act);
  }

  #bindDemoControls() {
    const form = part(this.element, "demo-controls");
    const refusal = this.element.querySelector(".refusal");
    for (const [name, field] of [["delay", "delay_ms"], ["errors", "error_percent"]]) {
      form.elements[name].addEventListener("change", ({ target }) => {
        const number = wholeNumber(target, refusal);
        if (number !== null) this.#changeBehaviour({ [field]: number });
      });
    }
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Changes how the demo's backend behaves. */
  #changeBehaviour(change) {
    this.#changes.send(encodeURI(`/api/demo/backends/${this.#name}`), change);
  }

  show(backend) {
    const { lately } = backend;
    const { number, colour } = labelOf(backend.name);
    setAttribute(this.element, "data-state", backend.state);
    setAttribute(this.element, "data-requests", backend.requests);
    setAttribute(this.element, "data-colour", colour);
    setText(part(this.element, "number"), String(number));
    setText(part(this.element, "state"), `${SIGNS[backend.state] ?? "?"} ${backend.state}`);
    setAttribute(part(this.element, "state"), "data-state", backend.state);
    setText(fact(this.element, "why"), reasonOf(backend));
    setText(part(this.element, "details"), details(backend));
    setAttribute(part(this.element, "state"), "title", backend.why);
    setText(fact(this.element, "in-flight"), count(backend.in_flight));
    setText(part(this.element, "most"), backend.max_in_flight ? ` of ${count(backend.max_in_flight)}` : "");
    setText(fact(this.element, "requests"), count(backend.requests));
    setText(fact(this.element, "share"), percent(lately.share));
    setText(fact(this.element, "p50"), duration(lately.p50_seconds));
    setText(fact(this.element, "p99"), duration(lately.p99_seconds));
    setText(fact(this.element, "errors"), count(backend.errors));
    part(this.element, "bar").style.width = `${100 * (lately.share ?? 0)}%`;
    const [drain, resume] = [this.#button("drain"), this.#button("resume")];
    if (backend.state === "draining") swap(resume, drain);
    else swap(drain, resume);
  }

  showDemoControls({ delay_ms, error_percent, running }) {
    if (this.#changes.busy) return;
    const form = part(this.element, "demo-controls");
    form.hidden = false;
    setNumber(form.elements.delay, delay_ms);
    setNumber(form.elements.errors, error_percent);
    const [stop, start] = [this.#button("stop"), this.#button("start")];
    if (running) swap(stop, start);
    else swap(start, stop);
  }
}

/** The age of the state, and whatever differs from the defaults. */
function details({ for_seconds, weight, backup, failures }) {
  const texts = [`· for ${age(for_seconds)}`];
  if (weight !== 1) texts.push(`weight ${weight}`);
  if (backup) texts.push("backup");
  if (failures > 0) texts.push(plural(failures, "failed try", "failed tries"));
  return texts.join(", ");
}
