/** Bounds that hold for every pattern of requests: rates, retries, breakers and ejections. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../src/core.ts';
import { BalancedEndpoint } from '../../src/proxy/balance/endpoint.ts';
import { Breaker } from '../../src/proxy/resilience/breaker.ts';
import { Ejection, ejectedCount } from '../../src/proxy/resilience/ejection.ts';
import { noRoute, RateLimiter } from '../../src/proxy/resilience/rate-limiter.ts';
import {
  initialRetries,
  RetryBudget,
  reservedRetries,
  retryShare,
} from '../../src/proxy/resilience/retry-budget.ts';

/** Pauses between requests: many at once, some within milliseconds, now and then a rest. */
const pauses = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    { weight: 5, arbitrary: fc.double({ min: 0, max: 20, noNaN: true }) },
    { weight: 1, arbitrary: fc.double({ min: 0, max: 60_000, noNaN: true }) },
  ),
  { minLength: 1, maxLength: 400 },
);

test('a rate limit lets through, in any span of time, no more than a burst and the rate; and no less from a rest', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }).map((milli) => milli / 1000),
      fc.integer({ min: 1, max: 50 }),
      pauses,
      (requestsPerSecond, burst, between) => {
        const instance = { requestsPerSecond, burst };
        let now = 1_790_000_000_000;
        const limiter = new RateLimiter({ instance, routes: [], callers: [] }, now);
        const passed: number[] = [];
        for (const pause of between) {
          now += pause;
          const isLimited = limiter.admit(now, 'web', noRoute) !== null;
          if (!isLimited) passed.push(now);
          // One that was turned away gets through after the time that it was told.
          else
            assert.ok(limiter.retryAfterMs > 0 && limiter.retryAfterMs <= 1000 / requestsPerSecond + 0.001);
        }
        // Times count in whole microseconds.
        for (let i = 0; i < passed.length; i++)
          for (let j = i; j < passed.length; j += 7) {
            const seconds = (passed[j]! - passed[i]! + 0.001) / 1000;
            assert.ok(
              j - i + 1 <= burst + requestsPerSecond * seconds + 1e-6,
              `${j - i + 1} in ${seconds} s`,
            );
          }
        assert.ok(passed.length >= Math.min(burst, between.length));
      },
    ),
    { numRuns: 100 },
  );
});

test('waiting as long as it is told to is enough for who was turned away', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 1, max: 5 }), (milli, burst) => {
      const start = 1_790_000_000_000;
      const instance = { requestsPerSecond: milli / 1000, burst };
      const limiter = new RateLimiter({ instance, routes: [], callers: [] }, start);
      while (limiter.admit(start, 'web', noRoute) === null);
      assert.equal(limiter.admit(start + limiter.retryAfterMs + 0.002, 'web', noRoute), null);
    }),
    { numRuns: 100 },
  );
});

test('retries stay within what requests earn, whatever the pattern: 1.2 times the load while everything fails', () => {
  fc.assert(
    fc.property(
      pauses,
      fc.integer({ min: 1, max: 10 }),
      fc.boolean(),
      (between, retriesEach, someAreWell) => {
        const budget = new RetryBudget(() => someAreWell);
        let now = 0;
        let requests = 0;
        let retries = 0;
        for (let round = 0; round < 3; round++)
          for (const pause of between) {
            now += pause;
            budget.earn(now);
            requests++;
            for (let i = 0; i < retriesEach; i++) if (budget.spend(now)) retries++;
            const first = someAreWell ? initialRetries + reservedRetries : initialRetries;
            assert.ok(retries <= requests * retryShare + first + 1e-6);
            if (!someAreWell && requests >= 200) assert.ok(requests + retries <= 1.2 * requests);
          }
      },
    ),
    { numRuns: 100 },
  );
});

test('an open breaker lets nothing through before its time, a half-open one only so many at once', () => {
  const policy = { errorPercent: 50, minimumRequests: 5, windowMs: 1000, openMs: 500, halfOpenRequests: 3 };
  const event = fc.record({
    pause: fc.integer({ min: 0, max: 200 }),
    outcome: fc.constantFrom('ok', 'failed', 'connect-failure', 'abandoned'),
    isLate: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 300 }), (events) => {
      const breaker = new Breaker(policy);
      let underWay: number[] = [];
      let openedAt = Number.NEGATIVE_INFINITY;
      let opened = 0;
      let now = 0;
      for (const { pause, outcome, isLate } of events) {
        now += pause;
        const before = breaker.state(now);
        const admitted = breaker.admit(now);
        if (before === 'closed') assert.equal(admitted, true);
        if (before === 'open') assert.equal(admitted, false);
        if (breaker.opened > opened) opened = breaker.opened;
        if (admitted) underWay.push(now);
        if (!isLate) {
          for (const startedAt of underWay) breaker.record(now, outcome, startedAt);
          underWay = [];
        }
        if (breaker.opened > opened) {
          opened = breaker.opened;
          openedAt = now;
        }
        if (breaker.state(now) === 'open') assert.ok(now - openedAt < policy.openMs);
      }
    }),
    { numRuns: 150 },
  );
});

test('never more endpoints are ejected than the share allows, or one', () => {
  const event = fc.tuple(fc.nat(9), fc.integer({ min: 0, max: 500 }), fc.constantFrom('ok', 'failed'));
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 0, max: 100 }),
      fc.array(event, { maxLength: 200 }),
      (size, maxEjectionPercent, events) => {
        const policy = {
          intervalMs: 1000,
          maxFailures: 2,
          enforcingConsecutive5xx: 100,
          baseEjectionTimeMs: 800,
        };
        const ejection = new Ejection({ ...policy, maxEjectionPercent }, seededRandom(1));
        const rotation = { isStale: false };
        const endpoints = Array.from(
          { length: size },
          (_, i) => new BalancedEndpoint(`e${i}`, 1, '', rotation, null),
        );
        let now = 1000;
        for (const [index, pause, outcome] of events) {
          now += pause;
          const endpoint = endpoints[index % size]!;
          ejection.record(endpoint, endpoints, now, outcome);
          const out = ejectedCount(endpoints, now);
          assert.ok(out <= Math.max(1, Math.floor((size * maxEjectionPercent) / 100)), `${out} of ${size}`);
          if (outcome === 'ok') assert.equal(endpoint.strikes, 0);
        }
      },
    ),
    { numRuns: 100 },
  );
});
