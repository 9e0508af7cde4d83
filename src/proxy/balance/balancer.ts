/**
 * Which endpoint of one cluster gets the next request: keeps who is in rotation, who warms up and what stays in
 * this host's zone, and leaves the choice among those to a chooser. All of that is worked out when something
 * changed; a pick allocates nothing.
 */
import type { Millis, Random } from '../../core.ts';
import { assert } from '../../core.ts';
import type { BalancePolicy } from '../policy.ts';
import { defaultBalance } from '../policy-defaults.ts';
import { type Chooser, noHash } from './chooser.ts';
import { LatencyChooser, LeastRequestChooser, RandomChooser } from './draws.ts';
import { BalancedEndpoint, type OutcomeListener, type Rotation } from './endpoint.ts';
import { MaglevChooser } from './maglev.ts';
import { nearestOf } from './nearest.ts';
import { RingChooser } from './ring.ts';
import { RoundRobinChooser } from './round-robin.ts';
import {
  capacities,
  isWorthLeaving,
  type Locality,
  mayBeLeft,
  noLocality,
  planFor,
  type ZonePlan,
} from './zones.ts';

/** The part of its weight that an endpoint begins with when it warms up. */
const coldShare = 0.1;
/** Steps in which an endpoint warms up, ... */
const warmingSteps = 20;
/** ... and how long one takes at least, milliseconds. */
const minWarmingStepMs = 50;

export interface EndpointSpec {
  readonly id: string;
  /** Finite, above 0. */
  readonly weight: number;
  /** '' where it is not known. */
  readonly zone?: string;
}

/** Where picks went, counted. */
export interface PickCounts {
  /** While so few endpoints were in good order that health was not looked at. */
  panicked: number;
  /** To this host's zone, where zones are looked at, ... */
  stayed: number;
  /** ... and to others. */
  crossed: number;
}

/** The endpoints of one cluster. State of an endpoint survives every `update` that still names its id. */
export class Balancer {
  private readonly random: Random;
  private readonly listener: OutcomeListener | null;
  private policy: BalancePolicy = defaultBalance;
  private locality: Locality = noLocality;
  private byId = new Map<string, BalancedEndpoint>();
  private all: readonly BalancedEndpoint[] = [];
  private readonly rotation: Rotation = { isStale: true };
  /** When who is in rotation, or how warm it is, changes by time alone. */
  private staleAt: Millis = 0;
  private fitCount = 0;
  private panicking = false;
  /** For the hash methods; made anew with the set of endpoints, not with their health. */
  private table: Chooser | null = null;
  /** Endpoints in rotation in this zone, and elsewhere; `far` has all of them where zones do not matter. */
  private near: Chooser | null = null;
  private far: Chooser | null = null;
  /** Which part of the picks stays near. */
  private nearShare = 0;
  /** Whether zones are looked at now. */
  private areZonesApart = false;
  /** Those that are preferred by distance, where zones make no difference. */
  private nearest: readonly BalancedEndpoint[] = [];
  readonly counts: PickCounts = { panicked: 0, stayed: 0, crossed: 0 };

  constructor(random: Random, listener: OutcomeListener | null = null) {
    this.random = random;
    this.listener = listener;
  }

  get size(): number {
    return this.all.length;
  }

  get endpoints(): readonly BalancedEndpoint[] {
    return this.all;
  }

  get(id: string): BalancedEndpoint | undefined {
    return this.byId.get(id);
  }

  /** Takes on how to balance, from the next pick on. The same again costs nothing. */
  configure(policy: BalancePolicy, locality: Locality): void {
    const { zone, callers } = this.locality;
    const isSame =
      JSON.stringify([policy, locality.zone, locality.callers]) ===
      JSON.stringify([this.policy, zone, callers]);
    this.policy = policy;
    this.locality = locality;
    for (const endpoint of this.all) this.place(endpoint);
    if (isSame) return;
    this.table = null;
    this.rotation.isStale = true;
  }

  private place(endpoint: BalancedEndpoint): void {
    const roundTripMs = this.locality.roundTrips.get(endpoint.id) ?? null;
    if (roundTripMs === endpoint.roundTripMs) return;
    endpoint.roundTripMs = roundTripMs;
    this.rotation.isStale = true;
  }

