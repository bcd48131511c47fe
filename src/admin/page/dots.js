// The selection of requests to draw as moving dots, from one poll to the next.

/** The largest number of dots that start after a poll. */
const MOST = 12;
/** The time over which they start, in milliseconds: until the next poll. */
const SPREAD = 250;
/** After a longer gap between two polls, in milliseconds, the requests in between are not drawn. */
const STALE = 1500;

/** Up to this rate, in requests per second, a dot is one request. */
export const ONE_TO_ONE_RATE = (MOST * 1000) / SPREAD;

/** Compares the state with the one before. */
export class Dots {
  #last = null;

  /**
   * Returns the dots to draw, `{backend, failed, after}` with `backend` null if none was chosen and `after` in
   * milliseconds, and `ended`, the number of requests that ended since the poll before.
   */
  next(state, now) {
    const before = this.#last;
    const requests = Object.values(state.requests).reduce((sum, count) => sum + count, 0);
    const backends = new Map(state.backends.map(({ name, requests, errors }) => [name, { requests, errors }]));
    const number = state.recent.at(-1)?.number ?? 0;
    this.#last = { now, requests, backends, number, rejected: state.rejected };
    const ended = requests - (before?.requests ?? requests);
    if (!before || ended <= 0 || now - before.now > STALE) return { dots: [], ended: Math.max(0, ended) };
    return { dots: ended <= MOST ? oneEach(state, before) : sample(backends, state, before), ended };
  }

  /** Forgets the last state, as the balancer was restarted. */
  clear() {
    this.#last = null;
  }
}

/** A dot for each request, at the times when they ended. */
function oneEach({ recent }, before) {
  const fresh = recent.filter(({ number }) => number > before.number).slice(-MOST);
  return fresh.map(({ backend, status, ago_seconds }) => {
    const after = Math.max(0, SPREAD - 1000 * ago_seconds);
    return { backend, failed: status >= 500, after };
  });
}

/** Dots in proportion to each backend's requests, its errors, and the requests that no backend was chosen for. */
function sample(backends, { rejected }, before) {
  const groups = [{ backend: null, failed: true, weight: rejected - before.rejected }];
  for (const [backend, { requests, errors }] of backends) {
    const was = before.backends.get(backend) ?? { requests, errors };
    const failed = errors - was.errors;
    groups.push({ backend, failed: true, weight: failed });
    groups.push({ backend, failed: false, weight: requests - was.requests - failed });
  }
  return spread(groups.filter(({ weight }) => weight > 0));
}

/** `MOST` dots, each group spread evenly over the time. */
function spread(groups) {
  const total = groups.reduce((sum, { weight }) => sum + weight, 0);
  const dots = [];
  for (const { backend, failed, weight } of groups) {
    const step = total / weight / MOST;
    for (let at = step * Math.random(); at < 1; at += step) dots.push({ backend, failed, after: at * SPREAD });
  }
  return dots;
}
