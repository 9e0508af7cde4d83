import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { HybridClock, maxClockAheadMs } from '../../../../src/gossip/replica/hlc.ts';
import { hlcMillis } from '../../../../src/gossip/replica/record.ts';

test('a tick follows the wall clock and counts within one millisecond', () => {
  const clock = new HybridClock();
  assert.equal(clock.tick(1000), 1000 * 1024);
  assert.equal(clock.tick(1000), 1000 * 1024 + 1);
  assert.equal(clock.tick(1001), 1001 * 1024);
});

test('a tick is later than what was observed, even when the own clock is behind', () => {
  const clock = new HybridClock();
  clock.observe(5000 * 1024 + 7, 1000);
  assert.equal(clock.tick(1000), 5000 * 1024 + 8);
});

test('a timestamp more than a minute ahead is refused and moves nothing', () => {
  const clock = new HybridClock();
  const now = 1_000_000;
  clock.observe((now + maxClockAheadMs) * 1024, now);
  assert.throws(
    () => clock.observe((now + maxClockAheadMs + 1) * 1024, now),
    (error) => error instanceof Fault && error.code === 'clock-ahead',
  );
  assert.equal(hlcMillis(clock.tick(now)), now + maxClockAheadMs);
});

test('more events in a millisecond than the counter holds spill into the next one, in order', () => {
  const clock = new HybridClock();
  let last = 0;
  for (let i = 0; i < 3000; i++) {
    const next = clock.tick(1);
    assert.ok(next > last);
    last = next;
  }
  assert.equal(hlcMillis(last), 3);
});
