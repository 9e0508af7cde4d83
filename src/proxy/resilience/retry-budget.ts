/**
 * How many requests may be sent a second time although the first server may have acted on them, so that
 * retries never multiply the load of a failing service, and yet all that one dying host had can be asked of
 * the others (after the retry budget of Twitter's Finagle; but what is spent comes back by requests alone, never
 * by time: there is no pattern of requests that gets more).
 *
 * While every endpoint fails, retries <= 0.15 x requests + 10: from 200 requests on, never more than a fifth on
 * top. While some endpoint is well a reserve may be used besides, and has to be earned back before anything else.
 */
import type { Millis } from '../../core.ts';

/** Retries each request earns. */
export const retryShare = 0.15;
/** Retries there are before anything is earned, ... */
export const initialRetries = 10;
/** ... and those that are kept for when one host fails and others are well. */
export const reservedRetries = 90;
const initialBalance = initialRetries + reservedRetries;
/** What was earned beyond those fades over this time: it is worth the last seconds, not the whole past. */
const memoryMs = 10_000;
/** Fading is worked out no more often than this. */
const settleMs = 100;

export class RetryBudget {
  /** How many retries were not had. */
  exhausted = 0;
  private balance = initialBalance;
  private settledAt: Millis = 0;
  private readonly someAreWell: () => boolean;

  /** `someAreWell`: whether some endpoint serves what it is asked. */
  constructor(someAreWell: () => boolean) {
    this.someAreWell = someAreWell;
  }

  /** A request was sent for the first time. */
  earn(now: Millis): void {
    if (now - this.settledAt > settleMs) this.settle(now);
    this.balance += retryShare;
  }

  /** Whether one more request may be sent a second time. */
  spend(now: Millis): boolean {
    this.settle(now);
    const untouchable = this.balance >= reservedRetries + 1 || this.someAreWell() ? 0 : reservedRetries;
    if (this.balance < untouchable + 1) {
      this.exhausted++;
      return false;
    }
    this.balance -= 1;
    return true;
  }

  private settle(now: Millis): void {
    const surplus = this.balance - initialBalance;
    const kept = Math.exp(Math.min(this.settledAt - now, 0) / memoryMs);
    if (surplus > 0) this.balance = initialBalance + surplus * kept;
    this.settledAt = now;
  }
}
