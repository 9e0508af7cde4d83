/**
 * How many of something all threads have together. Exact: what threads take and give at one moment is as if it
 * had been done in some order, so a tally never goes beyond its limit, and refuses only what does not fit.
 */
import type { SharedMemory } from './memory.ts';

const bytesPerTally = Int32Array.BYTES_PER_ELEMENT;

/** The memory of so many. */
export function talliesBytes(count: number): number {
  return count * bytesPerTally;
}

export class Tally {
  private readonly counts: Int32Array;
  private readonly index: number;

  /** The one at `index` of those in `memory`. */
  constructor({ buffer }: SharedMemory, index: number) {
    this.counts = new Int32Array(buffer);
    this.index = index;
  }

  get inUse(): number {
    return Atomics.load(this.counts, this.index);
  }

  /** Takes one if there are fewer than `most`. */
  take(most: number): boolean {
    const { counts, index } = this;
    let seen = Atomics.load(counts, index);
    while (seen < most) {
      const found = Atomics.compareExchange(counts, index, seen, seen + 1);
      if (found === seen) return true;
      seen = found;
    }
    return false;
  }

  /** Whatever the limit; below 0 gives back. */
  add(count: number): void {
    Atomics.add(this.counts, this.index, count);
  }
}
