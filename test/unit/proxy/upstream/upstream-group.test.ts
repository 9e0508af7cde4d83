import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { notMeasured } from '../../../../src/proxy/balance/endpoint.ts';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import { Deadlines } from '../../../../src/proxy/deadlines.ts';
import type { UpstreamPolicy } from '../../../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream } from '../../../../src/proxy/policy-defaults.ts';
import { UpstreamGroup } from '../../../../src/proxy/upstream/upstream-group.ts';
import { Upstream } from '../../../../src/proxy/upstream/upstreams.ts';
import { groupOf, unusedDialer } from '../../../support/queueing.ts';

function group(ids: readonly string[], policy: Partial<UpstreamPolicy> = {}): UpstreamGroup {
  const made = groupOf(
    ids.map((id) => ({ id })),
    seededRandom(1),
  );
  made.configure(defaultBalance, { ...defaultUpstream, ...policy }, noLocality);
  return made;
}

const breaker = { errorPercent: 50, minimumRequests: 4, windowMs: 1000, openMs: 1000, halfOpenRequests: 1 };
const passiveHealth = {
  intervalMs: 1000,
  maxFailures: 2,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 100,
  baseEjectionTimeMs: 1000,
};
const limits = { maxConnections: 0, maxPendingRequests: 0, maxConcurrentRequests: 2 };

function fail(made: UpstreamGroup, now: number, times: number): void {
  for (let i = 0; i < times; i++) made.pick(now, undefined)!.end(now, 'failed', 0);
}

test('what does not fit under the limit is turned away at once, and what ends makes room', () => {
  const made = group(['a', 'b'], { limits });
  const first = made.pick(0, undefined)!;
  made.pick(0, undefined);
  assert.equal(made.pick(0, undefined), null);
  assert.equal(made.refusal, 'overflow');
  first.end(1, 'ok', 1);
  assert.notEqual(made.pick(1, undefined), null);
  const { inUse, overflows } = made.snapshot(1);
  assert.deepEqual([inUse.requests, overflows.requests, overflows.connections], [2, 1, 0]);
});

test('connections in use have a limit of their own, and the one that is reached first counts', () => {
  const made = group(['a'], { limits: { ...limits, maxConnections: 1 } });
  const first = made.pick(0, undefined)!;
  assert.equal(made.pick(0, undefined), null);
  assert.equal(made.refusal, 'overflow');
  assert.deepEqual(made.snapshot(0).overflows, { connections: 1, pending: 0, requests: 0 });
  first.end(1, 'ok', 1);
  assert.deepEqual(made.snapshot(1).inUse, { connections: 0, pending: 0, requests: 0 });
});

test('what waits for connections that are being made has a limit, and what need not wait has none', () => {
  const random = seededRandom(1);
  const made = new UpstreamGroup(random);
  const context = { now: () => 0, random, deadlines: new Deadlines(), promptDeadlines: new Deadlines() };
  const dialers = [
    { ...unusedDialer, isReady: false },
    { ...unusedDialer, isReady: false },
  ];
  made.update(dialers.map((dialer, i) => ({ upstream: new Upstream(`e${i}`, dialer, context), weight: 1 })));
  const maxPendingRequests = 3;
  const pending = { maxConnections: 0, maxPendingRequests, maxConcurrentRequests: 0 };
  made.configure(defaultBalance, { ...defaultUpstream, limits: pending }, noLocality);
  const waiting = [0, 1, 2].map(() => made.pick(0, undefined)!);
  assert.equal(made.pick(0, undefined), null);
  assert.equal(made.refusal, 'overflow');
  assert.deepEqual(made.snapshot(0).overflows, { connections: 0, pending: 1, requests: 0 });
  assert.equal(made.snapshot(0).inUse.pending, 3);
  waiting[0]!.end(1, 'connect-failure', 1);
  const last = made.pick(1, undefined)!;
  assert.equal(made.pick(1, undefined), null);
  dialers[last.id === 'e0' ? 0 : 1]!.isReady = true;
  assert.notEqual(made.pick(1, last.id === 'e0' ? 'e1' : 'e0'), null);
  for (const dialer of dialers) dialer.isReady = true;
  for (let i = 0; i < 10; i++) assert.notEqual(made.pick(2, undefined), null);
  assert.equal(made.snapshot(2).inUse.pending, 0);
});

test('a pick that gives nothing holds nothing', () => {
  const made = group(['a'], { limits, breaker });
  for (let i = 0; i < 10; i++) assert.equal(made.pick(0, 'a'), null);
  assert.equal(made.refusal, 'no-healthy-upstream');
  assert.equal(made.snapshot(0).inUse.requests, 0);
  fail(made, 0, 4);
  for (let i = 0; i < 10; i++) assert.equal(made.pick(1, undefined), null);
  assert.equal(made.refusal, 'circuit-open');
  assert.equal(made.snapshot(1).inUse.requests, 0);
  assert.notEqual(made.pick(1000, undefined), null);
});

