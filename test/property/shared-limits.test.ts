/** Limits that threads share are as one thread's: whatever is done by whom in which order, the answers are the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../src/core.ts';
import { noLocality } from '../../src/proxy/balance/zones.ts';
import { Deadlines } from '../../src/proxy/deadlines.ts';
import type { BreakerPolicy, RateLimitsPolicy, UpstreamLimits } from '../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream } from '../../src/proxy/policy-defaults.ts';
import { Breaker, breakerBytes } from '../../src/proxy/resilience/breaker.ts';
import { noRoute, RateLimiter, ratesBytes } from '../../src/proxy/resilience/rate-limiter.ts';
import { groupBytes, UpstreamGroup } from '../../src/proxy/upstream/upstream-group.ts';
import { Upstream } from '../../src/proxy/upstream/upstreams.ts';
import { notShared, type SharedMemory } from '../../src/proxy/workers/memory.ts';
import { unusedDialer } from '../support/queueing.ts';

const threads = 3;
const start = 1_000_000;

const rate = fc.record({
  requestsPerSecond: fc.integer({ min: 1, max: 5000 }).map((milli) => milli / 10),
  burst: fc.integer({ min: 1, max: 8 }),
});
const policies: fc.Arbitrary<RateLimitsPolicy> = fc.record({
  instance: fc.option(rate),
  routes: fc.tuple(rate, rate).map((rates) =>
    rates.map((limit, index) => {
      const path = { type: 'prefix', value: `/${index}`, ignoreCase: false } as const;
      return { ...limit, path };
    }),
  ),
  callers: fc.tuple(rate, rate).map(([other, web]) => [
    { ...other, source: '*' },
    { ...web, source: 'web' },
  ]),
});
const memoryOf = (bytes: number): SharedMemory => ({ id: 1, buffer: new SharedArrayBuffer(bytes) });

test('token buckets that threads share let through, refuse and promise what those of one thread would', () => {
  const request = fc.record({
    thread: fc.nat(threads - 1),
    pauseMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 30, noNaN: true }), fc.nat(5000)),
    source: fc.constantFrom('web', 'job', 'cron', 'late'),
    route: fc.constantFrom(noRoute, 0, 1),
    /** Now and then every thread takes on another policy. */
    policy: fc.oneof({ weight: 20, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: policies }),
  });
  fc.assert(
    fc.property(policies, fc.array(request, { maxLength: 200 }), (first, requests) => {
      const memory = memoryOf(ratesBytes(first));
      const shared = Array.from({ length: threads }, () => new RateLimiter(first, start, memory));
      const alone = new RateLimiter(first, start);
      let now = start;
      for (const { thread, pauseMs, source, route, policy } of requests) {
        now += pauseMs;
        const limiter = shared[thread]!;
        if (policy !== null) {
          for (const each of shared) each.configure(policy, now, memory);
          alone.configure(policy, now);
        }
        const limitedBy = alone.admit(now, source, route);
        assert.equal(limiter.admit(now, source, route), limitedBy);
        if (limitedBy !== null) assert.equal(limiter.retryAfterMs, alone.retryAfterMs);
      }
    }),
    { numRuns: 150 },
  );
});

test('a breaker that threads share opens, probes and closes as that of one thread would', () => {
  const policy = { errorPercent: 50, minimumRequests: 4, windowMs: 1000, openMs: 300, halfOpenRequests: 2 };
  const step = fc.record({
    thread: fc.nat(threads - 1),
    pauseMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 200 })),
    ends: fc.constantFrom('ok', 'failed', 'failed', 'abandoned', null),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const memory = memoryOf(breakerBytes);
      const shared = Array.from({ length: threads }, () => new Breaker(policy, memory));
      const alone = new Breaker(policy);
      const underWay: { readonly breaker: Breaker; readonly startedAt: number }[] = [];
      let now = start;
      for (const { thread, pauseMs, ends } of steps) {
        now += pauseMs;
        const breaker = shared[thread]!;
        const isAdmitted = alone.admit(now);
        assert.equal(breaker.admit(now), isAdmitted);
        if (isAdmitted) underWay.push({ breaker, startedAt: now });
        // What is over now, or only with one that comes later.
        if (ends !== null)
          for (const each of underWay.splice(0)) {
            alone.record(now, ends, each.startedAt);
            each.breaker.record(now, ends, each.startedAt);
          }
        for (const each of shared) assert.equal(each.state(now), alone.state(now));
      }
      assert.equal(
        shared.reduce((sum, { opened }) => sum + opened, 0),
        alone.opened,
      );
    }),
    { numRuns: 150 },
  );
});

const unlimited: UpstreamLimits = { maxConnections: 0, maxPendingRequests: 0, maxConcurrentRequests: 0 };

