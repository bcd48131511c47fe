// The queue and the workers.

import { element, fact, part, setAttribute, setNotice, setText, syncChildren } from "./dom.js";
import { count, duration, plural } from "./format.js";
import { labelOf, shortName } from "./labels.js";

const SLOTS = 16;
const MOST_CELLS = 512;
const LONGEST = 3;
/** The phases of a request, as shown. */
const ACTIVITIES = { choosing: "choosing a backend", waiting: "awaiting reply", relaying: "relaying reply" };
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** The queue, a cell for each worker, and the requests that have run longest. */
export class Workers {
  #root;
  #cells;
  #tasks = new Map();
  #selected = null;
  #hint;

  constructor(root) {
    this.#root = root;
    this.#cells = root.querySelector(".cells");
    this.#hint = part(root, "worker-details").textContent;
    root.querySelector(".slots").append(...Array.from({ length: SLOTS }, () => element("i")));
    for (const kind of ["focusin", "pointerover"]) {
      this.#cells.addEventListener(kind, ({ target }) => this.#select(target.closest("[data-worker]")));
    }
    for (const kind of ["focusout", "pointerleave"]) this.#cells.addEventListener(kind, () => this.#select(null));
    this.#cells.addEventListener("keydown", (event) => this.#key(event));
  }

  show({ queue_depth, queue_capacity, workers, workers_busy, busy }) {
    this.#showQueue(queue_depth, queue_capacity);
    setText(part(this.#root, "busy"), count(workers_busy));
    setText(part(this.#root, "busy-text"), `of ${count(workers)} busy`);
    this.#tasks = new Map(busy.map((task) => [task.worker, task]));
    this.#showCells(Math.min(workers, MOST_CELLS));
    const more = workers - MOST_CELLS;
    setNotice(part(this.#root, "cells-more"), more > 0 ? `${plural(more, "more worker")} not shown.` : "");
    this.#showLongest(busy);
    this.#describe();
  }

  #showQueue(depth, capacity) {
    setText(fact(this.#root, "queue-depth"), count(depth));
    const full = depth >= capacity;
    const text = full ? "waiting: queue full, new requests get 503" : `waiting, at most ${count(capacity)}`;
    setText(part(this.#root, "queue-text"), text);
    const slots = this.#root.querySelector(".slots").children;
    for (let at = 0; at < SLOTS; at += 1) setAttribute(slots[SLOTS - 1 - at], "data-taken", at < depth);
  }

  #showCells(number) {
    const size = number <= 16 ? "large" : number <= 64 ? "medium" : number <= 160 ? "small" : "tiny";
    setAttribute(this.#cells, "data-size", size);
    const hadFocus = this.#cells.contains(document.activeElement);
    syncChildren(this.#cells, Array.from({ length: number }), createCell, (node, _, at) => this.#showCell(node, at));
    if (hadFocus && !this.#cells.contains(document.activeElement)) this.#cells.lastElementChild?.focus();
    if (!this.#cells.querySelector("[tabindex='0']")) this.#cells.firstElementChild?.setAttribute("tabindex", 0);
  }

  #showCell(node, at) {
    const task = this.#tasks.get(at);
    const { number, colour } = labelOf(task?.backend ?? "");
    setAttribute(node, "data-busy", task !== undefined);
    setAttribute(node, "data-phase", task?.phase ?? null);
    setAttribute(node, "data-colour", task?.backend ? colour : null);
    setText(node, String(number));
  }

  #showLongest(busy) {
    const longest = [...busy].sort((a, b) => b.for_seconds - a.for_seconds).slice(0, LONGEST);
    const lines = Array.from({ length: LONGEST }, (_, at) => (longest[at] ? describe(longest[at]) : ""));
    if (longest.length === 0) lines[0] = "None: all workers are idle.";
    syncChildren(part(this.#root, "in-progress"), lines, () => element("li"), setText);
  }

  #select(node) {
    this.#selected = node;
    this.#describe();
  }

  /** Describes the selected worker in a line and to assistive technology. */
  #describe() {
    const line = part(this.#root, "worker-details");
    if (!this.#selected?.isConnected) return setText(line, this.#hint);
    const number = Number(this.#selected.dataset.worker);
    const task = this.#tasks.get(number);
    const text = task ? describe(task) : `Worker ${number} is idle.`;
    setText(line, text);
    setAttribute(this.#selected, "title", text);
    setAttribute(this.#selected, "aria-label", text);
  }

  #key(event) {
    const cells = [...this.#cells.children];
    const at = cells.indexOf(document.activeElement);
    const next = cells[this.#target(event.key, at, cells)];
    if (at < 0 || !next) return;
    event.preventDefault();
    cells[at].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  }

  #target(key, at, cells) {
    if (key === "Home") return 0;
    if (key === "End") return cells.length - 1;
    if (key in STEPS) return at + STEPS[key];
    const perRow = cells.filter((cell) => cell.offsetTop === cells[0].offsetTop).length;
    return { ArrowDown: at + perRow, ArrowUp: at - perRow }[key];
  }
}

function createCell(at) {
  const label = `Worker ${at}`;
  return element("span", { "data-worker": at, role: "img", tabindex: -1, "aria-label": label });
}

function describe({ worker, method, path, backend, phase, for_seconds }) {
  const to = backend ? `, ${shortName(backend)}` : "";
  const what = ACTIVITIES[phase] ?? phase;
  return `Worker ${worker}${to}: ${what} for ${duration(for_seconds)}, ${method} ${path}`;
}
