// The token: asked for where the listener wants one.

import { forget, remember } from "./ask.js";
import { notice } from "./dom.js";

/** What can stand in a header. */
const WRITABLE = /^[\x21-\x7e]+$/;

/** The form for it. */
export class TokenForm {
  #form;
  #offered = false;

  /** `given` hears when there is one to try. */
  constructor(form, given) {
    this.#form = form;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = form.elements.token.value.trim();
      if (!WRITABLE.test(token)) return this.#refuse("A token is made of letters, digits and signs without spaces.");
      remember(token);
      this.#offered = true;
      given();
    });
  }

  /** The listener wants a token, or another one than it was given. */
  open() {
    forget();
    this.#form.hidden = false;
    this.#refuse(this.#offered ? "That is not the token." : "");
    this.#offered = false;
    this.#form.elements.token.focus();
  }

  /** It was the right one. */
  close() {
    if (this.#form.hidden) return;
    this.#form.hidden = true;
    this.#form.elements.token.value = "";
  }

  #refuse(sentence) {
    notice(this.#form.querySelector(".refusal"), sentence);
    this.#form.elements.token.select();
  }
}