/** One thread's way to two endpoints. */
function groupOf(memory: SharedMemory, limits: UpstreamLimits) {
  const random = seededRandom(1);
  const context = { now: () => 0, random, deadlines: new Deadlines(), promptDeadlines: new Deadlines() };
  const dialers = [0, 1].map(() => ({ ...unusedDialer, isReady: false }));
  const group = new UpstreamGroup(random);
  group.update(dialers.map((dialer, i) => ({ upstream: new Upstream(`e${i}`, dialer, context), weight: 1 })));
  const configure = (policy: UpstreamLimits): void =>
    group.configure(defaultBalance, { ...defaultUpstream, limits: policy }, noLocality, {
      ...notShared,
      limits: memory,
    });
  configure(limits);
  return { group, dialers, configure, held: [] as NonNullable<ReturnType<UpstreamGroup['pick']>>[] };
}

test('what all threads have under way, or waiting, stays within the limit, and nothing is refused that fits', () => {
  const step = fc.record({
    thread: fc.nat(threads - 1),
    what: fc.constantFrom('pick', 'pick', 'pick', 'end', 'connect', 'disconnect'),
    which: fc.nat(100),
  });
  const most = fc.record({
    maxConnections: fc.nat(4),
    maxPendingRequests: fc.nat(3),
    maxConcurrentRequests: fc.nat(4),
  });
  fc.assert(
    fc.property(most, fc.array(step, { maxLength: 150 }), (limits, steps) => {
      const memory = memoryOf(groupBytes);
      const all = Array.from({ length: threads }, () => groupOf(memory, limits));
      const underWay = (): number => all.reduce((sum, { held }) => sum + held.length, 0);
      const waiting = (): number =>
        all.reduce((sum, { held, dialers }) => {
          return sum + held.filter(({ id }) => !dialers[id === 'e0' ? 0 : 1]!.isReady).length;
        }, 0);
      const fits = (count: number, limit: number): boolean => limit === 0 || count < limit;
      for (const { thread, what, which } of steps) {
        const { group, held, dialers } = all[thread]!;
        if (what === 'pick') {
          // Both ready, or neither, so that the model need not know which one is picked.
          const isWaiting = !dialers[0]!.isReady;
          const hasRoom =
            (!isWaiting || fits(waiting(), limits.maxPendingRequests)) &&
            fits(underWay(), limits.maxConnections) &&
            fits(underWay(), limits.maxConcurrentRequests);
          const choice = group.pick(0, undefined);
          assert.equal(choice !== null, hasRoom);
          if (choice !== null) held.push(choice);
        } else if (what === 'end') {
          const [ended] = held.splice(which % (held.length + 1), 1);
          ended?.end(0, 'ok', 1);
        } else {
          for (const dialer of dialers) dialer.isReady = what === 'connect';
          if (what === 'connect') group.settle();
          // Streams of a session that is lost end with it.
          else for (const lost of held.splice(0)) lost.end(0, 'failed', 1);
        }
      }
      for (const { held } of all) for (const choice of held) choice.end(0, 'ok', 1);
      assert.deepEqual([...new Int32Array(memory.buffer)], [0, 0, 0]);
    }),
    { numRuns: 150 },
  );
});

test('a limit that comes, changes or goes counts what is under way already, on every thread', () => {
  const memory = memoryOf(groupBytes);
  const all = [groupOf(memory, unlimited), groupOf(memory, unlimited)];
  const held = all.flatMap(({ group }) => [group.pick(0, undefined)!, group.pick(0, undefined)!]);
  for (const { configure } of all) configure({ ...unlimited, maxConcurrentRequests: 5 });
  held.push(all[0]!.group.pick(0, undefined)!);
  assert.equal(all[1]!.group.pick(0, undefined), null);
  for (const { configure } of all) configure({ ...unlimited, maxConcurrentRequests: 6 });
  held.push(all[1]!.group.pick(0, undefined)!);
  assert.equal(all[0]!.group.pick(0, undefined), null);
  for (const { configure } of all) configure(unlimited);
  assert.notEqual(all[0]!.group.pick(0, undefined), null);
  assert.deepEqual([...new Int32Array(memory.buffer)], [0, 0, 0]);
});

test('threads leave a destination alone together, and another policy begins anew for all of them', () => {
  const breaker = { errorPercent: 50, minimumRequests: 4, windowMs: 1000, openMs: 300, halfOpenRequests: 2 };
  const [one, two] = [0, 1].map(() => groupOf(memoryOf(groupBytes), unlimited).group);
  const configure = (policy: BreakerPolicy, memory: SharedMemory): void => {
    for (const group of [one!, two!])
      group.configure(defaultBalance, { ...defaultUpstream, breaker: policy }, noLocality, {
        ...{ limits: null, breaker: memory },
      });
  };
  const memory = memoryOf(breakerBytes);
  configure(breaker, memory);
  for (const group of [one!, two!, one!, two!]) group.pick(start, undefined)!.end(start, 'failed', 1);
  configure({ ...breaker }, { ...memory });
  for (const group of [one!, two!]) {
    assert.equal(group.pick(start, undefined), null);
    assert.equal(group.refusal, 'circuit-open');
  }
  configure({ ...breaker, openMs: 500 }, { ...memoryOf(breakerBytes), id: 2 });
  for (const group of [one!, two!]) assert.notEqual(group.pick(start, undefined), null);
});
