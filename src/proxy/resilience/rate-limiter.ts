/**
 * How many requests a service on this host takes: from everybody together, for some routes, and from each
 * caller. One object serves all listeners of a service, and outlives configurations. Where several threads serve
 * it, each has one, and all of them decide by the buckets that they share.
 */
import type { Millis } from '../../core.ts';
import type { CallerRateLimit, RateLimit, RateLimitsPolicy } from '../policy.ts';
import { BucketTable, bucketsBytes, PlacedBucket } from '../workers/bucket-table.ts';
import type { SharedMemory } from '../workers/memory.ts';

/** Callers without a limit of their own that have a bucket each; further ones share one. */
export const maxCallerBuckets = 1024;
/** Buckets looked at to make room for a caller. */
const evictionScan = 8;
/** For `source`: the limit of callers that are not named. */
const everyOther = '*';
/** For `route`: the request matches none of the limited routes. */
export const noRoute = -1;

export type LimitedBy = 'instance' | 'route' | 'caller';

/** The memory in which threads share the buckets of such a policy. */
export function ratesBytes({ routes, callers }: RateLimitsPolicy): number {
  return bucketsBytes(1 + routes.length + callers.length, maxCallerBuckets);
}

export class RateLimiter {
  /** How many requests each kind of limit turned away. */
  readonly limited: { [kind in LimitedBy]: number } = { instance: 0, route: 0, caller: 0 };
  /** How many requests of callers were counted together, for there was no room for a bucket each. */
  crowded = 0;
  /** When the request that was turned away last might be let through, milliseconds from then. */
  retryAfterMs = 0;
  private instance: PlacedBucket | null = null;
  private routes: PlacedBucket[] = [];
  private routeKeys: string[] = [];
  private named = new Map<string, PlacedBucket>();
  /** The limit of callers that are not named, and their buckets, the one that was made first at the front. */
  private otherLimit: RateLimit | null = null;
  private readonly others = new Map<string, PlacedBucket>();
  private crowd: PlacedBucket | null = null;
  /** What is left of the buckets where several threads use them; null where this one is alone. */
  private table: BucketTable | null = null;
  private memoryId: number | null = null;

  constructor(policy: RateLimitsPolicy, now: Millis, memory: SharedMemory | null = null) {
    this.configure(policy, now, memory);
  }

  /** Takes on policy. Buckets that it still has keep what was used of them. */
  configure(policy: RateLimitsPolicy, now: Millis, memory: SharedMemory | null = null): void {
    this.share(memory);
    this.instance = policy.instance && adapted(this.instance, 'instance', policy.instance, now);
    const keys = policy.routes.map(({ path }) => `route ${path.type} ${path.ignoreCase} ${path.value}`);
    this.routes = policy.routes.map((limit, index) =>
      adapted(this.routes[this.routeKeys.indexOf(keys[index]!)] ?? null, keys[index]!, limit, now),
    );
    this.routeKeys = keys;
    this.configureCallers(policy.callers, now);
  }

  private share(memory: SharedMemory | null): void {
    const memoryId = memory?.id ?? null;
    if (memoryId === this.memoryId) return;
    this.memoryId = memoryId;
    this.table = memory && new BucketTable(memory, maxCallerBuckets);
  }

  private configureCallers(callers: readonly CallerRateLimit[], now: Millis): void {
    this.named = new Map(
      callers
        .filter(({ source }) => source !== everyOther)
        .map((limit) => {
          const { source } = limit;
          return [source, adapted(this.named.get(source) ?? null, `named ${source}`, limit, now)];
        }),
    );
    this.otherLimit = callers.find(({ source }) => source === everyOther) ?? null;
    if (this.otherLimit === null) {
      this.others.clear();
      this.crowd = null;
      return;
    }
    for (const bucket of this.others.values()) bucket.configure(this.otherLimit);
    this.crowd?.configure(this.otherLimit);
  }

  /**
   * Null lets the request of `source` through and counts it; else it is said which limit is reached, and the
   * others do not count it. `route` is the index of the first limited route that it matches, or `noRoute`.
   */
  admit(now: Millis, source: string, route: number): LimitedBy | null {
    const ofRoute = route === noRoute ? null : this.routes[route]!;
    const ofCaller = this.bucketOf(now, source);
    if (this.table === null) return this.decide(now, ofRoute, ofCaller);
    this.table.lock.enter();
    const limitedBy = this.decideTogether(this.table, now, ofRoute, ofCaller);
    this.table.lock.leave();
    return limitedBy;
  }

  /** As `decide`, by what all threads have left of the buckets. Only with the lock. */
  private decideTogether(
    table: BucketTable,
    now: Millis,
    ofRoute: PlacedBucket | null,
    ofCaller: PlacedBucket | null,
  ): LimitedBy | null {
    const { instance } = this;
    if (instance !== null) table.load(instance, now);
    if (ofRoute !== null) table.load(ofRoute, now);
    if (ofCaller !== null && !table.load(ofCaller, now)) this.crowded++;
    const limitedBy = this.decide(now, ofRoute, ofCaller);
    if (instance !== null) table.store(instance);
    if (ofRoute !== null) table.store(ofRoute);
    if (ofCaller !== null) table.store(ofCaller);
    return limitedBy;
  }

  private decide(now: Millis, ofRoute: PlacedBucket | null, ofCaller: PlacedBucket | null): LimitedBy | null {
    const { instance } = this;
    if (instance !== null && !instance.has(now)) return this.turnAway('instance', instance, now);
    if (ofRoute !== null && !ofRoute.has(now)) return this.turnAway('route', ofRoute, now);
    if (ofCaller !== null && !ofCaller.has(now)) return this.turnAway('caller', ofCaller, now);
    instance?.take();
    ofRoute?.take();
    ofCaller?.take();
    return null;
  }

  private turnAway(kind: LimitedBy, bucket: PlacedBucket, now: Millis): LimitedBy {
    this.limited[kind]++;
    this.retryAfterMs = bucket.waitMs(now);
    return kind;
  }

  private bucketOf(now: Millis, source: string): PlacedBucket | null {
    const known = this.named.get(source) ?? this.others.get(source);
    if (known !== undefined || this.otherLimit === null) return known ?? null;
    if (this.others.size >= maxCallerBuckets && !this.evict(now)) {
      this.crowded++;
      this.crowd ??= new PlacedBucket('crowd', false, this.otherLimit, now);
      return this.crowd;
    }
    const bucket = new PlacedBucket(`other ${source}`, false, this.otherLimit, now);
    this.others.set(source, bucket);
    return bucket;
  }

  /**
   * Makes room by forgetting a bucket that is full, never another: else a caller could have its own forgotten,
   * and be given a new one, by coming under many names. What threads share is not forgotten here.
   */
  private evict(now: Millis): boolean {
    let looked = 0;
    for (const [source, bucket] of this.others) {
      if (looked++ === evictionScan) return false;
      this.others.delete(source);
      if (this.table !== null || bucket.isFull(now)) return true;
      // To the back, so that the next ones are looked at the next time.
      this.others.set(source, bucket);
    }
    return false;
  }
}

/** The bucket with another limit, or a new one. */
function adapted(bucket: PlacedBucket | null, name: string, limit: RateLimit, now: Millis): PlacedBucket {
  if (bucket === null) return new PlacedBucket(name, true, limit, now);
  bucket.configure(limit);
  return bucket;
}
