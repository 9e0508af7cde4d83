import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyWindow } from '../../../src/agent/latency-window.ts';

test('a quantile is the bound that this share of all stayed within', () => {
  const window = new LatencyWindow(1000);
  assert.equal(window.quantileMs(0.99, 0), null);
  for (let i = 0; i < 98; i++) window.note(1.5, 0);
  window.note(250, 0);
  window.note(99_999, 0);
  assert.equal(window.quantileMs(0.5, 0), 2);
  assert.equal(window.quantileMs(0.99, 0), 300);
  assert.equal(window.quantileMs(1, 0), 60_000);
});

test('what was timed is forgotten after a window more', () => {
  const window = new LatencyWindow(1000);
  window.note(400, 0);
  assert.equal(window.quantileMs(0.99, 999), 500);
  window.note(1, 1500);
  assert.equal(window.quantileMs(0.99, 1999), 500);
  assert.equal(window.quantileMs(0.99, 2000), 1);
  assert.equal(window.quantileMs(0.99, 9000), null);
});
