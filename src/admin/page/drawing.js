// The arrows between clients, balancer and backends, and the requests that are seen moving along them.

import { drawn, fill, part, set } from "./dom.js";
import { mark } from "./marks.js";

const MOST_DOTS = 64;
const FIRST_LEG = 280;
const INSIDE = 60;
const SECOND_LEG = 620;
const GAP = 6;
const RAIL = 13;
const DISC = "M-6.5 0a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0";
const CROSS = "M-8-5-5-8 0-3 5-8 8-5 3 0 8 5 5 8 0 3-5 8-8 5-3 0z";

/** The drawing over the whole page. */
export class Drawing {
  #root;
  #routes = new Map();
  #dots = [];
  #idle;
  #frame = null;
  #drawnFor = "";
  #cards = new Map();
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(root) {
    this.#root = root;
    const dots = Array.from({ length: MOST_DOTS }, () => drawn("path", { class: "dot", visibility: "hidden" }));
    part(root, "dots").append(...dots);
    this.#idle = dots;
    const watch = new ResizeObserver(() => this.#layOut());
    for (const node of [root, root.querySelector(".clients"), root.querySelector(".balancer"), part(root, "cards")]) {
      watch.observe(node);
    }
  }

  /** Shows arrows to these cards, by the backends' names. */
  show(cards) {
    this.#cards = cards;
    const key = [...cards.keys()].join();
    if (key !== this.#drawnFor) this.#layOut();
    this.#drawnFor = key;
    const lines = part(this.#root, "routes").children;
    [...cards].forEach(([name, card], at) => {
      const line = lines[at + 1];
      if (!line) return;
      set(line, "data-state", card.dataset.state);
      set(line, "data-mark", mark(name).colour);
    });
  }

  /** Sends requests on their way. */
  send(dots) {
    if (this.#still.matches) return;
    const now = performance.now();
    for (const { backend, failed, after } of dots) {
      const node = this.#idle.pop();
      if (!node) return;
      set(node, "d", failed ? CROSS : DISC);
      set(node, "data-failed", failed);
      this.#dots.push({ node, backend, began: now + after });
    }
    if (this.#dots.length > 0 && this.#frame === null) this.#animate();
  }

  #animate() {
    this.#frame = requestAnimationFrame((now) => {
      this.#dots = this.#dots.filter((dot) => this.#move(dot, now) || this.#end(dot));
      this.#frame = null;
      if (this.#dots.length > 0) this.#animate();
    });
  }

  /** Moves a dot to where it is by now. False at the end of its way. */
  #move({ node, backend, began }, now) {
    const age = now - began;
    const inside = age - FIRST_LEG;
    const second = inside - INSIDE;
    const chosen = second >= 0 && backend !== null;
    const route = this.#routes.get(chosen ? backend : "");
    if (!route || second > SECOND_LEG || (backend === null && inside > 0)) return false;
    const visible = age >= 0 && (inside < 0 || chosen);
    set(node, "visibility", visible ? "visible" : "hidden");
    if (!visible) return true;
    const [x, y] = along(route, chosen ? second / SECOND_LEG : age / FIRST_LEG);
    set(node, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    set(node, "data-mark", chosen ? mark(backend).colour : null);
    return true;
  }

  #end({ node }) {
    set(node, "visibility", "hidden");
    this.#idle.push(node);
    return false;
  }

  /** Measures where everything is, and draws the arrows anew. */
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
    const create = () => drawn("path", { class: "route", "marker-end": "url(#head)" });
    fill(part(this.#root, "routes"), lines, create, (line, points) => {
      set(line, "d", `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`);
    });
  }
}

const middle = (from, to) => (from + to) / 2;

/** From the clients to the queue: to the right if there is room, otherwise down. */
function toBalancer(clients, balancer) {
  if (balancer.left >= clients.right) {
    const y = Math.min(middle(clients.top, clients.bottom), balancer.top + 96);
    return [[clients.right + GAP, y], [balancer.left - GAP, y]];
  }
  const x = middle(clients.left, clients.right);
  return [[x, clients.bottom + GAP], [x, balancer.top - GAP]];
}

/** From the dial to a backend: a curve to the right, or down along the margin. */
function toCard(balancer, dial, card) {
  const y = Math.min(middle(card.top, card.bottom), card.top + 60);
  if (card.left >= balancer.right) {
    const from = [dial.right + GAP, middle(dial.top, dial.bottom)];
    return curve(from, [card.left - GAP, y]);
  }
  const x = card.left - RAIL - GAP;
  return [[x, balancer.bottom + GAP], [x, card.top + 34], [card.left - GAP + 4, card.top + 34]];
}

/** A curve that leaves and arrives level, as points. */
function curve([x, y], [toX, toY]) {
  const bend = (toX - x) / 2;
  return Array.from({ length: 25 }, (_, step) => {
    const t = step / 24;
    const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
    return [a * x + b * (x + bend) + c * (toX - bend) + d * toX, (a + b) * y + (c + d) * toY];
  });
}

/** The point that is so much of the way along a line of points. */
function along(points, share) {
  const lengths = points.slice(1).map(([x, y], at) => Math.hypot(x - points[at][0], y - points[at][1]));
  let left = share * lengths.reduce((sum, length) => sum + length, 0);
  let at = 0;
  while (at < lengths.length - 1 && left > lengths[at]) left -= lengths[at++];
  const [[x, y], [toX, toY]] = [points[at], points[at + 1]];
  const part = lengths[at] ? left / lengths[at] : 0;
  return [x + part * (toX - x), y + part * (toY - y)];
}
