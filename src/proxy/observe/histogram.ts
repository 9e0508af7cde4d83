/**
 * Histograms that cost one array increment: log-linear buckets as HDR histograms have, cut once more where
 * Prometheus' buckets end, so that both quantiles and those buckets are read from the same counts. Pure.
 */
import { assert } from '../../core.ts';

/**
 * Upper bounds of Istio's histograms, of milliseconds and of bytes alike: Envoy's default buckets. Dashboards made
 * for Istio expect them.
 */
export const istioBounds: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

/** Values from here on are counted as this. */
const limit = 2 ** 32 - 1;

/**
 * Which cell a value is counted in. Values double from one octave to the next; each octave has `2 ** subBits`
 * buckets of equal width, hence a quantile is off by at most that part of itself. Bounds split the bucket that
 * they fall into: at most one a bucket.
 */
export class HistogramLayout {
  readonly cells: number;
  /** Of each cell, in the unit of the values; not reached by any value in it, except by a bound's own cell. */
  readonly upperEdges: Float64Array;
  /** How many of the cells lie at or below each bound. */
  readonly cellsUpTo: readonly number[];
  private readonly subBits: number;
  private readonly firstCell: Uint16Array;
  private readonly splitAt: Float64Array;

  constructor(subBits: number, bounds: readonly number[]) {
    this.subBits = subBits;
    const buckets = bucketOf(limit, subBits) + 1;
    this.firstCell = new Uint16Array(buckets);
    this.splitAt = new Float64Array(buckets).fill(Number.POSITIVE_INFINITY);
    const edges: number[] = [];
    const cellsUpTo: number[] = [];
    let next = 0;
    for (let bucket = 0; bucket < buckets; bucket++) {
      this.firstCell[bucket] = edges.length;
      const end = upperEdge(bucket, subBits);
      const bound = bounds[next];
      if (bound !== undefined && bound < end) {
        assert(bucket === 0 || bound >= upperEdge(bucket - 1, subBits), 'two bounds fall into one bucket');
        this.splitAt[bucket] = bound;
        edges.push(bound);
        cellsUpTo.push(edges.length);
        next++;
      }
      edges.push(end);
    }
    this.cells = edges.length;
    this.upperEdges = Float64Array.from(edges);
    this.cellsUpTo = cellsUpTo;
  }

  cellOf(value: number): number {
    const bucket = bucketOf(value, this.subBits);
    const cell = this.firstCell[bucket]!;
    return value > this.splitAt[bucket]! ? cell + 1 : cell;
  }
}

function bucketOf(value: number, subBits: number): number {
  if (value >= limit) return bucketOfWhole(limit, subBits);
  // What is no number or below zero counts as nothing.
  return value > 0 ? bucketOfWhole(value >>> 0, subBits) : 0;
}

function bucketOfWhole(whole: number, subBits: number): number {
  const octave = 31 - Math.clz32(whole | 1);
  // Below the first octave that can be divided, every whole number has its own bucket.
  if (octave < subBits) return whole;
  const sub = (whole >>> (octave - subBits)) - (1 << subBits);
  return ((octave - subBits + 1) << subBits) + sub;
}

function upperEdge(bucket: number, subBits: number): number {
  const width = 1 << subBits;
  if (bucket < width) return bucket + 1;
  const octave = (bucket >>> subBits) - 1 + subBits;
  return ((bucket & (width - 1)) + 1 + width) * 2 ** (octave - subBits);
}

/** Request durations, counted in microseconds: quantiles are off by an eighth at most. */
export const durationLayout = new HistogramLayout(
  3,
  istioBounds.map((ms) => ms * 1000),
);

/** Sizes of messages in bytes. Nobody asks for their quantiles: octaves will do. */
export const sizeLayout = new HistogramLayout(0, istioBounds);

/** A histogram at one moment, as plain data: what two of them counted can be added. */
export interface HistogramCounts {
  readonly sum: number;
  /** Pairs of a cell and its count, for cells that are not empty, ascending. */
  readonly cells: readonly (readonly [cell: number, count: number])[];
}

export const emptyCounts: HistogramCounts = { sum: 0, cells: [] };

export class Histogram {
  readonly layout: HistogramLayout;
  private readonly counts: Float64Array;
  private sum = 0;

  constructor(layout: HistogramLayout) {
    this.layout = layout;
    this.counts = new Float64Array(layout.cells);
  }

  record(value: number): void {
    this.counts[this.layout.cellOf(value)]!++;
    this.sum += value;
  }

  snapshot(): HistogramCounts {
    const cells: [number, number][] = [];
    for (let cell = 0; cell < this.counts.length; cell++)
      if (this.counts[cell] !== 0) cells.push([cell, this.counts[cell]!]);
    return { sum: this.sum, cells };
  }
}

export function totalOf({ cells }: HistogramCounts): number {
  return cells.reduce((total, [, count]) => total + count, 0);
}

/** What was counted in `later` and not yet in `earlier`, of the same histogram. */
export function countedSince(later: HistogramCounts, earlier: HistogramCounts): HistogramCounts {
  return combine(later, earlier, -1);
}

export function addCounts(a: HistogramCounts, b: HistogramCounts): HistogramCounts {
  return combine(a, b, 1);
}

function combine(a: HistogramCounts, b: HistogramCounts, factor: number): HistogramCounts {
  const counts = new Map(a.cells);
  for (const [cell, count] of b.cells) counts.set(cell, (counts.get(cell) ?? 0) + factor * count);
  const cells = [...counts].filter(([, count]) => count !== 0).sort(([x], [y]) => x - y);
  return { sum: a.sum + factor * b.sum, cells };
}

/** The value that this share of all values does not exceed, up to the width of a cell; null without values. */
export function quantileOf(
  layout: HistogramLayout,
  counts: HistogramCounts,
  quantile: number,
): number | null {
  let left = Math.max(1, Math.ceil(totalOf(counts) * quantile));
  for (const [cell, count] of counts.cells) {
    left -= count;
    if (left <= 0) return layout.upperEdges[cell]!;
  }
  return null;
}

/** How many values were at or below each of the layout's bounds, then how many there were. */
export function cumulative(layout: HistogramLayout, { cells }: HistogramCounts): number[] {
  const totals: number[] = [];
  let at = 0;
  let total = 0;
  for (const cellsUpTo of [...layout.cellsUpTo, layout.cells]) {
    while (at < cells.length && cells[at]![0] < cellsUpTo) total += cells[at++]![1];
    totals.push(total);
  }
  return totals;
}
