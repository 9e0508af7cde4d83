import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RateLimitsPolicy } from '../../../../src/proxy/policy.ts';
import {
  maxCallerBuckets,
  noRoute,
  RateLimiter,
  ratesBytes,
} from '../../../../src/proxy/resilience/rate-limiter.ts';

const nothing: RateLimitsPolicy = { instance: null, routes: [], callers: [] };
const start = 1_790_000_000_000;

/** How many of `count` requests at one moment get through. */
function admitted(limiter: RateLimiter, count: number, now: number, source = 'web', route = noRoute): number {
  let through = 0;
  for (let i = 0; i < count; i++) if (limiter.admit(now, source, route) === null) through++;
  return through;
}

const path = (value: string) => ({ type: 'prefix', value, ignoreCase: false }) as const;

test('a burst goes through at once, and then as many as the rate says', () => {
  const limiter = new RateLimiter({ ...nothing, instance: { requestsPerSecond: 10, burst: 5 } }, start);
  assert.equal(admitted(limiter, 100, start), 5);
  assert.equal(limiter.retryAfterMs, 100);
  assert.equal(admitted(limiter, 100, start + 99), 0);
  assert.equal(limiter.retryAfterMs, 1);
  assert.equal(admitted(limiter, 100, start + 100), 1);
  assert.equal(admitted(limiter, 100, start + 10_000), 5);
  assert.deepEqual(limiter.limited, { instance: 95 + 100 + 99 + 95, route: 0, caller: 0 });
});

test('a rate that is no whole number of milliseconds loses nothing over an hour', () => {
  const limiter = new RateLimiter({ ...nothing, instance: { requestsPerSecond: 7, burst: 1 } }, start);
  let through = 0;
  for (let ms = 0; ms < 3_600_000; ms += 5) if (limiter.admit(start + ms, 'web', noRoute) === null) through++;
  // A burst of one can be missed by up to a poll of 5 ms, out of 142.9 ms.
  assert.ok(through > 7 * 3600 * (142.8 / 148) && through <= 7 * 3600 + 1, `${through}`);
  const exact = new RateLimiter({ ...nothing, instance: { requestsPerSecond: 7, burst: 2 } }, start);
  let all = 0;
  for (let ms = 0; ms < 3_600_000; ms += 5) if (exact.admit(start + ms, 'web', noRoute) === null) all++;
  assert.ok(Math.abs(all - (7 * 3600 + 1)) <= 1, `${all}`);
});

test('fractions of a request a second are a rate too, and a rate of none lets only the burst through', () => {
  const slow = new RateLimiter({ ...nothing, instance: { requestsPerSecond: 0.5, burst: 1 } }, start);
  assert.equal(admitted(slow, 3, start), 1);
  assert.equal(admitted(slow, 3, start + 1999), 0);
  assert.equal(admitted(slow, 3, start + 2000), 1);
  const none = new RateLimiter({ ...nothing, instance: { requestsPerSecond: 0, burst: 2 } }, start);
  assert.equal(admitted(none, 3, start), 2);
  assert.equal(admitted(none, 3, start + 1e9), 0);
  assert.equal(none.retryAfterMs, Number.POSITIVE_INFINITY);
});

test('each caller has its own tokens, those that are not named too, and none those of another', () => {
  const callers = [
    { source: '*', requestsPerSecond: 1, burst: 2 },
    { source: 'web', requestsPerSecond: 1, burst: 5 },
  ];
  const limiter = new RateLimiter({ ...nothing, callers }, start);
  assert.deepEqual(
    ['web', 'jobs', 'cron', '*', 'jobs'].map((source) => admitted(limiter, 10, start, source)),
    [5, 2, 2, 2, 0],
  );
});

test('a caller that no limit is for is not limited', () => {
  const callers = [{ source: 'web', requestsPerSecond: 1, burst: 1 }];
  const limiter = new RateLimiter({ ...nothing, callers }, start);
  assert.equal(admitted(limiter, 1000, start, 'jobs'), 1000);
});

test('a request that one limit turns away uses up nothing of the others', () => {
  const limiter = new RateLimiter(
    {
      instance: { requestsPerSecond: 1, burst: 10 },
      routes: [{ path: path('/slow'), requestsPerSecond: 1, burst: 1 }],
      callers: [{ source: '*', requestsPerSecond: 1, burst: 4 }],
    },
    start,
  );
  assert.equal(limiter.admit(start, 'web', 0), null);
  for (let i = 0; i < 50; i++) assert.equal(limiter.admit(start, 'web', 0), 'route');
  assert.equal(admitted(limiter, 50, start), 3);
  assert.equal(limiter.admit(start, 'web', noRoute), 'caller');
  assert.equal(admitted(limiter, 50, start, 'jobs') + admitted(limiter, 50, start, 'cron'), 6);
  assert.equal(limiter.admit(start, 'late', noRoute), 'instance');
});

test('callers by the thousand take a bounded place, and cannot have their own used tokens forgotten', () => {
  const policy = { ...nothing, callers: [{ source: '*', requestsPerSecond: 1, burst: 2 }] };
  const memory = { id: 1, buffer: new SharedArrayBuffer(ratesBytes(policy)) };
  const shared = [0, 1].map(() => new RateLimiter(policy, start, memory));
  // One alone, and two threads in turn.
  for (const limiters of [[new RateLimiter(policy, start)], shared]) {
    let turn = 0;
    const admittedOf = (count: number, now: number, source: string): number => {
      let through = 0;
      for (let i = 0; i < count; i++)
        through += admitted(limiters[turn++ % limiters.length]!, 1, now, source);
      return through;
    };
    assert.equal(admittedOf(5, start, 'thief'), 2);
    for (let i = 0; i < maxCallerBuckets - 1; i++) assert.equal(admittedOf(1, start, `alias${i}`), 1);
    // No room: everybody else shares one bucket.
    let through = 0;
    for (let i = 0; i < 2000; i++) through += admittedOf(1, start, `more${i}`);
    assert.equal(through, 2);
    assert.equal(
      limiters.reduce((sum, { crowded }) => sum + crowded, 0),
      2000,
    );
    assert.equal(admittedOf(5, start, 'thief'), 0);
    // Full again, their buckets make room for others.
    assert.equal(admittedOf(5, start + 60_000, 'newcomer'), 2);
  }
});

test('another policy keeps what was used, of the limits that it still has', () => {
  const limits = (burst: number): RateLimitsPolicy => ({
    instance: { requestsPerSecond: 1, burst },
    routes: [{ path: path('/a'), requestsPerSecond: 1, burst: 3 }],
    callers: [{ source: 'web', requestsPerSecond: 1, burst: 100 }],
  });
  const limiter = new RateLimiter(limits(5), start);
  assert.equal(admitted(limiter, 10, start, 'web', 0), 3);
  limiter.configure(
    { ...limits(10), routes: [{ path: path('/b'), requestsPerSecond: 1, burst: 1 }, ...limits(10).routes] },
    start,
  );
  assert.equal(limiter.admit(start, 'web', 1), 'route');
  assert.equal(limiter.admit(start, 'web', 0), null);
  assert.equal(admitted(limiter, 100, start), 6);
  limiter.configure({ ...nothing, instance: { requestsPerSecond: 1, burst: 2 } }, start);
  assert.equal(admitted(limiter, 5, start), 0);
  assert.equal(admitted(limiter, 5, start + 1000), 1);
});
