import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, quantile } from '../../../bench/statistics.ts';

test('the median ignores order and one wild value', () => {
  assert.equal(median([3, 1000, 1]), 3);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
});

test('a quantile is the smallest value that the share does not exceed', () => {
  const values = [40, 10, 30, 20];
  assert.equal(quantile(values, 0.5), 20);
  assert.equal(quantile(values, 0.51), 30);
  assert.equal(quantile(values, 1), 40);
  assert.equal(quantile(values, 0), 10);
});

test('no values have neither', () => {
  assert.throws(() => median([]), RangeError);
  assert.throws(() => quantile([], 0.5), RangeError);
});

test('summarising leaves the values as they were', () => {
  const values = [3, 1, 2];
  median(values);
  quantile(values, 0.5);
  assert.deepEqual(values, [3, 1, 2]);
});
