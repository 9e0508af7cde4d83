/**
 * Which endpoints to prefer where there are no zones to go by: those that the network's round trips say are nearer
 * than the others. Two draws alone cannot do it: among one near endpoint and five far ones two of three pairs are
 * far. A preference is all it is: near endpoints that get so busy that a far one would answer clearly sooner are left.
 */
import type { BalancedEndpoint } from './endpoint.ts';

/** Round trips up to so many times the shortest are as short. */
const alikeFactor = 2;
/** The weight, relative to the mean, below which an endpoint is suspected, warming up or on trial: nearness must not outdo that. */
const leastShare = 0.5;

/** Null where none is nearer than the others, or nothing is known of distances. */
export function nearestOf(endpoints: readonly BalancedEndpoint[]): BalancedEndpoint[] | null {
  const sound = endpoints.filter(({ share }) => share >= leastShare);
  const shortestMs = sound.reduce((least, { roundTripMs }) => Math.min(least, roundTripMs), Infinity);
  const nearest = sound.filter(({ roundTripMs }) => roundTripMs <= shortestMs * alikeFactor);
  const isAnyFar = endpoints.some(({ roundTripMs }) => roundTripMs > shortestMs * alikeFactor);
  return isAnyFar && nearest.length > 0 ? nearest : null;
}
