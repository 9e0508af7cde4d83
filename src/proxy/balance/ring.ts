/**
 * `ring_hash`: each endpoint has points on a circle, a key belongs to the next point (Karger et al., "Consistent
 * Hashing and Random Trees", STOC 1997; many points an endpoint as in Ketama).
 *
 * How many points an endpoint has mostly stays as it is when another one comes, goes or changes its weight, so
 * that only the keys of that one move. The ring follows from the endpoints alone: every host of the mesh has the
 * same one.
 */
import type { Random } from '../../core.ts';
import type { BalancedEndpoint } from './endpoint.ts';
import { xxHash32 } from './hash.ts';
import { TableChooser } from './table.ts';

/** The largest ring that is built whatever is asked for: 2 MiB, and some 50 ms of work at each change. */
export const maxRingPoints = 2 ** 18;
/** The smallest ring that is asked for is what so many endpoints have: shares are even within some 6 % by default. */
const endpointsOfSmallestRing = 4;
/** Above every index of an endpoint: a point and its endpoint are sorted as one number. */
const indexRange = 2 ** 20;

export class RingChooser extends TableChooser {
  protected readonly places: Int32Array;
  /** Where the points are, in ascending order. */
  private readonly points: Uint32Array;

  constructor(
    endpoints: readonly BalancedEndpoint[],
    random: Random,
    size: { readonly minimumRingSize: number; readonly maximumRingSize: number },
  ) {
    super(endpoints, random);
    const sorted = sortedPoints(endpoints, pointCounts(endpoints, size));
    this.points = Uint32Array.from(sorted, (point) => Math.floor(point / indexRange));
    this.places = Int32Array.from(sorted, (point) => point % indexRange);
  }

  /** The first point at or after the hash, around the circle. */
  protected placeOf(hash: number): number {
    const { points } = this;
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (points[middle]! < hash) low = middle + 1;
      else high = middle;
    }
    return low === points.length ? 0 : low;
  }
}

/**
 * How many points each endpoint has: by weight, one at least. The heaviest has as many whoever else is there,
 * unless the largest ring that is asked for would not hold them: then half, and half of that. Every number of
 * points that followed from the number of endpoints would move keys between those that stay.
 */
function pointCounts(
  endpoints: readonly BalancedEndpoint[],
  {
    minimumRingSize,
    maximumRingSize,
  }: { readonly minimumRingSize: number; readonly maximumRingSize: number },
): number[] {
  const heaviest = endpoints.reduce((most, { weight }) => Math.max(most, weight), 0);
  const together = endpoints.reduce((sum, { weight }) => sum + weight / heaviest, 0);
  let points = Math.max(Math.ceil(minimumRingSize / endpointsOfSmallestRing), 1);
  while (points > 1 && points * together > Math.min(maximumRingSize, maxRingPoints)) points /= 2;
  return endpoints.map(({ weight }) => Math.max(1, Math.round((weight / heaviest) * points)));
}

/** Each point as `position * indexRange + index`, ascending. */
function sortedPoints(endpoints: readonly BalancedEndpoint[], counts: readonly number[]): Float64Array {
  const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
  let at = 0;
  for (const [index, { id }] of endpoints.entries()) {
    const bytes = Buffer.from(id, 'utf8');
    for (let i = 0; i < counts[index]!; i++)
      points[at++] = xxHash32(bytes, 0, bytes.length, i) * indexRange + index;
  }
  return points.sort();
}
