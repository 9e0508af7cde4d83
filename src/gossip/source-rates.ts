/** How often strangers at one address may ask for something: a token bucket an address, for so many addresses. */
import type { Millis } from '../core.ts';
import { RecentMap } from './recent-map.ts';

interface Bucket {
  tokens: number;
  filledAt: Millis;
}

export class SourceRates {
  private readonly perSecond: number;
  private readonly burst: number;
  private readonly buckets: RecentMap<Bucket>;

  /** Past `maxSources`, the source that asked longest ago starts anew with a full bucket. */
  constructor(maxSources: number, perSecond: number, burst: number = perSecond) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.buckets = new RecentMap(maxSources);
  }

  /** How many sources are remembered. */
  get size(): number {
    return this.buckets.size;
  }

  /** Whether `source` may do one more now. Takes nothing. */
  allows(source: string, now: Millis): boolean {
    return this.tokensOf(source, now) >= 1;
  }

  /** Takes one from `source`, if it has one left. A refusal costs nothing: who goes on is let in at the rate. */
  take(source: string, now: Millis): boolean {
    const tokens = this.tokensOf(source, now);
    if (tokens < 1) return false;
    this.buckets.set(source, { tokens: tokens - 1, filledAt: now });
    return true;
  }

  private tokensOf(source: string, now: Millis): number {
    const bucket = this.buckets.get(source);
    if (bucket === undefined) return this.burst;
    const gained = (Math.max(0, now - bucket.filledAt) * this.perSecond) / 1000;
    return Math.min(this.burst, bucket.tokens + gained);
  }
}

/** Leading groups of an IPv6 address that one site has to itself (RFC 6177: a /64 is one network). */
const networkGroups = 4;

/** What counts as one source: an IPv4 address, or the /64 of an IPv6 one, of which one host has 2^64. */
export function sourceOf(address: string): string {
  const [plain = ''] = address.split('%');
  if (plain.startsWith('::ffff:') && plain.includes('.')) return plain.slice('::ffff:'.length);
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return groups.slice(0, networkGroups).join(':');
}
