// What every part does with the document. Nothing here takes markup: what the balancer says is text.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this data-part. */
export function part(root, name) {
  return root.querySelector(`[data-part="${name}"]`);
}

/** The element with this data-fact. */
export function fact(root, name) {
  return root.querySelector(`[data-fact="${name}"]`);
}

/** An element with these attributes, and text if there is any. */
export function element(name, attributes = {}, words = "") {
  return dressed(document.createElement(name), attributes, words);
}

/** The same for what is drawn. */
export function drawn(name, attributes = {}, words = "") {
  return dressed(document.createElementNS(SVG, name), attributes, words);
}

function dressed(node, attributes, words) {
  for (const [name, value] of Object.entries(attributes)) set(node, name, value);
  node.textContent = words;
  return node;
}

/** Writes a text that has changed. What has not is left alone, and so is a reader's selection of it. */
export function say(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** Sets an attribute that has changed; null takes it away. */
export function set(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Shows one of two controls that stand in for each other. The focus goes with it. */
export function swap(shown, hidden) {
  const hadFocus = document.activeElement === hidden;
  shown.hidden = false;
  if (hadFocus) shown.focus();
  hidden.hidden = true;
}

/** Says something in a place that is there only for as long as there is something to say. */
export function notice(node, words) {
  node.hidden = !words;
  say(node, words);
}

/** As many children as there are items, each brought up to date. The first ones stay what they are. */
export function fill(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create(parent.children.length));
  items.forEach((item, at) => update(parent.children[at], item, at));
}
