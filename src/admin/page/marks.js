// Each backend has a number and a colour, the same ones wherever it is shown and for as long as it is there.

const COLOURS = 8;
const NOBODY = { number: "", colour: 0 };

const numbers = new Map();
let host = "";

/** Numbers the backends. Who is new takes the lowest number that is free. */
export function know(names) {
  const here = new Set(names);
  for (const name of numbers.keys()) if (!here.has(name)) numbers.delete(name);
  const taken = new Set(numbers.values());
  let free = 1;
  for (const name of names) {
    if (numbers.has(name)) continue;
    while (taken.has(free)) free += 1;
    taken.add(free);
    numbers.set(name, free);
  }
  const hosts = new Set(names.map((name) => name.slice(0, name.lastIndexOf(":"))));
  host = hosts.size === 1 ? [...hosts][0] : "";
}

/** A backend's number, and its colour from 1 to 8. */
export function mark(name) {
  const number = numbers.get(name);
  return number ? { number, colour: ((number - 1) % COLOURS) + 1 } : NOBODY;
}

/** Its name without the host, if all have the same. */
export function short(name) {
  return host && name.startsWith(`${host}:`) ? name.slice(host.length) : name;
}
