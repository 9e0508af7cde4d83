/** What balancing, ejection, breaker and retry budget come to together, under load and in virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Locality, noLocality } from '../../../../src/proxy/balance/zones.ts';
import type { BalancePolicy, BreakerPolicy, PassiveHealthPolicy } from '../../../../src/proxy/policy.ts';
import { initialRetries, retryShare } from '../../../../src/proxy/resilience/retry-budget.ts';
import { Queueing, SimulatedServer } from '../../../support/queueing.ts';

const seeds = [1, 2, 3, 4, 5];

const passiveHealth: PassiveHealthPolicy = {
  intervalMs: 1000,
  maxFailures: 5,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 34,
  baseEjectionTimeMs: 5000,
};

const breaker: BreakerPolicy = {
  errorPercent: 50,
  minimumRequests: 20,
  windowMs: 1000,
  openMs: 2000,
  halfOpenRequests: 5,
};

function three(serviceMs: number, workers?: number): [SimulatedServer, SimulatedServer, SimulatedServer] {
  return [
    new SimulatedServer('a', serviceMs, workers),
    new SimulatedServer('b', serviceMs, workers),
    new SimulatedServer('c', serviceMs, workers),
  ];
}

test('one slow instance of three gets under a tenth of the requests of the first two seconds', () => {
  for (const seed of seeds)
    for (const perSecond of [100, 300, 1000]) {
      const servers = three(10);
      servers[1].serviceMs = 200;
      const queueing = new Queueing(servers, seed);
      queueing.run({ perSecond, untilMs: 2000 });
      const share = servers[1].seen / queueing.seen;
      assert.ok(share < 0.1, `${(share * 100).toFixed(1)} % at ${perSecond}/s, seed ${seed}`);
    }
});

test('an instance that becomes slow is left alone within two seconds, and comes back when it is quick again', () => {
  for (const seed of seeds) {
    const servers = three(10);
    const queueing = new Queueing(servers, seed);
    const sharesUntil = (untilMs: number): number => {
      const [before, all] = [servers[1].seen, queueing.seen];
      queueing.run({ perSecond: 300, untilMs });
      return (servers[1].seen - before) / (queueing.seen - all);
    };
    assert.ok(sharesUntil(5000) > 0.25);
    servers[1].serviceMs = 200;
    const slow = sharesUntil(7000);
    assert.ok(slow < 0.1, `${(slow * 100).toFixed(1)} % in the two seconds after, seed ${seed}`);
    assert.ok(sharesUntil(20_000) < 0.05);
    servers[1].serviceMs = 10;
    queueing.run({ perSecond: 300, untilMs: 60_000 });
    const well = sharesUntil(70_000);
    assert.ok(well > 0.25, `${(well * 100).toFixed(1)} % once it is well, seed ${seed}`);
  }
});

test('an instance that fails fast does not draw requests to itself', () => {
  for (const seed of seeds) {
    const servers = three(20);
    servers[2].serviceMs = 1;
    servers[2].isFailing = true;
    const queueing = new Queueing(servers, seed);
    queueing.run({ perSecond: 300, untilMs: 5000 });
    assert.ok(servers[2].seen / queueing.seen < 0.1, `${servers[2].seen} of ${queueing.seen}, seed ${seed}`);
  }
});

test('equal instances share alike, and by latency no worse than in turn when they are nearly full', () => {
  const worst = (method: 'p2c' | 'round_robin' | 'random'): number => {
    const servers = three(10, 4);
    const queueing = new Queueing(servers, 1, { method });
    let busiest = 0;
    for (let untilMs = 100; untilMs <= 20_000; untilMs += 100) {
      queueing.run({ perSecond: 960, untilMs });
      const { endpoints } = queueing.group.snapshot(untilMs);
      busiest = Math.max(busiest, ...endpoints.map(({ inflight }) => inflight));
    }
    for (const { seen } of servers) assert.ok(Math.abs(seen / queueing.seen - 1 / 3) < 0.04, `${seen}`);
    return busiest;
  };
  assert.ok(worst('p2c') < worst('random'));
});

test('a failing instance is ejected, the cap leaves the others in, and it comes back', () => {
  const servers = three(10);
  const queueing = new Queueing(servers, 1, { method: 'round_robin' }, { passiveHealth });
  servers[0].isFailing = true;
  queueing.run({ perSecond: 200, untilMs: 1000 });
  const { ejections, endpoints } = queueing.group.snapshot(1000);
  assert.deepEqual(ejections, { total: 1, spared: 0, active: 1 });
  assert.equal(endpoints.find(({ id }) => id === 'a')!.inRotation, false);
  const during = servers[0].seen;
  queueing.run({ perSecond: 200, untilMs: 5000 });
  assert.equal(servers[0].seen, during);
  servers[0].isFailing = false;
  const before = queueing.failed;
  queueing.run({ perSecond: 200, untilMs: 10_000 });
  assert.ok(servers[0].seen - during > 200, `${servers[0].seen - during} after it came back`);
  assert.equal(queueing.failed, before);
});

test('while everything fails the servers see at most 1.2 times what is offered, with any number of retries', () => {
  for (const seed of seeds)
    for (const perSecond of [20, 200, 2000]) {
      const servers = three(10);
      for (const server of servers) server.isFailing = true;
      const queueing = new Queueing(servers, seed);
      queueing.run({ perSecond, untilMs: 600_000 / perSecond + 5000, maxRetries: 10 });
      const factor = queueing.seen / queueing.offered;
      assert.ok(factor <= 1.2 && factor > 1.1, `${factor} times at ${perSecond}/s, seed ${seed}`);
      assert.ok(queueing.seen <= queueing.offered * (1 + retryShare) + initialRetries);
    }
});

test('requests that one dead instance had are asked of the others, all of them', () => {
  const servers = three(50);
  const queueing = new Queueing(servers, 1, {}, { passiveHealth });
  queueing.run({ perSecond: 500, untilMs: 3000, maxRetries: 1 });
  servers[1].isFailing = true;
  queueing.run({ perSecond: 500, untilMs: 10_000, maxRetries: 1 });
  assert.equal(queueing.failed, 0);
});

test('the breaker opens while everything fails, tries now and then, and closes when all is well again', () => {
  const servers = three(10);
  const queueing = new Queueing(servers, 1, {}, { breaker });
  queueing.run({ perSecond: 200, untilMs: 2000 });
  assert.equal(queueing.group.snapshot(2000).breaker!.state, 'closed');
  for (const server of servers) server.isFailing = true;
  queueing.run({ perSecond: 200, untilMs: 4000 });
  const { state, rejected } = queueing.group.snapshot(4000).breaker!;
  assert.equal(state, 'open');
  assert.ok(rejected > 100 && rejected === queueing.refused, `${rejected} rejected`);
  assert.equal(queueing.group.refusal, 'circuit-open');
  const before = queueing.seen;
  queueing.run({ perSecond: 200, untilMs: 10_000 });
  assert.ok(queueing.seen - before <= 4 * breaker.halfOpenRequests, `${queueing.seen - before} probes`);
  for (const server of servers) server.isFailing = false;
  queueing.run({ perSecond: 200, untilMs: 13_000 });
  assert.equal(queueing.group.snapshot(13_000).breaker!.state, 'closed');
  const after = queueing.refused;
  queueing.run({ perSecond: 200, untilMs: 15_000 });
  assert.equal(queueing.refused, after);
});

/** In z1, with so many callers in each zone. */
function localityOf(callers: { readonly [zone: string]: number }): Locality {
  const zones = Object.entries(callers).map(([zone, instances]) => ({ zone, instances }));
  return { zone: 'z1', callers: zones, roundTrips: new Map() };
}

