// The invitation to send requests, shown until the balancer has had one.

import { ChangeQueue } from "./controls.js";
import { part, setText } from "./dom.js";

const RATE = 20;
const KEY = "t";
const EDITABLE = "input, textarea, select, [contenteditable]";

/** The invitation. In the demo it starts traffic with a button or a key; elsewhere it shows a command to run. */
export class Invitation {
  #root;
  #button;
  #changes;
  #focusAfter;

  /** `focusAfter` gets the focus if the invitation has it when it is hidden. `started` is called after a change. */
  constructor(root, focusAfter, started) {
    this.#root = root;
    this.#button = root.querySelector("[data-action='start-traffic']");
    this.#focusAfter = focusAfter;
    this.#changes = new ChangeQueue(root.querySelector(".refusal"), started);
    this.#button.addEventListener("click", () => this.#start());
    document.addEventListener("keydown", (event) => this.#onKey(event));
  }

  show(state) {
    const [listen = ""] = state.listen;
    setText(part(this.#root, "command"), `curl ${address(listen)}/`);
    part(this.#root, "start").hidden = !state.demo;
    this.#setHidden(hasRequests(state));
  }

  /** Hides it while the balancer cannot be reached or requires a token. */
  hide() {
    this.#setHidden(true);
  }

  #setHidden(hidden) {
    const hadFocus = this.#root.contains(document.activeElement);
    this.#root.hidden = hidden;
    if (hidden && hadFocus) this.#focusAfter.focus();
  }

  #onKey(event) {
    if (event.key.toLowerCase() !== KEY || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest?.(EDITABLE) || !this.#button.checkVisibility()) return;
    event.preventDefault();
    this.#start();
  }

  #start() {
    this.#changes.send("/api/demo/traffic", { rate: RATE });
  }
}

/** Returns whether the balancer has had a request, or has one now. */
function hasRequests({ requests, queue_depth, busy }) {
  return queue_depth > 0 || busy.length > 0 || Object.values(requests).some((number) => number > 0);
}

/** Returns the address to send requests to: for a listener on all addresses, the host of this page. */
function address(listen) {
  return listen.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, location.hostname);
}
