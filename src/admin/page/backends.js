// The backends: a card each, which stays the same element for as long as the backend is there.

import { Sender, show, wholeNumber } from "./controls.js";
import { fact, notice, part, say, set, swap } from "./dom.js";
import { know, mark } from "./marks.js";
import { count, lasted, percent, several, took } from "./words.js";

/** So many are shown. More than that nobody reads, and no browser draws four times a second. */
const MOST = 50;

/** So many leave room for something below them, where backends are in a column of their own. */
export const ROOMY = 3;

/** How a state looks beside its name, for whoever does not see its colour. */
const SIGNS = { up: "✓", checking: "…", down: "✕", draining: "▾" };

/** The list of backends. */
export class Backends {
  #root;
  #list;
  #cards = new Map();
  #changed;

  /** `changed` hears of each change that a person has made here. */
  constructor(root, changed) {
    this.#root = root;
    this.#list = part(root, "cards");
    this.#changed = changed;
  }

  /** The cards' elements by the backends' names. */
  get cards() {
    return new Map([...this.#cards].map(([name, card]) => [name, card.element]));
  }

  /** Shows these. */
  show(backends) {
    const shown = backends.slice(0, MOST);
    know(shown.map(({ name }) => name));
    this.#leave(new Set(shown.map(({ name }) => name)));
    // In the balancer's order, too: arrows and the dial go by it.
    this.#cards = new Map(shown.map(({ name }, at) => [name, this.#card(name, at)]));
    for (const backend of shown) this.#cards.get(backend.name).show(backend);
    set(this.#list, "data-density", shown.length <= ROOMY ? "roomy" : shown.length <= 8 ? "normal" : "compact");
    const up = backends.filter(({ state }) => state === "up").length;
    say(part(this.#root, "backends-words"), `${count(up)} of ${count(backends.length)} up`);
    const more = backends.length - shown.length;
    notice(part(this.#root, "backends-more"), more > 0 ? `And ${count(more)} more that are not shown.` : "");
  }

  /** Shows what the demo's backends are told to do. */
  showDemo(all) {
    for (const props of all) this.#cards.get(props.name)?.showProps(props);
  }

  #leave(here) {
    for (const [name, card] of this.#cards) {
      if (here.has(name)) continue;
      if (card.element.contains(document.activeElement)) this.#root.querySelector("h2").focus();
      card.element.remove();
      this.#cards.delete(name);
    }
  }

  /** A backend's card, in its place. Elements lose the focus when they are moved, so they seldom are. */
  #card(name, at) {
    const card = this.#cards.get(name) ?? new Card(name, this.#changed);
    this.#cards.set(name, card);
    const there = this.#list.children[at];
    if (there !== card.element) {
      const focused = card.element.contains(document.activeElement) && document.activeElement;
      this.#list.insertBefore(card.element, there ?? null);
      if (focused) focused.focus();
    }
    return card;
  }
}

/** One backend. */
class Card {
  element;
  #name;
  #sender;

  constructor(name, changed) {
    this.#name = name;
    this.element = document.getElementById("backend").content.cloneNode(true).firstElementChild;
    set(this.element, "data-backend", name);
    say(part(this.element, "name"), name);
    this.#sender = new Sender(this.element.querySelector(".refusal"), changed);
    for (const verb of ["drain", "resume"]) {
      this.#pressed(verb, () => this.#sender.send(encodeURI(`/api/backends/${name}/${verb}`), {}));
    }
    this.#pressed("stop", () => this.#tell({ running: false }));
    this.#pressed("start", () => this.#tell({ running: true }));
    this.#bindProps();
  }

  #button(action) {
    return this.element.querySelector(`[data-action="${action}"]`);
  }

  #pressed(action, act) {
    const button = this.#button(action);
    set(button, "aria-label", `${button.textContent} ${this.#name}`);
    button.addEventListener("click", act);
  }

  #bindProps() {
    const form = part(this.element, "props");
    const refusal = this.element.querySelector(".refusal");
    for (const [name, field] of [["delay", "delay_ms"], ["errors", "error_percent"]]) {
      form.elements[name].addEventListener("change", ({ target }) => {
        const number = wholeNumber(target, refusal);
        if (number !== null) this.#tell({ [field]: number });
      });
    }
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Tells the demo's backend what to do. */
  #tell(change) {
    this.#sender.send(encodeURI(`/api/demo/backends/${this.#name}`), change);
  }

  show(backend) {
    const { lately } = backend;
    const { number, colour } = mark(backend.name);
    set(this.element, "data-state", backend.state);
    set(this.element, "data-requests", backend.requests);
    set(this.element, "data-mark", colour);
    say(part(this.element, "number"), String(number));
    say(part(this.element, "state"), `${SIGNS[backend.state] ?? "?"} ${backend.state}`);
    set(part(this.element, "state"), "data-state", backend.state);
    say(fact(this.element, "why"), backend.why);
    say(part(this.element, "since"), since(backend));
    set(part(this.element, "state"), "title", backend.why);
    say(fact(this.element, "in-flight"), count(backend.in_flight));
    say(part(this.element, "most"), backend.max_in_flight ? ` of ${count(backend.max_in_flight)}` : "");
    say(fact(this.element, "requests"), count(backend.requests));
    say(fact(this.element, "share"), percent(lately.share));
    say(fact(this.element, "p50"), took(lately.p50_seconds));
    say(fact(this.element, "p99"), took(lately.p99_seconds));
    say(fact(this.element, "errors"), count(backend.errors));
    part(this.element, "bar").style.width = `${100 * (lately.share ?? 0)}%`;
    const [drain, resume] = [this.#button("drain"), this.#button("resume")];
    if (backend.state === "draining") swap(resume, drain);
    else swap(drain, resume);
  }

  showProps({ delay_ms, error_percent, running }) {
    if (this.#sender.busy) return;
    const form = part(this.element, "props");
    form.hidden = false;
    show(form.elements.delay, delay_ms);
    show(form.elements.errors, error_percent);
    const [stop, start] = [this.#button("stop"), this.#button("start")];
    if (running) swap(stop, start);
    else swap(start, stop);
  }
}

/** For how long it has been so, and what else is not as usual. */
function since({ for_seconds, weight, backup, failures }) {
  const also = [`· for ${lasted(for_seconds)}`];
  if (weight !== 1) also.push(`weight ${weight}`);
  if (backup) also.push("backup");
  if (failures > 0) also.push(several(failures, "failed try", "failed tries"));
  return also.join(", ");
}
