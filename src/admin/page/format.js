// The formats of numbers and times.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** 1234 is 1,234. From a million on the compact form is used, 1.234M, so that it fits a card. */
export function count(number) {
  if (number === null) return NONE;
  return number < 1e6 ? whole.format(number) : compact.format(number);
}

/** A measured value: 12, 1.2 or 0.12. */
export function measure(number) {
  if (number === null) return NONE;
  const format = number >= 10 ? whole : number >= 1 ? tenths : hundredths;
  return format.format(number);
}

/** The duration of a request: 0.42 ms, 120 ms, 2.4 s. */
export function duration(seconds) {
  if (seconds === null) return NONE;
  return seconds < 1 ? `${measure(seconds * 1000)} ms` : `${measure(seconds)} s`;
}

/** The age of a state: 8 s, 5 min, 3 h, 2 days. */
export function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** 0.5 is 50 %. */
export function percent(share) {
  return share === null ? NONE : `${whole.format(share * 100)} %`;
}

/** A count with its noun: 1 worker, 2 workers. */
export function plural(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}
