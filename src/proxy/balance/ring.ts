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
 * How many points each endpoint has: by weight, one at least. The heaviest has a power of two of them, enough for
 * the smallest ring that is asked for if all were as heavy; when some weigh less the ring may be half as large
 * before that number doubles, so that suspicion of an endpoint moves its keys and no others.
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
  const most = Math.min(maximumRingSize, maxRingPoints);
  const least = Math.min(minimumRingSize, most);
  let scale = 2 ** Math.ceil(Math.log2(Math.max(least / endpoints.length, 1)));
  while (scale * together < least / 2) scale *= 2;
  while (scale > 1 && scale * together > most) scale /= 2;
  return endpoints.map(({ weight }) => Math.max(1, Math.round((weight / heaviest) * scale)));
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