  /** Replaces the set of endpoints. Ids are unique. */
  update(specs: readonly EndpointSpec[]): void {
    const isFirst = this.all.length === 0;
    const byId = new Map<string, BalancedEndpoint>();
    let changed = specs.length !== this.all.length;
    for (const [index, { id, weight, zone = '' }] of specs.entries()) {
      assert(weight > 0 && Number.isFinite(weight), `weight ${weight} of endpoint ${id}`);
      assert(!byId.has(id), `endpoint ${id} twice in one cluster`);
      const known = this.byId.get(id);
      const endpoint = known ?? new BalancedEndpoint(id, weight, zone, this.rotation, this.listener);
      changed ||= this.all[index] !== endpoint || endpoint.weight !== weight || endpoint.zone !== zone;
      // Those that are there from the beginning are as warm as they can be.
      if (known === undefined && isFirst) endpoint.warmSince = Number.NEGATIVE_INFINITY;
      endpoint.weight = weight;
      endpoint.zone = zone;
      this.place(endpoint);
      byId.set(id, endpoint);
    }
    if (!changed) return;
    this.byId = byId;
    this.all = [...byId.values()];
    this.table = null;
    this.rotation.isStale = true;
  }

  /**
   * The endpoint for the next request; null only when there is none at all. `exclude` (the one that just
   * failed) and endpoints that are out of rotation are taken only when nothing else is left: a try may work, a
   * refusal never does.
   */
  pick(now: Millis, exclude?: string, hash: number = noHash): BalancedEndpoint | null {
    if (this.all.length === 0) return null;
    if (this.rotation.isStale || now >= this.staleAt) this.refresh(now);
    const choice = this.chosen(now, exclude, hash) ?? this.leastBusy(exclude) ?? this.all[0]!;
    if (this.panicking) this.counts.panicked++;
    if (this.areZonesApart) this.count(choice);
    return choice;
  }

  private count(choice: BalancedEndpoint): void {
    if (choice.zone === this.locality.zone) this.counts.stayed++;
    else this.counts.crossed++;
  }

  /** Whether it is preferred because it is near. */
  isNearest(endpoint: BalancedEndpoint): boolean {
    return this.nearest.includes(endpoint);
  }

  /** Whether there is an endpoint in good order: if not, another cluster is asked, where there is one. */
  hasFit(now: Millis): boolean {
    if (this.rotation.isStale || now >= this.staleAt) this.refresh(now);
    return this.fitCount > 0;
  }

  /** Whether some endpoint serves what it is asked: then asking again is likely to help. */
  someAreWell(): boolean {
    return this.all.some(({ isWell }) => isWell);
  }

  /** Whether so few endpoints are in good order that health is not looked at. */
  isPanicking(now: Millis): boolean {
    if (this.rotation.isStale || now >= this.staleAt) this.refresh(now);
    return this.panicking;
  }

  private chosen(now: Millis, exclude: string | undefined, hash: number): BalancedEndpoint | null {
    if (this.table !== null) return this.table.choose(now, exclude, hash);
    const { near, far } = this;
    if (near === null || far === null) return (near ?? far)?.choose(now, exclude, hash) ?? null;
    if (this.nearShare < 1 && this.random.next() >= this.nearShare)
      return far.choose(now, exclude, hash) ?? near.choose(now, exclude, hash);
    const choice = near.choose(now, exclude, hash);
    if (choice !== null && (this.policy.method !== 'p2c' || !mayBeLeft(choice, now))) return choice;
    const rival = far.choose(now, exclude, hash);
    if (choice === null || rival === null) return choice ?? rival;
    return isWorthLeaving(choice, rival, now) ? rival : choice;
  }

  /**
   * Of those that the choosers do not have: in zones without capacity to spare, then out of rotation. Only ever
   * needed when nobody else is left, so looking at all is fine.
   */
  private leastBusy(exclude: string | undefined): BalancedEndpoint | null {
    let best: BalancedEndpoint | null = null;
    for (const endpoint of this.all) {
      if (endpoint.id === exclude) continue;
      const isBetter = best === null || (endpoint.inRotation && !best.inRotation);
      const isAlike = endpoint.inRotation === best?.inRotation;
      if (isBetter || (isAlike && endpoint.load < best!.load)) best = endpoint;
    }
    return best;
  }

