// The arrows between clients, balancer and backends, and the dots that move along them.

import { element, part, setAttribute, svgElement, syncChildren } from "./dom.js";
import { labelOf } from "./labels.js";

const MOST_DOTS = 64;
const FIRST_LEG = 280;
const INSIDE = 60;
const SECOND_LEG = 620;
const GAP = 6;
const RAIL = 13;
const STEPS = 24;

/** The layer of arrows and dots. */
export class Drawing {
  #root;
  #routes = new Map();
  #idle;
  #drawnFor = "";
  #cards = new Map();
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(root) {
    this.#root = root;
    this.#idle = Array.from({ length: MOST_DOTS }, () => element("i", { class: "dot" }));
    part(root, "dots").append(...this.#idle);
    const watch = new ResizeObserver(() => this.#layOut());
    for (const node of [root, root.querySelector(".clients"), root.querySelector(".balancer"), part(root, "cards")]) {
      watch.observe(node);
    }
  }

  /** Shows arrows to these cards, by backend name. */
  show(cards) {
    this.#cards = cards;
    const key = [...cards.keys()].join();
    if (key !== this.#drawnFor) this.#layOut();
    this.#drawnFor = key;
    const lines = part(this.#root, "routes").children;
    [...cards].forEach(([name, card], at) => {
      const line = lines[at + 1];
      if (!line) return;
      setAttribute(line, "data-state", card.dataset.state);
      setAttribute(line, "data-colour", labelOf(name).colour);
    });
  }

  /** Starts dots, as far as there are idle ones. */
  send(dots) {
    if (this.#still.matches) return;
    for (const dot of dots.slice(0, this.#idle.length)) this.#travel(this.#idle.pop(), dot);
  }

  /** Moves a dot from the clients to the balancer, and on to the chosen backend, if there is one. */
  async #travel(node, { backend, failed, after }) {
    setAttribute(node, "data-failed", failed);
    setAttribute(node, "data-colour", null);
    await this.#move(node, "", FIRST_LEG, after);
    if (backend !== null) {
      setAttribute(node, "data-colour", labelOf(backend).colour);
      await this.#move(node, backend, SECOND_LEG, INSIDE);
    }
    this.#idle.push(node);
  }

  /** Moves a dot along a route. Only transform and opacity change, so nothing else is repainted. */
  async #move(node, name, duration, delay) {
    const route = this.#routes.get(name);
    if (!route) return;
    const at = ([x, y]) => ({ opacity: 1, transform: `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)` });
    await node.animate(evenly(route).map(at), { duration, delay }).finished.catch(() => {});
  }

  /** Measures the boxes and redraws the arrows. */
  #layOut() {
    const origin = this.#root.getBoundingClientRect();
    const box = (node) => {
      const { left, right, top, bottom } = node.getBoundingClientRect();
      const [x, y] = [origin.left, origin.top];
      return { left: left - x, right: right - x, top: top - y, bottom: bottom - y };
    };
    const clients = box(this.#root.querySelector(".clients"));
    const balancer = box(this.#root.querySelector(".balancer"));
    const dial = box(this.#root.querySelector("[data-pointer]"));
    this.#routes = new Map([["", toBalancer(clients, balancer)]]);
    for (const [name, card] of this.#cards) this.#routes.set(name, toCard(balancer, dial, box(card)));
    const lines = [...this.#routes.values()];
    const create = () => svgElement("path", { class: "route", "marker-end": "url(#head)" });
    syncChildren(part(this.#root, "routes"), lines, create, (line, points) => {
      setAttribute(line, "d", `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`);
    });
  }
}

const middle = (from, to) => (from + to) / 2;

/** The route from the clients to the balancer: to the right if it is beside them, otherwise down. */
function toBalancer(clients, balancer) {
  if (balancer.left >= clients.right) {
    const y = Math.min(middle(clients.top, clients.bottom), balancer.top + 96);
    return [[clients.right + GAP, y], [balancer.left - GAP, y]];
  }
  const x = middle(clients.left, clients.right);
  return [[x, clients.bottom + GAP], [x, balancer.top - GAP]];
}

/** The route from the dial to a backend: a curve to the right, or a line down along the margin. */
function toCard(balancer, dial, card) {
  const y = Math.min(middle(card.top, card.bottom), card.top + 60);
  if (card.left >= balancer.right) {
    const from = [dial.right + GAP, middle(dial.top, dial.bottom)];
    return curve(from, [card.left - GAP, y]);
  }
  const x = card.left - RAIL - GAP;
  return [[x, balancer.bottom + GAP], [x, card.top + 34], [card.left - GAP + 4, card.top + 34]];
}

/** The points of a curve that starts and ends horizontally. */
function curve([x, y], [toX, toY]) {
  const bend = (toX - x) / 2;
  return Array.from({ length: STEPS + 1 }, (_, step) => {
    const t = step / STEPS;
    const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
    return [a * x + b * (x + bend) + c * (toX - bend) + d * toX, (a + b) * y + (c + d) * toY];
  });
}

/** Divides a line into points at equal distances, so that a dot moves along it at a constant speed. */
function evenly(points) {
  const lengths = points.slice(1).map(([x, y], at) => Math.hypot(x - points[at][0], y - points[at][1]));
  const step = lengths.reduce((sum, length) => sum + length, 0) / STEPS;
  const line = [];
  let [at, passed] = [0, 0];
  for (let number = 0; number <= STEPS; number += 1) {
    while (at < lengths.length - 1 && number * step > passed + lengths[at]) passed += lengths[at++];
    const [[x, y], [toX, toY]] = [points[at], points[at + 1]];
    const share = lengths[at] ? (number * step - passed) / lengths[at] : 0;
    line.push([x + share * (toX - x), y + share * (toY - y)]);
  }
  return line;
}
