/**
 * How much of this host's traffic stays in its zone. All of it while the zone has capacity for what its callers
 * send; else as much as it has capacity for, and the rest spills over to the other zones (after Envoy's
 * zone-aware routing).
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

/** All three between 0 and 1: of capacity, of callers, and (the answer) of traffic that stays. */
export function stayingShare(capacityShare: number, callerShare: number): number {
  if (callerShare <= capacityShare) return 1;
  return capacityShare / callerShare;
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

/** The share of callers that are in this zone where nobody knows: as many in each zone that has endpoints. */
export function evenCallerShare(zones: ReadonlySet<string>): number {
  return 1 / Math.max(zones.size, 1);
}
