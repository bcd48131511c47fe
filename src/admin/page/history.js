// The history of the last two minutes, one sample per second.

/** The largest number of samples. */
export const SECONDS = 120;

/** The samples received so far, the oldest first. */
export class History {
  newest = 0;
  samples = [];

  /** Returns the path that asks for the missing samples. */
  path() {
    return `/api/history?after=${this.newest}`;
  }

  /** Adds a reply. Numbers that have gone back belong to a balancer that was restarted. */
  add({ newest, samples }) {
    if (newest < this.newest) return this.clear();
    this.newest = newest;
    this.samples = [...this.samples, ...samples].filter(({ number }) => number > newest - SECONDS);
  }

  /** Removes all samples, so that the next reply has all of them. */
  clear() {
    this.newest = 0;
    this.samples = [];
  }
}
