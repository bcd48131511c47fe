// The last two minutes, a sample a second.

/** How many samples there are at most. */
export const SECONDS = 120;

/** Samples that have been heard of, the oldest first. */
export class History {
  newest = 0;
  samples = [];

  /** What is missing. */
  path() {
    return `/api/history?after=${this.newest}`;
  }

  /** Takes what has come. Numbers that have gone back are those of a balancer that was started again. */
  add({ newest, samples }) {
    if (newest < this.newest) return this.clear();
    this.newest = newest;
    this.samples = [...this.samples, ...samples].filter(({ number }) => number > newest - SECONDS);
  }

  /** Begins anew: what is missing is everything. */
  clear() {
    this.newest = 0;
    this.samples = [];
  }
}
