// Helpers for the document. None of them parses markup: everything that the balancer sends is shown as text.

const SVG = "http://www.w3.org/2000/svg";

/** Returns the element with this data-part. */
export function part(root, name) {
  return root.querySelector(`[data-part="${name}"]`);
}

/** Returns the element with this data-fact. */
export function fact(root, name) {
  return root.querySelector(`[data-fact="${name}"]`);
}

/** Creates an HTML element. */
export function element(name, attributes = {}, text = "") {
  return initialise(document.createElement(name), attributes, text);
}

/** Creates an SVG element. */
export function svgElement(name, attributes = {}, text = "") {
  return initialise(document.createElementNS(SVG, name), attributes, text);
}

function initialise(node, attributes, text) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.textContent = text;
  return node;
}

/** Sets a text if it has changed. An unchanged text keeps the reader's selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute if it has changed; null removes it. */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Shows one of two alternative controls and hides the other. The focus moves along. */
export function swap(shown, hidden) {
  const hadFocus = document.activeElement === hidden;
  shown.hidden = false;
  if (hadFocus) shown.focus();
  hidden.hidden = true;
}

/** Sets the text of a notice, which is hidden while the text is empty. */
export function setNotice(node, text) {
  node.hidden = !text;
  setText(node, text);
}

/** Gives the parent one child for each item and updates each. Children are added and removed at the end only. */
export function syncChildren(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create(parent.children.length));
  items.forEach((item, at) => update(parent.children[at], item, at));
}
