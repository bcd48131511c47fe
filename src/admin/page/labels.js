// Each backend's number and colour, which stay the same everywhere on the page for as long as the backend is there.

const COLOURS = 8;
const NO_LABEL = { number: "", colour: 0 };

const numbers = new Map();
let commonHost = "";

/** Numbers the backends. A new backend gets the lowest free number. */
export function labelBackends(names) {
  const present = new Set(names);
  for (const name of numbers.keys()) if (!present.has(name)) numbers.delete(name);
  const taken = new Set(numbers.values());
  let free = 1;
  for (const name of names) {
    if (numbers.has(name)) continue;
    while (taken.has(free)) free += 1;
    taken.add(free);
    numbers.set(name, free);
  }
  const hosts = new Set(names.map((name) => name.slice(0, name.lastIndexOf(":"))));
  commonHost = hosts.size === 1 ? [...hosts][0] : "";
}

/** Returns a backend's number and its colour (1 to 8), or an empty label for an unknown backend. */
export function labelOf(name) {
  const number = numbers.get(name);
  return number ? { number, colour: ((number - 1) % COLOURS) + 1 } : NO_LABEL;
}

/** Returns a backend's name, without the host if all backends have the same host. */
export function shortName(name) {
  return commonHost && name.startsWith(`${commonHost}:`) ? name.slice(commonHost.length) : name;
}
