import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplayWindow } from '../../../../src/gossip/membership/replay-window.ts';

test('a counter is taken once', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(1, 0), true);
  assert.equal(window.take(1, 0), false);
  assert.equal(window.take(1, 1), true);
  assert.equal(window.take(1, 0), false);
});

test('a datagram may be overtaken by 63 later ones, not by 64', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(1, 1000), true);
  assert.equal(window.take(1, 937), true);
  assert.equal(window.take(1, 936), false);
  assert.equal(window.take(1, 937), false);
});

test('a leap forward forgets what it left behind, and nothing of it is taken again', () => {
  const window = new ReplayWindow();
  for (let counter = 0; counter < 64; counter++) assert.equal(window.take(1, counter), true);
  assert.equal(window.take(1, 1_000_000), true);
  for (let counter = 0; counter < 64; counter++) assert.equal(window.take(1, counter), false);
});

test('a later run starts anew, whatever its counters, and nothing of the earlier one is taken again', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(1, 5000), true);
  assert.equal(window.take(2, 0), true);
  assert.equal(window.take(1, 5000), false);
  assert.equal(window.take(1, 4999), false);
  assert.equal(window.take(2, 0), false);
});

test('a host restored from an older snapshot is heard, for its counters are above all before', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(20, 1000), true);
  assert.equal(window.take(6, 5000), true);
  assert.equal(window.take(6, 4999), true, 'overtaken');
  for (const counter of [5000, 4999, 1000]) assert.equal(window.take(6, counter), false);
  assert.equal(window.take(20, 1000), false);
  assert.equal(window.take(7, 9000), true, 'started again');
  assert.equal(window.take(6, 5001), false);
  assert.equal(window.take(3, 9500), true, 'restored again');
});

test('a run with a lower epoch takes nothing from before it was heard', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(6, 1000), true);
  assert.equal(window.take(20, 10), true);
  assert.equal(window.take(6, 1001), true);
  for (const counter of [1000, 999, 1001]) assert.equal(window.take(6, counter), false);
  assert.equal(window.take(20, 10), false);
  assert.equal(window.take(20, 11), true);
});

test('an old datagram with a counter of a clock that was ahead does not shut out the present run', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(20, 1000), true);
  assert.equal(window.take(5, 2 ** 47), true);
  for (let counter = 1001; counter < 1100; counter++) assert.equal(window.take(20, counter), true);
  assert.equal(window.take(21, 1100), true);
});

test('counters as large as six bytes hold are told apart', () => {
  const window = new ReplayWindow();
  const largest = 2 ** 48 - 1;
  assert.equal(window.take(1, largest), true);
  assert.equal(window.take(1, largest - 1), true);
  assert.equal(window.take(1, largest), false);
  assert.equal(window.take(1, largest - 1), false);
});
