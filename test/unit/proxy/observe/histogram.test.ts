/** Log-linear histograms against the plain way to count. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addCounts,
  countedSince,
  cumulative,
  durationLayout,
  Histogram,
  type HistogramLayout,
  istioBounds,
  quantileOf,
  sizeLayout,
  totalOf,
} from '../../../../src/proxy/observe/histogram.ts';

const layouts: readonly [string, HistogramLayout, number][] = [
  ['durations', durationLayout, 1000],
  ['sizes', sizeLayout, 1],
];

function counted(layout: HistogramLayout, values: readonly number[]) {
  const histogram = new Histogram(layout);
  for (const value of values) histogram.record(value);
  return histogram.snapshot();
}

/** Values on, beside and between the bounds. */
const someValues = (scale: number) =>
  fc.array(
    fc.oneof(
      fc.double({ min: 0, max: 5e9, noNaN: true }),
      fc.integer({ min: 0, max: 100_000 }),
      fc
        .tuple(fc.constantFrom(...istioBounds), fc.constantFrom(-1, -0.25, 0, 0.25, 1))
        .map(([bound, beside]) => Math.max(0, bound * scale + beside)),
    ),
    { maxLength: 60 },
  );

for (const [name, layout, scale] of layouts) {
  test(`buckets of ${name} hold exactly what is at or below each bound`, () => {
    fc.assert(
      fc.property(someValues(scale), (values) => {
        const expected = [
          ...istioBounds.map((bound) => values.filter((value) => value <= bound * scale).length),
          values.length,
        ];
        assert.deepEqual(cumulative(layout, counted(layout, values)), expected);
      }),
      { numRuns: 200 },
    );
  });
}

test('a quantile is at least the true one and at most an eighth above it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4_000_000_000 }), { minLength: 1, maxLength: 80 }),
      fc.constantFrom(0.5, 0.95, 0.99, 1),
      (values, quantile) => {
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(values.length * quantile)) - 1]!;
        const found = quantileOf(durationLayout, counted(durationLayout, values), quantile)!;
        assert.ok(found >= exact && found <= exact * 1.125 + 1, `${found} for ${exact}`);
      },
    ),
    { numRuns: 200 },
  );
});

test('what is no duration counts as none, and what is longer than can be told as the longest', () => {
  const counts = counted(durationLayout, [Number.NaN, -5, Number.POSITIVE_INFINITY, 1e300]);
  const totals = cumulative(durationLayout, counts);
  assert.deepEqual([totals[0], totals.at(-2), totals.at(-1)], [2, 2, 4]);
});

test('counts can be added, and taken apart again', () => {
  fc.assert(
    fc.property(someValues(1000), someValues(1000), (before, after) => {
      const earlier = counted(durationLayout, before);
      const since = counted(durationLayout, after);
      const both = addCounts(earlier, since);
      assert.deepEqual(both.cells, counted(durationLayout, [...before, ...after]).cells);
      assert.deepEqual(countedSince(both, earlier).cells, since.cells);
      assert.equal(totalOf(both), before.length + after.length);
    }),
    { numRuns: 100 },
  );
});