test('the same policy again keeps what the breaker knows, another starts it anew', () => {
  const made = group(['a'], { breaker });
  fail(made, 0, 4);
  made.configure(defaultBalance, { ...defaultUpstream, breaker: { ...breaker } }, noLocality);
  assert.equal(made.snapshot(0).breaker!.state, 'open');
  made.configure(defaultBalance, { ...defaultUpstream, breaker: { ...breaker, openMs: 5 } }, noLocality);
  assert.equal(made.snapshot(0).breaker!.state, 'closed');
  made.configure(defaultBalance, defaultUpstream, noLocality);
  assert.equal(made.snapshot(0).breaker, null);
});

test('endpoints that were removed can still end, and eject nobody', () => {
  const made = group(['a'], { passiveHealth, breaker });
  const held = [made.pick(0, undefined)!, made.pick(0, undefined)!];
  made.update([]);
  for (const endpoint of held) endpoint.end(1, 'failed', 1);
  const { inUse, ejections, endpoints } = made.snapshot(1);
  assert.deepEqual([inUse.requests, ejections.total, endpoints], [0, 0, []]);
});

test('who is ejected is back at once when nobody is to be ejected any more', () => {
  const made = group(['a', 'b'], { passiveHealth });
  for (const id of ['a', 'b']) {
    const other = id === 'a' ? 'b' : 'a';
    for (let i = 0; i < 2; i++) made.pick(0, other)!.end(0, 'failed', 0);
  }
  assert.equal(made.isServing(0), false);
  const longer = { ...passiveHealth, baseEjectionTimeMs: 2000 };
  made.configure(defaultBalance, { ...defaultUpstream, passiveHealth: longer }, noLocality);
  assert.equal(made.isServing(0), false);
  made.pick(0, undefined)!.end(0, 'abandoned');
  made.configure({ ...defaultBalance, slowStartMs: 1000 }, defaultUpstream, noLocality);
  assert.equal(made.isServing(0), true);
  const { endpoints, isPanicking, picks } = made.snapshot(0);
  assert.deepEqual(
    endpoints.map(({ ejectedUntil, inRotation }) => [ejectedUntil, inRotation]),
    [
      [null, true],
      [null, true],
    ],
  );
  // The one pick while everybody was out.
  assert.deepEqual([isPanicking, picks.panicked], [false, 1]);
});

test('its snapshot tells what each endpoint is like', () => {
  const made = groupOf([{ id: 'a', weight: 3, zone: 'z1' }], seededRandom(1));
  made.configure(defaultBalance, { ...defaultUpstream, passiveHealth }, noLocality);
  for (let i = 0; i < 2; i++) made.pick(0, undefined)!.end(0, 'ok', 20);
  made.pick(0, undefined);
  assert.deepEqual(made.snapshot(0), {
    endpoints: [
      {
        id: 'a',
        hostName: 'a',
        zone: 'z1',
        weight: 3,
        inflight: 1,
        ewmaMs: 20,
        ejectedUntil: null,
        ejections: 0,
        isNearest: false,
        inRotation: true,
      },
    ],
    breaker: null,
    inUse: { connections: 1, pending: 0, requests: 1 },
    overflows: { connections: 0, pending: 0, requests: 0 },
    ejections: { total: 0, spared: 0, active: 0 },
    retriesDenied: 0,
    isPanicking: false,
    picks: { panicked: 0, stayed: 0, crossed: 0 },
  });
  fail(made, 0, 2);
  assert.equal(made.snapshot(0).endpoints[0]!.ejectedUntil, 1000);
  assert.equal(made.snapshot(1000).endpoints[0]!.ejectedUntil, null);
});

test('a connection of bytes that proved good closes a half-open circuit, however long it lasts', () => {
  const made = group(['a'], { breaker });
  fail(made, 0, 4);
  const probe = made.pick(1000, undefined)!;
  assert.equal(made.snapshot(1000).breaker!.state, 'half-open');
  probe.reached(1001, 1000);
  assert.equal(made.snapshot(1001).breaker!.state, 'closed');
  probe.leave();
  const { breaker: after, endpoints, inUse } = made.snapshot(9e6);
  assert.deepEqual([after!.state, endpoints[0]!.inflight, inUse.connections], ['closed', 0, 0]);
});

test('a connection of bytes that began before the circuit opened says nothing about it', () => {
  const made = group(['a'], { breaker });
  const [early, broken] = [made.pick(0, undefined)!, made.pick(0, undefined)!];
  fail(made, 1, 4);
  const probe = made.pick(1001, undefined)!;
  early.reached(1002, 0);
  broken.end(1002, 'failed', notMeasured, 0);
  assert.equal(made.snapshot(1002).breaker!.state, 'half-open');
  probe.reached(1003, 1001);
  assert.equal(made.snapshot(1003).breaker!.state, 'closed');
});
