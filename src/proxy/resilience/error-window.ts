/** Successes and failures of the last seconds, in slots of time, so that the old ones are forgotten bit by bit. */
import type { Millis } from '../../core.ts';

const slots = 10;

export class ErrorWindow {
  total = 0;
  failures = 0;
  private readonly slotMs: number;
  private readonly totals = new Uint32Array(slots);
  private readonly failed = new Uint32Array(slots);
  /** The number of the newest slot, counted from the beginning of time. */
  private newest = 0;

  /** Of ten milliseconds at least. */
  constructor(windowMs: number) {
    this.slotMs = Math.max(windowMs, slots) / slots;
  }

  add(now: Millis, isFailure: boolean): void {
    this.forget(now);
    const slot = this.newest % slots;
    this.totals[slot]!++;
    this.total++;
    if (!isFailure) return;
    this.failed[slot]!++;
    this.failures++;
  }

  /** Empties the slots that are older than the window. */
  private forget(now: Millis): void {
    const current = Math.floor(now / this.slotMs);
    for (let passed = Math.min(current - this.newest, slots); passed > 0; passed--) {
      const slot = (current - passed + 1) % slots;
      this.total -= this.totals[slot]!;
      this.failures -= this.failed[slot]!;
      this.totals[slot] = 0;
      this.failed[slot] = 0;
    }
    this.newest = Math.max(this.newest, current);
  }

  clear(): void {
    this.totals.fill(0);
    this.failed.fill(0);
    this.total = 0;
    this.failures = 0;
  }
}
