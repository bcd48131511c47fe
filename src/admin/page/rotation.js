// The rotation's pointer: a hand that points at the next backend and turns forward only.

import { part, setAttribute, setText, svgElement, syncChildren } from "./dom.js";
import { labelOf, shortName } from "./labels.js";

const CENTRE = 80;
const RADIUS = 62;
const MOST_NUMBERED = 14;
const TURN_TAKES = 230;

/** The dial in the balancer's box. */
export class Rotation {
  #root;
  #dial;
  #hand;
  #angle = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(root) {
    this.#root = root;
    this.#dial = root.querySelector("[data-pointer]");
    this.#hand = part(root, "hand");
  }

  /** Shows the next backend. `ended` is the number of requests that ended since the last call. */
  show(strategy, next, names, ended) {
    setText(part(this.#root, "strategy"), strategy.replaceAll("-", " "));
    setAttribute(this.#dial, "data-points-at", next);
    setAttribute(this.#dial, "aria-label", next ? `Next backend: ${next}` : `No next backend: ${explain(strategy)}`);
    this.#showPositions(names, next);
    setText(part(this.#root, "next"), next ? shortName(next) : "");
    setText(part(this.#root, "next-text"), next ? "next:" : explain(strategy));
    const at = names.indexOf(next);
    setAttribute(this.#hand, "data-hidden", at < 0);
    if (at >= 0) this.#turn((360 * at) / names.length, ended >= names.length);
  }

  #showPositions(names, next) {
    const large = names.length <= MOST_NUMBERED;
    const create = () => {
      const position = svgElement("g");
      position.append(svgElement("circle"), svgElement("text", { dy: "0.36em" }));
      return position;
    };
    syncChildren(part(this.#dial, "positions"), names, create, (position, name, at) => {
      const angle = (2 * Math.PI * at) / names.length;
      const [x, y] = [CENTRE + RADIUS * Math.sin(angle), CENTRE - RADIUS * Math.cos(angle)];
      const { number, colour } = labelOf(name);
      setAttribute(position, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      setAttribute(position, "data-colour", colour);
      setAttribute(position, "data-next", name === next);
      setAttribute(position.firstChild, "r", large ? 15 : 5);
      setText(position.lastChild, large ? String(number) : "");
    });
  }

  /** Turns to an angle. At the same angle it turns once around if `passed` says that every backend had a turn. */
  #turn(target, passed) {
    const rest = (target - this.#angle + 720) % 360;
    const by = rest < 0.01 ? (passed ? 360 : 0) : rest;
    const from = this.#angle;
    this.#angle = target;
    this.#hand.style.transform = `rotate(${target}deg)`;
    if (by === 0 || this.#still.matches) return;
    const way = [{ transform: `rotate(${from}deg)` }, { transform: `rotate(${from + by}deg)` }];
    this.#hand.animate(way, { duration: TURN_TAKES, easing: "ease-in-out" });
  }
}

/** Returns the reason why there is no next backend. */
function explain(strategy) {
  return strategy === "round-robin" ? "no backend is usable" : "chosen for each request";
}
