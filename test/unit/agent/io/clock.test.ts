import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicClock } from '../../../../src/agent/io/clock.ts';

test('the clock is the wall’s, and whole milliseconds', () => {
  const now = monotonicClock();
  const before = Date.now();
  const read = now();
  assert.ok(Number.isInteger(read) && read >= before && read <= Date.now() + 1);
});

test('the clock follows the wall forwards, and never back', () => {
  let wall = 1_000_000;
  let elapsed = 0;
  const now = monotonicClock(
    () => wall,
    () => elapsed,
  );
  assert.equal(now(), 1_000_000);
  const pass = (ms: number, wallMs = ms): number => {
    elapsed += ms;
    wall += wallMs;
    return now();
  };
  assert.equal(pass(10), 1_000_010);
  // The machine was suspended: time passed that the process did not see.
  assert.equal(pass(1, 3_600_000), 4_600_010);
  // Somebody set the clock back: time goes on at its pace.
  assert.equal(pass(5, -7_200_000), 4_600_015);
  assert.equal(pass(5), 4_600_020);
});
