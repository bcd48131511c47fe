// The rotation's pointer: a hand that points at the backend whose turn is next, and only ever turns forward.

import { drawn, fill, part, say, set } from "./dom.js";
import { mark, short } from "./marks.js";

const CENTRE = 80;
const RADIUS = 62;
const MOST_NUMBERED = 14;
const TURN_TAKES = 230;

/** The dial in the balancer. */
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

  /** Shows who is next among the backends, after so many further requests. */
  show(strategy, next, names, requests) {
    say(part(this.#root, "strategy"), strategy.replaceAll("-", " "));
    set(this.#dial, "data-points-at", next);
    set(this.#dial, "aria-label", next ? `The rotation points at ${next}` : "The rotation has no pointer now");
    this.#showSeats(names, next);
    say(part(this.#root, "next"), next ? short(next) : "");
    say(part(this.#root, "next-word"), next ? "next:" : nobody(strategy));
    const at = names.indexOf(next);
    set(this.#hand, "data-away", at < 0);
    if (at >= 0) this.#turn((360 * at) / names.length, requests >= names.length);
  }

  #showSeats(names, next) {
    const large = names.length <= MOST_NUMBERED;
    const create = () => {
      const seat = drawn("g");
      seat.append(drawn("circle"), drawn("text", { dy: "0.36em" }));
      return seat;
    };
    fill(part(this.#dial, "seats"), names, create, (seat, name, at) => {
      const angle = (2 * Math.PI * at) / names.length;
      const [x, y] = [CENTRE + RADIUS * Math.sin(angle), CENTRE - RADIUS * Math.cos(angle)];
      const { number, colour } = mark(name);
      set(seat, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      set(seat, "data-mark", colour);
      set(seat, "data-next", name === next);
      set(seat.firstChild, "r", large ? 15 : 5);
      say(seat.lastChild, large ? String(number) : "");
    });
  }

  /** Turns to an angle, and once around where it has been there and back since the last look. */
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

function nobody(strategy) {
  return strategy === "round-robin" ? "no backend is usable" : "chosen request by request";
}