test('a zone that is several times slower than others is left within half a second, a little slower it is not', () => {
  const shareNear = (nearMs: number, farMs: number, workers?: number): number => {
    const near = new SimulatedServer('near', nearMs, workers, 'z1');
    const far = ['z2', 'z3'].map((zone) => new SimulatedServer(zone, farMs, 1000, zone));
    const queueing = new Queueing([near, ...far], 1, {}, {}, localityOf({ z1: 1, z2: 1, z3: 1 }));
    queueing.run({ perSecond: 100, untilMs: 500 });
    const [before, all] = [near.seen, queueing.seen];
    queueing.run({ perSecond: 100, untilMs: 2500 });
    return (near.seen - before) / (queueing.seen - all);
  };
  assert.ok(shareNear(200, 10) < 0.1, `${shareNear(200, 10)}`);
  assert.equal(shareNear(10, 2), 1);
  assert.ok(shareNear(100, 80) > 0.95, `${shareNear(100, 80)}`);
  // One worker at 20 ms is good for 50 requests a second of the 100 that come.
  const overloaded = shareNear(20, 20, 1);
  assert.ok(overloaded > 0 && overloaded < 0.5, `${overloaded}`);
});

test('traffic stays in its zone as far as the zone has capacity for its callers', () => {
  const shareNear = (near: number, far: number, callers: { readonly [zone: string]: number }): number => {
    const servers = [
      ...Array.from({ length: near }, (_, i) => new SimulatedServer(`n${i}`, 10, 1000, 'z1')),
      ...Array.from({ length: far }, (_, i) => new SimulatedServer(`f${i}`, 10, 1000, 'z2')),
    ];
    const queueing = new Queueing(servers, 1, {}, {}, localityOf(callers));
    queueing.run({ perSecond: 500, untilMs: 10_000 });
    return (
      servers.filter(({ zone }) => zone === 'z1').reduce((sum, { seen }) => sum + seen, 0) / queueing.seen
    );
  };
  assert.equal(shareNear(2, 2, { z1: 1, z2: 1 }), 1);
  assert.equal(shareNear(3, 1, { z1: 1, z2: 1 }), 1);
  assert.equal(shareNear(0, 2, { z1: 1, z2: 1 }), 0);
  assert.ok(Math.abs(shareNear(1, 3, { z1: 1, z2: 1 }) - 0.5) < 0.03);
  assert.ok(Math.abs(shareNear(1, 3, { z1: 7 }) - 0.25) < 0.03);
  assert.equal(shareNear(1, 3, { z1: 1, z2: 4 }), 1);
});

