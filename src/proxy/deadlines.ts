/**
 * Deadlines of many connections behind one coarse timer: setting a deadline is one field write, and a scan
 * at each tick finds who is late. Millions of requests set and move deadlines; almost none comes due.
 */
import type { Millis } from '../core.ts';

/** Something that may come due. `deadlineMs` may be moved freely at any time; `Infinity` means never. */
export interface Timed {
  deadlineMs: Millis;
  onDeadline(now: Millis): void;
}

/** The connections one ticker watches. Lateness is bounded by the tick interval of its driver. */
export class Deadlines {
  private readonly watched = new Set<Timed>();
  /** When it was looked last: a clock that costs nothing to read, as coarse as the ticks. */
  tickedAt: Millis = -Infinity;

  get size(): number {
    return this.watched.size;
  }

  /** Everyone that is watched, late or not. */
  [Symbol.iterator](): Iterator<Timed> {
    return this.watched.values();
  }

  add(timed: Timed): void {
    this.watched.add(timed);
  }

  remove(timed: Timed): void {
    this.watched.delete(timed);
  }

  /** Tells everyone whose deadline has passed. Each sets a new one or removes itself. */
  expire(now: Millis): void {
    this.tickedAt = now;
    for (const timed of this.watched) if (timed.deadlineMs <= now) timed.onDeadline(now);
  }
}
