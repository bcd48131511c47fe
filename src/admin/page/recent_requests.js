// The table of the requests that ended last, the newest first.

import { element, setAttribute, setText, syncChildren } from "./dom.js";
import { duration } from "./format.js";
import { labelOf, shortName } from "./labels.js";

const ROWS = 20;
const COLUMNS = ["number", "request", "backend", "status", "ended", "took"];

/** The table. */
export class RecentRequests {
  #body;
  #empty;

  constructor(root) {
    this.#body = root.querySelector("[data-recent]");
    this.#empty = root.querySelector("[data-part='recent-empty']");
  }

  show(recent) {
    const newest = recent.slice(-ROWS).reverse();
    syncChildren(this.#body, newest, createRow, showRow);
    this.#empty.hidden = newest.length > 0;
  }
}

function createRow() {
  const row = element("tr");
  row.append(...COLUMNS.map((name) => element("td", { class: name })));
  return row;
}

function showRow(row, { number, method, path, backend, status, ended, seconds, tries }) {
  const label = labelOf(backend ?? "");
  setAttribute(row, "data-number", number);
  setAttribute(row, "data-served-by", backend ?? "");
  setAttribute(row, "data-status", status);
  setAttribute(row, "data-colour", label.colour);
  const line = method === null ? "invalid request" : `${method} ${path}`;
  const outcome = tries > 1 ? `${ended}, ${tries} tries` : ended;
  const texts = [number, line, backend ? shortName(backend) : "none", status, outcome, duration(seconds)];
  texts.forEach((text, at) => setText(row.children[at], String(text)));
  setAttribute(row.children[2], "data-backend-number", label.number);
  setAttribute(row.children[1], "title", line);
}
