/**
 * How much of this host's traffic stays in its zone. All of it while the zone has capacity for what its callers
 * send; else as much as it has capacity for, and the rest spills over to the other zones (after Envoy's
 * zone-aware routing).
 *
 * A zone's capacity is the weight of its endpoints that are in rotation, so that it shrinks when they are
 * suspected, ejected or warming up. What its callers send is taken to be their share of all callers.
 */

/** All three between 0 and 1: of capacity, of callers, and (the answer) of traffic that stays. */
export function stayingShare(capacityShare: number, callerShare: number): number {
  if (callerShare <= capacityShare) return 1;
  return capacityShare / callerShare;
}

/** The share of callers that are in this zone where nobody knows: as many in each zone that has endpoints. */
export function evenCallerShare(zones: ReadonlySet<string>): number {
  return 1 / Math.max(zones.size, 1);
}