/** Five servers that are `farMs` away, and one here that is as good: `workers` at `serviceMs` each. */
function oneNearFiveFar(serviceMs: number, farMs: number, workers: number): SimulatedServer[] {
  const far = ['b', 'c', 'd', 'e', 'f'].map((id) => new SimulatedServer(id, serviceMs, workers));
  for (const server of far) server.roundTripMs = farMs;
  return [new SimulatedServer('a', serviceMs, workers), ...far];
}

interface Distances {
  readonly serviceMs?: number;
  readonly farMs?: number;
  readonly workers?: number;
  readonly isKnown?: boolean;
  readonly isNearFailing?: boolean;
  readonly balance?: Partial<BalancePolicy>;
}

/** What part the near one saw of `count` requests of one caller; usually it can serve 800 a second. */
function shareOfNear(perSecond: number, count: number, distances: Distances = {}): number {
  const { serviceMs = 5, farMs = 64, workers = 4, isKnown = true, isNearFailing = false } = distances;
  const servers = oneNearFiveFar(serviceMs, farMs, workers);
  servers[0]!.isFailing = isNearFailing;
  const known = isKnown ? servers : [];
  const roundTrips = new Map(known.map(({ id, roundTripMs }) => [id, roundTripMs]));
  const queueing = new Queueing(servers, 1, distances.balance, {}, { ...noLocality, roundTrips });
  queueing.run({ perSecond, untilMs: (count / perSecond) * 1000 });
  return servers[0]!.seen / queueing.seen;
}

test('without zones a near endpoint is preferred however seldom it is asked, as far as it has capacity', () => {
  for (const perSecond of [0.1, 1, 10, 100]) {
    assert.ok(shareOfNear(perSecond, 1000) > 0.99, `${perSecond} a second`);
    assert.ok(shareOfNear(perSecond, 1000, { isKnown: false }) < 0.4, `${perSecond} a second`);
  }
  const atCapacity = shareOfNear(800, 10_000);
  assert.ok(atCapacity > 0.7 && atCapacity < 0.95, `${atCapacity}`);
  const overCapacity = shareOfNear(2000, 20_000);
  assert.ok(overCapacity > 0.3 && overCapacity < 0.45, `${overCapacity}`);
});

test('it is preferred as well where the way to the others is no longer than the work, and while it has room alone', () => {
  for (const [serviceMs, farMs] of [
    [50, 64],
    [100, 64],
    [5, 8],
  ] as const) {
    const idle = shareOfNear(200 / serviceMs, 2000, { serviceMs, farMs });
    const unknown = shareOfNear(200 / serviceMs, 2000, { serviceMs, farMs, isKnown: false });
    assert.ok(idle > 2 * unknown, `${idle} of ${serviceMs} ms, ${unknown} where distances are not known`);
    // Three times what one can serve.
    const busy = shareOfNear(12_000 / serviceMs, 20_000, { serviceMs, farMs });
    assert.ok(busy > 0.15 && busy < 0.36, `${busy} of ${serviceMs} ms`);
  }
});

test('a near endpoint that fails whatever it is asked draws no more than its part of two draws', () => {
  for (const perSecond of [0.05, 0.2, 1, 20]) {
    const share = shareOfNear(perSecond, 500, { isNearFailing: true });
    assert.ok(share < 0.4, `${share} at ${perSecond}/s`);
  }
});

test('distance makes no difference where locality is switched off but to what is expected of the unmeasured', () => {
  const share = shareOfNear(100, 1000, { balance: { zoneAware: false } });
  assert.ok(share > 0.3 && share < 0.36, `${share}`);
});
