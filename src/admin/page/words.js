// How numbers are written.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** 1234 is 1,234, and what is longer than a card is wide is 1.234M. */
export function count(number) {
  if (number === null) return NONE;
  return number < 1e6 ? whole.format(number) : short.format(number);
}

/** With so many digits as say something. */
export function measure(number) {
  if (number === null) return NONE;
  const format = number >= 10 ? whole : number >= 1 ? tenths : hundredths;
  return format.format(number);
}

/** How long a request took: 0.42 ms, 120 ms, 2.4 s. */
export function took(seconds) {
  if (seconds === null) return NONE;
  return seconds < 1 ? `${measure(seconds * 1000)} ms` : `${measure(seconds)} s`;
}

/** How long something has been so: 8 s, 5 min, 3 h, 2 days. */
export function lasted(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** 0.5 is 50 %. */
export function percent(share) {
  return share === null ? NONE : `${whole.format(share * 100)} %`;
}

/** One worker, two workers. */
export function several(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}
