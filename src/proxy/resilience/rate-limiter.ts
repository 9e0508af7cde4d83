/**
 * How many requests a service on this host takes: from everybody together, for some routes, and from each
 * caller. One object serves all listeners of a service, and outlives configurations.
 */
import type { Millis } from '../../core.ts';
import type { CallerRateLimit, RateLimit, RateLimitsPolicy } from '../policy.ts';
import { TokenBucket } from './token-bucket.ts';

/** Callers without a limit of their own that have a bucket each; further ones share one. */
export const maxCallerBuckets = 1024;
/** Buckets looked at to make room for a caller. */
const evictionScan = 8;
/** For `source`: the limit of callers that are not named. */
const everyOther = '*';
/** For `route`: the request matches none of the limited routes. */
export const noRoute = -1;

export type LimitedBy = 'instance' | 'route' | 'caller';

export class RateLimiter {
  /** How many requests each kind of limit turned away. */
  readonly limited: { [kind in LimitedBy]: number } = { instance: 0, route: 0, caller: 0 };
  /** When the request that was turned away last might be let through, milliseconds from then. */
  retryAfterMs = 0;
  private instance: TokenBucket | null = null;
  private routes: TokenBucket[] = [];
  private routeKeys: string[] = [];
  private named = new Map<string, TokenBucket>();
  /** The limit of callers that are not named, and their buckets, the one that was made first at the front. */
  private otherLimit: RateLimit | null = null;
  private readonly others = new Map<string, TokenBucket>();
  private shared: TokenBucket | null = null;

  constructor(policy: RateLimitsPolicy, now: Millis) {
    this.configure(policy, now);
  }

  /** Takes on policy. Buckets that it still has keep what was used of them. */
  configure(policy: RateLimitsPolicy, now: Millis): void {
    this.instance = policy.instance && adapted(this.instance, policy.instance, now);
    const keys = policy.routes.map(({ path }) => `${path.type} ${path.ignoreCase} ${path.value}`);
    this.routes = policy.routes.map((limit, index) =>
      adapted(this.routes[this.routeKeys.indexOf(keys[index]!)] ?? null, limit, now),
    );
    this.routeKeys = keys;
    this.configureCallers(policy.callers, now);
  }

  private configureCallers(callers: readonly CallerRateLimit[], now: Millis): void {
    this.named = new Map(
      callers
        .filter(({ source }) => source !== everyOther)
        .map((limit) => [limit.source, adapted(this.named.get(limit.source) ?? null, limit, now)]),
    );
    this.otherLimit = callers.find(({ source }) => source === everyOther) ?? null;
    if (this.otherLimit === null) {
      this.others.clear();
      this.shared = null;
      return;
    }
    for (const bucket of this.others.values()) bucket.configure(this.otherLimit);
    this.shared?.configure(this.otherLimit);
  }

  /**
   * Null lets the request of `source` through and counts it; else it is said which limit is reached, and the
   * others do not count it. `route` is the index of the first limited route that it matches, or `noRoute`.
   */
  admit(now: Millis, source: string, route: number): LimitedBy | null {
    const { instance } = this;
    const ofRoute = route === noRoute ? null : this.routes[route]!;
    const ofCaller = this.bucketOf(now, source);
    if (instance !== null && !instance.has(now)) return this.turnAway('instance', instance, now);
    if (ofRoute !== null && !ofRoute.has(now)) return this.turnAway('route', ofRoute, now);
    if (ofCaller !== null && !ofCaller.has(now)) return this.turnAway('caller', ofCaller, now);
    instance?.take();
    ofRoute?.take();
    ofCaller?.take();
    return null;
  }

  private turnAway(kind: LimitedBy, bucket: TokenBucket, now: Millis): LimitedBy {
    this.limited[kind]++;
    this.retryAfterMs = bucket.waitMs(now);
    return kind;
  }

  private bucketOf(now: Millis, source: string): TokenBucket | null {
    const known = this.named.get(source) ?? this.others.get(source);
    if (known !== undefined || this.otherLimit === null) return known ?? null;
    if (this.others.size >= maxCallerBuckets && !this.evict(now)) {
      this.shared ??= new TokenBucket(this.otherLimit, now);
      return this.shared;
    }
    const bucket = new TokenBucket(this.otherLimit, now);
    this.others.set(source, bucket);
    return bucket;
  }

  /**
   * Makes room by forgetting a bucket that is full, never another: else a caller could have its own forgotten,
   * and be given a new one, by coming under many names.
   */
  private evict(now: Millis): boolean {
    let looked = 0;
    for (const [source, bucket] of this.others) {
      if (looked++ === evictionScan) return false;
      this.others.delete(source);
      if (bucket.isFull(now)) return true;
      // To the back, so that the next ones are looked at the next time.
      this.others.set(source, bucket);
    }
    return false;
  }
}

/** The bucket with another limit, or a new one. */
function adapted(bucket: TokenBucket | null, limit: RateLimit, now: Millis): TokenBucket {
  if (bucket === null) return new TokenBucket(limit, now);
  bucket.configure(limit);
  return bucket;
}
