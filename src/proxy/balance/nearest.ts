/**
 * Which endpoints to prefer where there are no zones to go by: those that the network's round trips say are nearer
 * than the others. Two draws alone cannot do it: among one near endpoint and five far ones two of three pairs are
 * far. A preference is all it is: near endpoints that get so busy that a far one would answer clearly sooner are left.
 */
import type { BalancedEndpoint } from './endpoint.ts';

/** Round trips up to so many times the shortest are as short. */
const alikeFactor = 2;
/** What weighs less, relative to the mean, is suspected, warming up, on trial or small: nearness must not outdo that. */
const leastShare = 0.5;

/** Null where none is known to be nearer than another. */
export function nearestOf(endpoints: readonly BalancedEndpoint[]): BalancedEndpoint[] | null {
  let shortestMs = Infinity;
  let longestMs = 0;
  for (const { roundTripMs, share } of endpoints) {
    if (roundTripMs === null) continue;
    if (share >= leastShare) shortestMs = Math.min(shortestMs, roundTripMs);
    longestMs = Math.max(longestMs, roundTripMs);
  }
  const isNear = ({ roundTripMs, share }: BalancedEndpoint): boolean =>
    roundTripMs !== null && share >= leastShare && roundTripMs <= shortestMs * alikeFactor;
  return longestMs > shortestMs * alikeFactor ? endpoints.filter(isNear) : null;
}
