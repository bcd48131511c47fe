// The form for the admin token, shown when the listener requires one.

import { clearToken, storeToken } from "./api.js";
import { setNotice } from "./dom.js";

/** The characters that a header may carry. */
const VALID = /^[\x21-\x7e]+$/;

/** The form. */
export class TokenForm {
  #form;
  #submitted = false;

  /** `entered` is called when a token is stored and can be tried. */
  constructor(form, entered) {
    this.#form = form;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = form.elements.token.value.trim();
      if (!VALID.test(token)) return this.#refuse("A token consists of letters, digits and punctuation, without spaces.");
      storeToken(token);
      this.#submitted = true;
      entered();
    });
  }

  /** Opens the form: the listener requires a token, or refused the one that was entered. */
  open() {
    clearToken();
    this.#form.hidden = false;
    this.#refuse(this.#submitted ? "The token was not accepted." : "");
    this.#submitted = false;
    this.#form.elements.token.focus();
  }

  /** Closes the form: the token was accepted. */
  close() {
    if (this.#form.hidden) return;
    this.#form.hidden = true;
    this.#form.elements.token.value = "";
  }

  #refuse(message) {
    setNotice(this.#form.querySelector(".refusal"), message);
    this.#form.elements.token.select();
  }
}
