/** How requests of this host for certificates ended, and how long they took. Pure. */
import type { Millis } from '../../core.ts';

/** Upper bounds of the histogram, milliseconds. */
export const issuanceBoundsMs: readonly number[] = [
  10, 25, 50, 100, 200, 300, 500, 750, 1000, 2000, 5000, 10_000,
];
/** Codes come from others: what is beyond so many different ones counts as `other`. */
const maxOutcomes = 32;
/** Whoever asked has given up by then. */
const forgottenAfterMs = 10_000;
/** Of the keeper at most one a service, and the petitions. */
const maxPending = 4096;

export class IssuanceStats {
  /** `issued`, or why not, since the start. */
  readonly outcomes = new Map<string, number>();
  /** Of those issued: cumulative over `issuanceBoundsMs`, then all. */
  readonly buckets: number[] = Array.from({ length: issuanceBoundsMs.length + 1 }, () => 0);
  sumMs = 0;
  /** By request, in the order they were asked. */
  private readonly pending = new Map<number, Millis>();

  asked(requestId: number, now: Millis): void {
    this.expire(now);
    if (this.pending.size < maxPending) this.pending.set(requestId, now);
  }

  /** `code` is `issued` or that of a refusal; only the first answer to a request counts. */
  ended(requestId: number, code: string, now: Millis): void {
    this.expire(now);
    const askedAt = this.pending.get(requestId);
    if (askedAt === undefined) return;
    this.pending.delete(requestId);
    this.count(code);
    if (code !== 'issued') return;
    const tookMs = now - askedAt;
    this.sumMs += tookMs;
    for (const [i, boundMs] of issuanceBoundsMs.entries()) if (tookMs <= boundMs) this.buckets[i]!++;
    this.buckets[issuanceBoundsMs.length]!++;
  }

  /** What was never answered. */
  expire(now: Millis): void {
    for (const [requestId, askedAt] of this.pending) {
      if (now < askedAt + forgottenAfterMs) return;
      this.pending.delete(requestId);
      this.count('timed-out');
    }
  }

  private count(code: string): void {
    const name = this.outcomes.has(code) || this.outcomes.size < maxOutcomes ? code : 'other';
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1);
  }
}
