// Which requests are seen on their way, between one look at the balancer and the next.

/** So many dots start after each look. */
const MOST = 12;
/** Within this time, until the next look. */
const SPREAD = 250;
/** A look that comes later than this shows nothing of what was missed. */
const STALE = 1500;

/** A dot stands for one request up to so many a second. */
export const COUNTABLE = (MOST * 1000) / SPREAD;

/** Compares what the balancer says with what it said before. */
export class Flow {
  #seen = null;

  /** Dots to send: {backend (null: nobody was chosen), failed, after (milliseconds)}; and how many requests ended. */
  look(state, now) {
    const before = this.#seen;
    const requests = Object.values(state.requests).reduce((sum, count) => sum + count, 0);
    const backends = new Map(state.backends.map(({ name, requests, errors }) => [name, { requests, errors }]));
    const number = state.recent.at(-1)?.number ?? 0;
    this.#seen = { now, requests, backends, number, rejected: state.rejected };
    const passed = requests - (before?.requests ?? requests);
    if (!before || passed <= 0 || now - before.now > STALE) return { dots: [], passed: Math.max(0, passed) };
    return { dots: passed <= MOST ? one(state, before) : many(backends, state, before), passed };
  }

  /** Forgets what was: the balancer was started again. */
  clear() {
    this.#seen = null;
  }
}

/** A dot for each request, with the pauses there were between them. */
function one({ recent }, before) {
  const fresh = recent.filter(({ number }) => number > before.number).slice(-MOST);
  return fresh.map(({ backend, status, ago_seconds }) => {
    const after = Math.max(0, SPREAD - 1000 * ago_seconds);
    return { backend, failed: status >= 500, after };
  });
}

/** Dots in proportion: each backend's requests, those that failed, and those that nobody was chosen for. */
function many(backends, { rejected }, before) {
  const kinds = [{ backend: null, failed: true, weight: rejected - before.rejected }];
  for (const [backend, { requests, errors }] of backends) {
    const was = before.backends.get(backend) ?? { requests, errors };
    const failed = errors - was.errors;
    kinds.push({ backend, failed: true, weight: failed });
    kinds.push({ backend, failed: false, weight: requests - was.requests - failed });
  }
  return drawn(kinds.filter(({ weight }) => weight > 0));
}

/** As many as are shown, each kind spread evenly among the others. */
function drawn(kinds) {
  const all = kinds.reduce((sum, { weight }) => sum + weight, 0);
  const dots = [];
  for (const { backend, failed, weight } of kinds) {
    const step = all / weight / MOST;
    for (let at = step * Math.random(); at < 1; at += step) dots.push({ backend, failed, after: at * SPREAD });
  }
  return dots;
}
