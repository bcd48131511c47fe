// The queue, and the workers behind it.

import { element, fact, fill, notice, part, say, set } from "./dom.js";
import { mark, short } from "./marks.js";
import { count, took } from "./words.js";

const SLOTS = 16;
const MOST_CELLS = 512;
const LONGEST = 3;
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** What waits, and who works. */
export class Workers {
  #root;
  #cells;
  #tasks = new Map();
  #pointed = null;
  #hint;

  constructor(root) {
    this.#root = root;
    this.#cells = root.querySelector(".cells");
    this.#hint = part(root, "pointed").textContent;
    root.querySelector(".slots").append(...Array.from({ length: SLOTS }, () => element("i")));
    for (const kind of ["focusin", "pointerover"]) {
      this.#cells.addEventListener(kind, ({ target }) => this.#point(target.closest("[data-worker]")));
    }
    for (const kind of ["focusout", "pointerleave"]) this.#cells.addEventListener(kind, () => this.#point(null));
    this.#cells.addEventListener("keydown", (event) => this.#key(event));
  }

  show({ queue_depth, queue_capacity, workers, workers_busy, busy }) {
    this.#showQueue(queue_depth, queue_capacity);
    say(part(this.#root, "busy"), count(workers_busy));
    say(part(this.#root, "busy-words"), `of ${count(workers)} busy`);
    this.#tasks = new Map(busy.map((task) => [task.worker, task]));
    this.#showCells(Math.min(workers, MOST_CELLS));
    const more = workers - MOST_CELLS;
    notice(part(this.#root, "cells-more"), more > 0 ? `And ${count(more)} more workers.` : "");
    this.#showLongest(busy);
    this.#describe();
  }

  #showQueue(depth, capacity) {
    say(fact(this.#root, "queue-depth"), count(depth));
    const full = depth >= capacity;
    const words = full ? "waiting: full, the next get 503" : `waiting, at most ${count(capacity)}`;
    say(part(this.#root, "queue-words"), words);
    const slots = this.#root.querySelector(".slots").children;
    for (let at = 0; at < SLOTS; at += 1) set(slots[SLOTS - 1 - at], "data-taken", at < depth);
  }

  #showCells(number) {
    const size = number <= 16 ? "large" : number <= 64 ? "medium" : number <= 160 ? "small" : "tiny";
    set(this.#cells, "data-size", size);
    const had = this.#cells.contains(document.activeElement);
    fill(this.#cells, Array.from({ length: number }), cell, (node, _, at) => this.#showCell(node, at));
    if (had && !this.#cells.contains(document.activeElement)) this.#cells.lastElementChild?.focus();
    if (!this.#cells.querySelector("[tabindex='0']")) this.#cells.firstElementChild?.setAttribute("tabindex", 0);
  }

  #showCell(node, at) {
    const task = this.#tasks.get(at);
    const { number, colour } = mark(task?.backend ?? "");
    set(node, "data-busy", task !== undefined);
    set(node, "data-phase", task?.phase ?? null);
    set(node, "data-mark", task?.backend ? colour : null);
    say(node, String(number));
  }

  #showLongest(busy) {
    const longest = [...busy].sort((a, b) => b.for_seconds - a.for_seconds).slice(0, LONGEST);
    const lines = Array.from({ length: LONGEST }, (_, at) => (longest[at] ? sentence(longest[at]) : ""));
    if (longest.length === 0) lines[0] = "Nobody: all workers are idle.";
    fill(part(this.#root, "longest"), lines, () => element("li"), say);
  }

  #point(node) {
    this.#pointed = node;
    this.#describe();
  }

  /** What the worker does that is pointed at, in a line and for assistive technology. */
  #describe() {
    const line = part(this.#root, "pointed");
    if (!this.#pointed?.isConnected) return say(line, this.#hint);
    const number = Number(this.#pointed.dataset.worker);
    const task = this.#tasks.get(number);
    const words = task ? sentence(task) : `Worker ${number} is idle.`;
    say(line, words);
    set(this.#pointed, "title", words);
    set(this.#pointed, "aria-label", words);
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

function cell(at) {
  const label = `Worker ${at}`;
  return element("span", { "data-worker": at, role: "img", tabindex: -1, "aria-label": label });
}

function sentence({ worker, method, path, backend, phase, for_seconds }) {
  const whom = backend ? `, ${short(backend)}` : "";
  return `Worker ${worker}${whom}: ${phase} for ${took(for_seconds)}, ${method} ${path}`;
}