  private refresh(now: Millis): void {
    this.rotation.isStale = false;
    this.staleAt = Number.POSITIVE_INFINITY;
    this.judge(now);
    this.weigh(now);
    const { method } = this.policy;
    if (method !== 'ring_hash' && method !== 'maglev') this.divide();
    else if (this.table === null && this.all.length > 0) this.table = this.tableOf(method);
  }

  /** Who is in rotation: the fit ones, or everybody when they are too few. */
  private judge(now: Millis): void {
    this.fitCount = 0;
    for (const endpoint of this.all) {
      endpoint.inRotation = endpoint.isFit(now);
      if (endpoint.inRotation) this.fitCount++;
      else this.staleAt = Math.min(this.staleAt, endpoint.unfitUntil);
    }
    this.panicking = this.fitCount === 0 || this.fitCount * 100 < this.policy.panicPercent * this.all.length;
    if (this.panicking) for (const endpoint of this.all) endpoint.inRotation = true;
  }

  /** What each weighs now, with the mean as 1. The hash methods go by the configured weight. */
  private weigh(now: Millis): void {
    let sum = 0;
    for (const endpoint of this.all) {
      endpoint.share = endpoint.weight * this.warmth(endpoint, now);
      sum += endpoint.share;
    }
    for (const endpoint of this.all) endpoint.share *= this.all.length / sum;
  }

  private warmth(endpoint: BalancedEndpoint, now: Millis): number {
    const { slowStartMs } = this.policy;
    endpoint.warmSince ??= now;
    const warmMs = now - endpoint.warmSince;
    if (slowStartMs === 0 || warmMs >= slowStartMs) return 1;
    if (endpoint.inRotation)
      this.staleAt = Math.min(this.staleAt, now + Math.max(slowStartMs / warmingSteps, minWarmingStepMs));
    return Math.max(warmMs / slowStartMs, coldShare);
  }

  /** Divides those in rotation into near and far ones, and works out how much stays near. */
  private divide(): void {
    const rotating = this.all.filter(({ inRotation }) => inRotation);
    // As in Envoy, not in panic: then it is not known who is in good order.
    const plan = this.panicking ? null : planFor(this.policy, this.locality, rotating);
    const near = plan === null ? [] : rotating.filter(({ zone }) => zone === this.locality.zone);
    const far = plan === null ? rotating : spilledTo(rotating, plan);
    this.areZonesApart = plan !== null;
    this.nearShare = plan?.staying ?? 0;
    this.table = null;
    this.nearest = [];
    this.near = near.length === 0 ? null : this.chooserOf(near);
    this.far = far.length === 0 ? null : this.chooserOf(far);
  }

  private chooserOf(endpoints: readonly BalancedEndpoint[]): Chooser {
    const { method, choiceCount } = this.policy;
    if (method === 'round_robin') return new RoundRobinChooser(endpoints, this.random);
    if (method === 'least_request') return new LeastRequestChooser(endpoints, this.random, choiceCount);
    if (method === 'random') return new RandomChooser(endpoints, this.random);
    const nearest = this.isDistanceLookedAt(endpoints.length) ? nearestOf(endpoints) : null;
    this.nearest = nearest ?? [];
    return new LatencyChooser(endpoints, this.random, nearest);
  }

  /** Distance stands in for zones where those make no difference. */
  private isDistanceLookedAt(count: number): boolean {
    const { zoneAware, zoneMinimumEndpoints } = this.policy;
    return zoneAware && count >= zoneMinimumEndpoints && !this.areZonesApart && !this.panicking;
  }

  private tableOf(method: 'ring_hash' | 'maglev'): Chooser {
    this.near = null;
    this.far = null;
    this.areZonesApart = false;
    this.nearest = [];
    if (method === 'maglev') return new MaglevChooser(this.all, this.random);
    return new RingChooser(this.all, this.random, this.policy.ringHash);
  }
}

/** Those in other zones that take what does not stay. From here on they weigh what their zone takes of it. */
function spilledTo(rotating: readonly BalancedEndpoint[], { spilling }: ZonePlan): BalancedEndpoint[] {
  const parts = new Map(spilling.map(({ zone, share }) => [zone, share]));
  const far = rotating.filter(({ zone }) => parts.has(zone));
  const byZone = capacities(far);
  const total = far.reduce((sum, { share }) => sum + share, 0);
  for (const endpoint of far)
    endpoint.share *= (parts.get(endpoint.zone)! * total) / byZone.get(endpoint.zone)!;
  return far;
}
