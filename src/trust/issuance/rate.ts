/** Token buckets, one for each requester, in bounded memory. */
import type { Millis } from '../../core.ts';

interface Bucket {
  tokens: number;
  at: Millis;
}

export interface RateLimits {
  /** How many at once. */
  readonly burst: number;
  /** How many a second after that. */
  readonly perSecond: number;
  /** Requesters remembered. A full table forgets whoever was seen longest ago. */
  readonly maxRequesters: number;
}

export class RateLimiter {
  private readonly limits: RateLimits;
  /** In the order of their last request. */
  private readonly buckets = new Map<string, Bucket>();

  constructor(limits: RateLimits) {
    this.limits = limits;
  }

  /** Takes one token. 0 when there was one, else how long until there is, milliseconds. */
  take(requester: string, now: Millis): number {
    const { burst, perSecond, maxRequesters } = this.limits;
    const bucket = this.buckets.get(requester) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    this.buckets.delete(requester);
    this.buckets.set(requester, bucket);
    if (this.buckets.size > maxRequesters)
      for (const oldest of this.buckets.keys()) {
        this.buckets.delete(oldest);
        break;
      }
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / perSecond) * 1000);
    bucket.tokens -= 1;
    return 0;
  }

  get size(): number {
    return this.buckets.size;
  }
}
