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
import type { BalancedEndpoint } from './endpoint.ts';

/** An endpoint that is quicker than this is not left for one in another zone, milliseconds. */
const quickMs = 25;
/** An endpoint elsewhere has to be so many times quicker. */
const leavingFactor = 3;

/** How many instances of the calling service are in one zone. */
export interface ZoneCallers {
  /** '' where it is not known: then it sends to all zones alike, and does not count. */
  readonly zone: string;
  readonly instances: number;
}

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
  readonly spilling: ReadonlyMap<string, number>;
}

/**
 * The plan for callers in `zone`, which is known. `capacities` are those of each zone with endpoints, in any unit and above 0.
 * Null where zones make no difference: all capacity is in one zone, or nobody knows where the callers are.
 */
export function planZones(
  zone: string,
  capacities: ReadonlyMap<string, number>,
  callers: readonly ZoneCallers[],
): ZonePlan | null {
  const known = callers.filter((one) => one.zone !== '');
  const callerCount = known.reduce((sum, { instances }) => sum + instances, 0);
  if (capacities.size < 2 || callerCount === 0) return null;
  const capacity = sum(capacities.values());
  const callerShareOf = (one: string): number =>
    (known.find((each) => each.zone === one)?.instances ?? 0) / callerCount;
  const capacityShare = (capacities.get(zone) ?? 0) / capacity;
  const callerShare = callerShareOf(zone);
  const others = [...capacities].filter(([one]) => one !== zone);
  const spare = others.map(([one, amount]) => Math.max(amount / capacity - callerShareOf(one), 0));
  // Shares that add up to 1 do so but for rounding: what is left of that is no capacity.
  const isSpare = sum(spare) > 1e-9;
  const weights = isSpare ? spare : others.map(([, amount]) => amount);
  const total = sum(weights);
  const shares = others.map(([one], i): [string, number] => [one, weights[i]! / total]);
  return {
    capacityShare,
    callerShare,
    staying: callerShare <= capacityShare ? 1 : capacityShare / callerShare,
    spilling: new Map(shares.filter(([, share]) => share > 1e-9)),
  };
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

/** Whether `far`, of another zone, is so much quicker. One that nobody has measured is asked to find out. */
export function isWorthLeaving(near: BalancedEndpoint, far: BalancedEndpoint, now: Millis): boolean {
  const farMs = far.latencyMs(now);
  return farMs === 0 ? far.inflight === 0 : near.latencyMs(now) > farMs * leavingFactor;
}
