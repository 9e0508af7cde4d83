import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { monotonicClock, systemClock } from '../../../../src/agent/io/clock.ts';

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

test('threads agree on the time since the system started, whenever they began', async () => {
  const clock = systemClock();
  const script = `
    import { parentPort } from 'node:worker_threads';
    import { systemClock } from '${new URL('../../../../src/agent/io/clock.ts', import.meta.url)}';
    const clock = systemClock();
    parentPort.postMessage(clock());
  `;
  const before = clock();
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`));
  const [there] = (await once(worker, 'message')) as [number];
  // Each may be off by the microseconds between two readings.
  assert.ok(before - 1 <= there && there <= clock() + 1, `${before} ${there} ${clock()}`);
});
