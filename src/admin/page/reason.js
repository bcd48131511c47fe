// The reason for a backend's state, as a phrase that needs no knowledge of the balancer.

const EJECTED = "taken out: ";

/** Returns the phrase. A reason that is not known here is shown as the balancer gave it. */
export function reasonOf({ state, why }) {
  switch (state) {
    case "checking":
      return why === "not checked yet" ? `${why}; used meanwhile` : `too few checks so far (last: ${why}); used meanwhile`;
    case "up":
      return `health check passed: ${why}`;
    case "down":
      return why.startsWith(EJECTED) ? `taken out after failed requests: ${why.slice(EJECTED.length)}` : why;
    case "draining":
      return `${why}; gets no new requests`;
    default:
      return why;
  }
}
