/**
 * Which endpoint of one cluster gets the next request: two draws, the less loaded one wins (Mitzenmacher,
 * "The Power of Two Choices in Randomized Load Balancing", 2001). Nothing is allocated per pick.
 */
import type { Millis, Random } from '../core.ts';
import { assert } from '../core.ts';

/** How one request or connection went. `connect-failure`: it never reached the endpoint. */
export type Outcome = 'ok' | 'failed' | 'connect-failure';

/** How long an endpoint is avoided after a connect failure, milliseconds; doubles while it goes on failing. */
export const connectPenaltyMs = 1000;
/** The longest an endpoint is avoided after connect failures in a row, milliseconds. */
export const maxConnectPenaltyMs = 10_000;
/** Further draws when both of the first two are avoided, before every endpoint is looked at in turn. */
const redraws = 3;

/**
 * One endpoint with its load. It outlives its removal from the balancer: whoever holds it calls `end` as
 * ever. Every `begin` is followed by exactly one `end`.
 */
export class BalancedEndpoint {
  readonly id: string;
  /** Relative share, above 0. */
  weight: number;
  /** Requests or connections under way. */
  inflight = 0;
  /** Consecutive connect failures, those while it was avoided already not counted. */
  private connectFailures = 0;
  private avoidUntil: Millis = 0;

  constructor(id: string, weight: number) {
    this.id = id;
    this.weight = weight;
  }

  /** Something was sent its way. */
  begin(_now: Millis): void {
    this.inflight += 1;
  }

  /** What began is over. A connect failure takes the endpoint out of favour at once. */
  end(now: Millis, outcome: Outcome): void {
    assert(this.inflight > 0, `end without begin on endpoint ${this.id}`);
    this.inflight -= 1;
    if (outcome === 'ok') {
      this.connectFailures = 0;
      this.avoidUntil = 0;
    } else if (outcome === 'connect-failure' && !this.avoided(now)) {
      // A burst of connects that fail together is one failure, else the first burst is the longest penalty.
      const penalty = Math.min(connectPenaltyMs * 2 ** this.connectFailures, maxConnectPenaltyMs);
      this.connectFailures = Math.min(this.connectFailures + 1, 16);
      this.avoidUntil = now + penalty;
    }
  }

  /** Whether a recent connect failure still counts against it. */
  avoided(now: Millis): boolean {
    return now < this.avoidUntil;
  }

  /**
   * What the two choices are compared by. Draws are weighted already, so idle endpoints tie and the first
   * draw stands: shares follow weights when idle, load per weight evens out when busy.
   */
  load(): number {
    return this.inflight / this.weight;
  }
}

/** The endpoints of one cluster. State of an endpoint survives every `update` that still names its id. */
export class Balancer {
  private readonly random: Random;
  private byId = new Map<string, BalancedEndpoint>();
  private endpoints: BalancedEndpoint[] = [];
  private sampler = new AliasTable([]);

  constructor(random: Random) {
    this.random = random;
  }

  get size(): number {
    return this.endpoints.length;
  }

  /** Replaces the set of endpoints. Ids are unique, weights finite and above 0. */
  update(endpoints: readonly { readonly id: string; readonly weight: number }[]): void {
    const byId = new Map<string, BalancedEndpoint>();
    for (const { id, weight } of endpoints) {
      assert(weight > 0 && Number.isFinite(weight), `weight ${weight} of endpoint ${id}`);
      assert(!byId.has(id), `endpoint ${id} twice in one cluster`);
      const endpoint = this.byId.get(id) ?? new BalancedEndpoint(id, weight);
      endpoint.weight = weight;
      byId.set(id, endpoint);
    }
    this.byId = byId;
    this.endpoints = [...byId.values()];
    this.sampler = new AliasTable(this.endpoints.map((endpoint) => endpoint.weight));
  }

  get(id: string): BalancedEndpoint | undefined {
    return this.byId.get(id);
  }

  /**
   * The endpoint for the next request; null only when there is none at all. `exclude` (the one that just
   * failed) and endpoints that are avoided are taken only when nothing else is left: a try may work, a
   * refusal never does.
   */
  pick(now: Millis, exclude?: string): BalancedEndpoint | null {
    const count = this.endpoints.length;
    if (count === 0) return null;
    if (count === 1) return this.endpoints[0]!;
    const first = this.draw();
    let second = this.draw();
    // Drawn twice, an endpoint would compete with itself: in small clusters that is most of the draws.
    if (second === first) second = this.draw();
    let best = this.better(first, second, now, exclude);
    for (let i = 0; i < redraws && !usable(best, now, exclude); i++)
      best = this.better(best, this.draw(), now, exclude);
    return usable(best, now, exclude) ? best : this.scan(best, now, exclude);
  }

  private draw(): BalancedEndpoint {
    return this.endpoints[this.sampler.sample(this.random)]!;
  }

  /** The less loaded of two, a usable one before one that is not, the excluded one last. */
  private better(
    first: BalancedEndpoint,
    second: BalancedEndpoint,
    now: Millis,
    exclude: string | undefined,
  ): BalancedEndpoint {
    if (first.id === exclude) return second;
    if (second.id === exclude) return first;
    const firstAvoided = first.avoided(now);
    if (firstAvoided !== second.avoided(now)) return firstAvoided ? second : first;
    return second.load() < first.load() ? second : first;
  }

  /** The least loaded usable endpoint, looked for one by one from a random start; rare, so O(n) is fine. */
  private scan(fallback: BalancedEndpoint, now: Millis, exclude: string | undefined): BalancedEndpoint {
    const count = this.endpoints.length;
    const start = Math.floor(this.random.next() * count);
    let best = fallback;
    for (let i = 0; i < count; i++)
      best = this.better(best, this.endpoints[(start + i) % count]!, now, exclude);
    return best;
  }
}

function usable(endpoint: BalancedEndpoint, now: Millis, exclude: string | undefined): boolean {
  return endpoint.id !== exclude && !endpoint.avoided(now);
}

/** Weighted draws in constant time: Walker's alias method, built as in Vose, IEEE TSE 17 (9), 1991. */
class AliasTable {
  private readonly threshold: Float64Array;
  private readonly alias: Int32Array;

  constructor(weights: readonly number[]) {
    const count = weights.length;
    this.threshold = new Float64Array(count).fill(1);
    this.alias = new Int32Array(count);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const scaled = weights.map((weight) => (weight * count) / total);
    const small: number[] = [];
    const large: number[] = [];
    for (let i = 0; i < count; i++) (scaled[i]! < 1 ? small : large).push(i);
    while (small.length > 0 && large.length > 0) {
      const less = small.pop()!;
      const more = large.pop()!;
      this.threshold[less] = scaled[less]!;
      this.alias[less] = more;
      scaled[more] = scaled[more]! - (1 - scaled[less]!);
      (scaled[more]! < 1 ? small : large).push(more);
    }
  }

  /** An index, with probability proportional to its weight. There is at least one. */
  sample(random: Random): number {
    const scaled = random.next() * this.threshold.length;
    const index = Math.floor(scaled);
    return scaled - index < this.threshold[index]! ? index : this.alias[index]!;
  }
}
