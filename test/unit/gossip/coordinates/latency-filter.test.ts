import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LatencyFilter,
  lowerMedian,
  maxFilteredPeers,
} from '../../../../src/gossip/coordinates/latency-filter.ts';

test('one slow answer among three does not count', () => {
  const filter = new LatencyFilter();
  assert.equal(filter.median('a', 10), 10);
  assert.equal(filter.median('a', 12), 10);
  assert.equal(filter.median('a', 900), 12);
  assert.equal(filter.median('a', 11), 12);
});

test('a lasting change counts from its second sample on', () => {
  const filter = new LatencyFilter();
  for (let i = 0; i < 5; i++) filter.median('a', 10);
  assert.equal(filter.median('a', 50), 10);
  assert.equal(filter.median('a', 50), 50);
});

test('peers are told apart, and one that is forgotten begins anew', () => {
  const filter = new LatencyFilter();
  filter.median('a', 10);
  assert.equal(filter.median('b', 90), 90);
  filter.forget('a');
  assert.equal(filter.median('a', 70), 70);
  assert.equal(filter.size, 2);
});

test('past the limit the peer measured longest ago is forgotten', () => {
  const filter = new LatencyFilter();
  filter.median('first', 10);
  filter.median('second', 10);
  filter.median('first', 10);
  for (let i = 0; i < maxFilteredPeers - 1; i++) filter.median(`peer ${i}`, 1);
  assert.equal(filter.size, maxFilteredPeers);
  assert.equal(filter.median('first', 99), 10);
  assert.equal(filter.median('second', 99), 99);
  assert.equal(filter.size, maxFilteredPeers);
});

test('the lower median orders numbers, not their spelling', () => {
  assert.equal(lowerMedian([10, 9, 100]), 10);
  assert.equal(lowerMedian([100, 9]), 9);
});
