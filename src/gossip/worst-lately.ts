/** The largest of what was measured lately: between one and two windows of it, for two numbers of memory. */
import type { Millis } from '../core.ts';

export class WorstLately {
  private readonly windowMs: Millis;
  private startedAt: Millis | null = null;
  private previous = 0;
  private present = 0;

  constructor(windowMs: Millis = 60_000) {
    this.windowMs = windowMs;
  }

  note(value: number, now: Millis): void {
    this.turn(now);
    this.present = Math.max(this.present, value);
  }

  /** 0 when nothing was measured lately. */
  at(now: Millis): number {
    this.turn(now);
    return Math.max(this.previous, this.present);
  }

  private turn(now: Millis): void {
    this.startedAt ??= now;
    const windows = Math.floor((now - this.startedAt) / this.windowMs);
    if (windows < 1) return;
    this.previous = windows === 1 ? this.present : 0;
    this.present = 0;
    this.startedAt += windows * this.windowMs;
  }
}
