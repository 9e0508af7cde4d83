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

test('a later run starts anew, and ends the earlier one', () => {
  const window = new ReplayWindow();
  assert.equal(window.take(1, 5000), true);
  assert.equal(window.take(2, 0), true);
  assert.equal(window.take(1, 5001), false);
  assert.equal(window.take(2, 0), false);
});

test('counters as large as six bytes hold are told apart', () => {
  const window = new ReplayWindow();
  const largest = 2 ** 48 - 1;
  assert.equal(window.take(1, largest), true);
  assert.equal(window.take(1, largest - 1), true);
  assert.equal(window.take(1, largest), false);
  assert.equal(window.take(1, largest - 1), false);
});
