// The requests that have ended last, the newest first.

import { element, fill, say, set } from "./dom.js";
import { mark, short } from "./marks.js";
import { took } from "./words.js";

const LINES = 20;
const COLUMNS = ["number", "request", "backend", "status", "ended", "took"];

/** The table of them. */
export class Recent {
  #body;
  #none;

  constructor(root) {
    this.#body = root.querySelector("[data-recent]");
    this.#none = root.querySelector("[data-part='recent-none']");
  }

  show(recent) {
    const newest = recent.slice(-LINES).reverse();
    fill(this.#body, newest, line, showLine);
    this.#none.hidden = newest.length > 0;
  }
}

function line() {
  const row = element("tr");
  row.append(...COLUMNS.map((name) => element("td", { class: name })));
  return row;
}

function showLine(row, { number, method, path, backend, status, ended, seconds, tries }) {
  const again = tries > 1 ? `, ${tries} tries` : "";
  const { number: seat, colour } = mark(backend ?? "");
  set(row, "data-number", number);
  set(row, "data-served-by", backend ?? "");
  set(row, "data-status", status);
  set(row, "data-mark", colour);
  const request = method === null ? "not understood" : `${method} ${path}`;
  const words = [number, request, backend ? short(backend) : "none", status, ended + again, took(seconds)];
  words.forEach((word, at) => say(row.children[at], String(word)));
  set(row.children[2], "data-seat", seat);
  set(row.children[1], "title", request);
}
