/** How fast each author may write: a token bucket an author, so that one that runs wild costs others little. */
import type { HostId, Millis } from '../core.ts';
import { RecentMap } from './recent-map.ts';

export interface Rate {
  readonly recordsPerSecond: number;
  /** Records at once after a rest. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  filledAt: Millis;
}

/**
 * Authors whose buckets are remembered; past this, whoever wrote longest ago starts anew with a full one.
 * Only admitted authors get here, so keys made up by the thousand displace nobody.
 */
export const maxRatedAuthors = 16_384;

export class WriterRates {
  private readonly rate: Rate;
  private readonly buckets = new RecentMap<Bucket>(maxRatedAuthors);

  constructor(rate: Rate) {
    this.rate = rate;
  }

  /** Whether `author` may write one more record now. Takes nothing: a forgery must not use up another's share. */
  allows(author: HostId, now: Millis): boolean {
    return this.tokensOf(author, now) >= 1;
  }

  /** One record of `author` was taken in. */
  spend(author: HostId, now: Millis): void {
    const tokens = this.tokensOf(author, now);
    this.buckets.set(author, { tokens: Math.max(0, tokens - 1), filledAt: now });
  }

  private tokensOf(author: HostId, now: Millis): number {
    const bucket = this.buckets.get(author);
    if (bucket === undefined) return this.rate.burst;
    const gained = (Math.max(0, now - bucket.filledAt) * this.rate.recordsPerSecond) / 1000;
    return Math.min(this.rate.burst, bucket.tokens + gained);
  }
}
