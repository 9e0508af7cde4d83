/** Orders what is on hosts by how near those hosts are to one of them, for `?near` of the API. */
import type { HostId } from '../../core.ts';

/** The round trip to expect between two hosts, milliseconds; null when nothing is known of it. */
export type EstimateMs = (from: HostId, to: HostId) => number | null;

/**
 * A copy of `rows`, the nearest to `from` first: what is on `from` itself leads, what nothing is known of
 * comes last, and what is equally far keeps its order, as in Consul. Asks once for each host.
 */
export function byNearness<T>(
  rows: readonly T[],
  from: HostId,
  hostOf: (row: T) => HostId,
  estimateMs: EstimateMs,
): T[] {
  const known = new Map<HostId, number>([[from, Number.NEGATIVE_INFINITY]]);
  const distanceTo = (host: HostId): number => {
    const held = known.get(host);
    if (held !== undefined) return held;
    const distanceMs = estimateMs(from, host);
    const distance = distanceMs === null || Number.isNaN(distanceMs) ? Number.POSITIVE_INFINITY : distanceMs;
    known.set(host, distance);
    return distance;
  };
  return rows
    .map((row) => ({ row, distance: distanceTo(hostOf(row)) }))
    .sort((a, b) => (a.distance < b.distance ? -1 : a.distance > b.distance ? 1 : 0))
    .map(({ row }) => row);
}
