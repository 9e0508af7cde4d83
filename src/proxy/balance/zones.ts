/**
 * How much of what a host sends stays in its zone, and where the rest goes (after Envoy's zone aware routing, but by
 * weight instead of by count). A zone keeps what its callers send as far as its endpoints have capacity for it; what
 * is too much goes to the zones whose endpoints have more than their own callers need, by how much more. So
 * every endpoint gets its due however unevenly callers and endpoints are spread, and no more than must crosses zones.
 *
 * A zone's capacity is the weight of its endpoints that are in rotation, so that it shrinks when they are
 * suspected, ejected or warming up. What its callers send is taken to be their share of all callers. Where
 * latency is looked at, a zone that answers several times slower than others is left as well, whatever its
 * weights say: it is overloaded, or broken in a way that nothing else shows.
 */
import type { Millis } from '../../core.ts';
import type { BalancePolicy } from '../policy.ts';
import type { BalancedEndpoint } from './endpoint.ts';

/** An endpoint that is quicker than this is not left for one in another zone, milliseconds. */
const quickMs = 25;
/** An endpoint elsewhere has to be so many times quicker. */
const leavingFactor = 3;
/** Shares that add up to 1 do so but for this: what is left is no capacity. */
const rounding = 1e-9;

/** How many instances of the calling service are in one zone. */
export interface ZoneCallers {
  /** '' where it is not known: then it sends to all zones alike, and does not count. */
  readonly zone: string;
  readonly instances: number;
}

/** Where a host is among the callers of a cluster. */
export interface Locality {
  /** '' where it is not known: then there is no preference. */
  readonly zone: string;
  /** The callers that share the cluster with it, itself among them; none where nobody knows. */
  readonly callers: readonly ZoneCallers[];
  /** The network's round trips to endpoints, milliseconds, by their ids, as far as they are known; 0 is near. */
  readonly roundTrips: ReadonlyMap<string, number>;
}

/** There is nothing to prefer. */
export const noLocality: Locality = { zone: '', callers: [], roundTrips: new Map() };

/** Where calls from one zone go. */
export interface ZonePlan {
  /** Of all capacity, and of all callers, what is in the zone, 0 to 1. */
  readonly capacityShare: number;
  readonly callerShare: number;
  /** Which part of the calls stays, 0 to 1. */
  readonly staying: number;
  /**
   * The other zones that take what does not stay, and for what part of it each; they add up to 1. Where no zone has
   * capacity to spare, all of them, by capacity.
   */
  readonly spilling: readonly Zoned[];
}

/** An endpoint that is in rotation, with its weight among the others. */
interface Zoned {
  readonly zone: string;
  /** Above 0. */
  readonly share: number;
}

/** Null where zones are not looked at, or would make no difference: then every endpoint gets what it weighs. */
export function planFor(
  { method, zoneAware, zoneMinimumEndpoints }: BalancePolicy,
  { zone, callers }: Pick<Locality, 'zone' | 'callers'>,
  endpoints: readonly Zoned[],
): ZonePlan | null {
  const isByHash = method === 'ring_hash' || method === 'maglev';
  if (!zoneAware || isByHash || zone === '' || endpoints.length < zoneMinimumEndpoints) return null;
  const known = callers.filter((one) => one.zone !== '');
  const callerCount = sum(known.map(({ instances }) => instances));
  const byZone = capacities(endpoints);
  if (byZone.size < 2 || callerCount === 0) return null;
  const capacity = sum(byZone.values());
  const callerShareOf = (one: string): number =>
    (known.find((each) => each.zone === one)?.instances ?? 0) / callerCount;
  const capacityShare = (byZone.get(zone) ?? 0) / capacity;
  const callerShare = callerShareOf(zone);
  const others = [...byZone].filter(([one]) => one !== zone);
  const spare = others.map(([one, amount]) => Math.max(amount / capacity - callerShareOf(one), 0));
  const weights = sum(spare) > rounding ? spare : others.map(([, amount]) => amount);
  const total = sum(weights);
  const shares = others.map(([one], i) => ({ zone: one, share: weights[i]! / total }));
  return {
    capacityShare,
    callerShare,
    staying: callerShare <= capacityShare ? 1 : capacityShare / callerShare,
    spilling: shares.filter(({ share }) => share > rounding),
  };
}

/** What the endpoints of each zone weigh together. */
export function capacities(endpoints: readonly Zoned[]): Map<string, number> {
  const byZone = new Map<string, number>();
  for (const { zone, share } of endpoints) byZone.set(zone, (byZone.get(zone) ?? 0) + share);
  return byZone;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/** Whether an endpoint is slow enough to be compared with one of another zone. */
export function mayBeLeft(near: BalancedEndpoint, now: Millis): boolean {
  return near.latencyMs(now) >= quickMs;
}

/** Whether `far`, of another zone, is so much quicker. One that nobody has measured is asked to find out, if it can be. */
export function isWorthLeaving(near: BalancedEndpoint, far: BalancedEndpoint, now: Millis): boolean {
  const farMs = far.latencyMs(now);
  if (farMs === 0 && far.inflight > 0) return false;
  return near.latencyMs(now) > (farMs || (far.roundTripMs ?? 0)) * leavingFactor;
}
