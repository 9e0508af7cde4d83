/**
 * How many requests may be sent a second time although the first server may have acted on them, so that
 * retries never multiply the load of a failing service: a fifth of the requests of the last seconds on top,
 * and a floor for services that are seldom called (after the retry budget of Twitter's Finagle).
 */
import type { Millis } from '../core.ts';

/** Retries each request earns. */
const retryShare = 0.2;
/** Retries earned by time alone, per second. */
const floorPerSecond = 10;
/** What was earned fades over this time, so the balance is worth the last seconds and not the whole past. */
const memoryMs = 10_000;
/** A whole host's requests in flight may fail at once, however few there were before: so it starts full. */
const floorBalance = (floorPerSecond * memoryMs) / 1000;
/** Fading is worked out no more often than this. */
const settleMs = 100;

export class RetryBudget {
  private balance = floorBalance;
  private settledAt: Millis = 0;

  /** A request was sent for the first time. */
  earn(now: Millis): void {
    if (now - this.settledAt > settleMs) this.settle(now);
    this.balance += retryShare;
  }

  /** Whether one more request may be sent a second time. */
  spend(now: Millis): boolean {
    this.settle(now);
    if (this.balance < 1) return false;
    this.balance -= 1;
    return true;
  }

  /** Moves the balance towards the floor's: earning at a constant rate while fading at a constant rate. */
  private settle(now: Millis): void {
    const kept = Math.exp(Math.min(this.settledAt - now, 0) / memoryMs);
    this.balance = floorBalance + (this.balance - floorBalance) * kept;
    this.settledAt = now;
  }
}
