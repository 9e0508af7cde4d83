import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Balancer, type EndpointSpec } from '../../../../src/proxy/balance/balancer.ts';
import { hashOf } from '../../../../src/proxy/balance/hash.ts';
import { latencyMemoryMs, PeakLatency } from '../../../../src/proxy/balance/latency.ts';
import { type Locality, noLocality } from '../../../../src/proxy/balance/zones.ts';
import type { BalanceMethod, BalancePolicy } from '../../../../src/proxy/policy.ts';
import { defaultBalance } from '../../../../src/proxy/policy-defaults.ts';

/** In z1, as is a third of the callers. */
const inFirstZone: Locality = {
  zone: 'z1',
  callers: ['z1', 'z2', 'z3'].map((zone) => ({ zone, instances: 1 })),
  roundTrips: new Map(),
};

function balancer(
  specs: readonly EndpointSpec[],
  policy: Partial<BalancePolicy>,
  locality: Locality = noLocality,
): Balancer {
  const made = new Balancer(seededRandom(1));
  made.configure({ ...defaultBalance, ...policy }, locality);
  made.update(specs);
  return made;
}

const even = (...ids: string[]): EndpointSpec[] => ids.map((id) => ({ id, weight: 1 }));

function picks(made: Balancer, count: number, now = 0, exclude?: string): string {
  return Array.from({ length: count }, () => made.pick(now, exclude)!.id).join('');
}

function shareOf(made: Balancer, id: string, now: number, count = 4000): number {
  let picked = 0;
  for (let i = 0; i < count; i++) if (made.pick(now)!.id === id) picked++;
  return picked / count;
}

/** Each key's endpoint. */
function placements(made: Balancer, keys: number): string[] {
  return Array.from({ length: keys }, (_, i) => made.pick(0, undefined, hashOf(`key ${i}`, 7))!.id);
}

test('round robin takes turns, and begins by chance', () => {
  const made = balancer(even('a', 'b', 'c'), { method: 'round_robin' });
  const turns = picks(made, 9);
  assert.equal(turns, turns.slice(0, 3).repeat(3));
  assert.equal(new Set(turns).size, 3);
  const first = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    const other = new Balancer(seededRandom(seed));
    other.configure({ ...defaultBalance, method: 'round_robin' }, noLocality);
    other.update(even('a', 'b', 'c'));
    first.add(other.pick(0)!.id);
  }
  assert.equal(first.size, 3);
});

test('weighted round robin is exact in every round, and smooth', () => {
  const specs = [
    { id: 'a', weight: 5 },
    { id: 'b', weight: 1 },
    { id: 'c', weight: 1 },
  ];
  const made = balancer(specs, { method: 'round_robin' });
  for (let round = 0; round < 5; round++) {
    const turns = picks(made, 7);
    assert.equal([...turns].filter((id) => id === 'a').length, 5, turns);
    assert.equal(new Set(turns).size, 3, turns);
    assert.doesNotMatch(turns, /aaaa/);
  }
});

test('round robin passes over the excluded endpoint, and takes it when it is alone', () => {
  for (const weight of [1, 1000]) {
    const made = balancer([{ id: 'a', weight }, ...even('b', 'c')], { method: 'round_robin' });
    assert.doesNotMatch(picks(made, 30, 0, 'a'), /a/);
  }
  assert.equal(balancer(even('a'), { method: 'round_robin' }).pick(0, 'a')!.id, 'a');
});

test('least request prefers the least busy of its draws, more so the more it draws', () => {
  const busyShare = (choiceCount: number): number => {
    const made = balancer(even('a', 'b', 'c', 'd'), { method: 'least_request', choiceCount });
    for (let i = 0; i < 50; i++) made.get('a')!.begin(0);
    return shareOf(made, 'a', 0);
  };
  assert.ok(Math.abs(busyShare(1) - 0.25) < 0.03);
  assert.equal(busyShare(2), 0);
  const made = balancer(even('a', 'b', 'c', 'd'), { method: 'least_request', choiceCount: 30 });
  for (const id of ['a', 'b', 'd']) made.get(id)!.begin(0);
  assert.ok(shareOf(made, 'c', 0) > 0.99);
});

test('by latency, one that is several times slower is left alone, small differences are not looked at', () => {
  const made = balancer(even('a', 'b'), {});
  const answer = (id: string, latencyMs: number): void => {
    for (let i = 0; i < 2; i++) {
      made.get(id)!.begin(0);
      made.get(id)!.end(0, 'ok', latencyMs);
    }
  };
  answer('a', 1);
  answer('b', 4);
  assert.ok(Math.abs(shareOf(made, 'a', 0) - 0.5) < 0.05);
  answer('b', 100);
  assert.equal(shareOf(made, 'a', 0), 1);
  // Until so many are with the quick one that the slow one would still be sooner.
  for (let i = 0; i < 30; i++) made.get('a')!.begin(0);
  assert.equal(shareOf(made, 'a', 0), 0);
});

test('one slow answer alone is no peak, two are, and they fade', () => {
  const latency = new PeakLatency();
  for (let i = 0; i < 10; i++) latency.observe(i, 2);
  latency.observe(20, 500);
  assert.ok(latency.read(20, 0) < 3);
  latency.observe(21, 400);
  assert.equal(latency.read(21, 0), 400);
  assert.ok(Math.abs(latency.read(21 + latencyMemoryMs, 0) - 400 / Math.E) < 1);
  for (let i = 0; i < 100; i++) latency.observe(1000 + i * 100, 2);
  assert.ok(latency.read(11_000, 0) < 70, `${latency.read(11_000, 0)}`);
});

test('an endpoint that fails at once is not taken for a quick one, nor one that callers gave up on', () => {
  for (const [outcome, latencyMs] of [
    ['failed', 0.1],
    ['abandoned', 900],
  ] as const) {
    const made = balancer(even('a', 'b'), {});
    for (let i = 0; i < 6; i++) {
      made.get('a')!.begin(0);
      made.get('a')!.end(0, 'ok', 10);
      made.get('b')!.begin(0);
      made.get('b')!.end(0, outcome, latencyMs);
    }
    assert.equal(shareOf(made, 'b', 0), 0, outcome);
  }
});

test('what a connection of bytes lasts is not taken for latency', () => {
  const made = balancer(even('a', 'b'), {});
  made.get('a')!.begin(0);
  made.get('a')!.reached(1, 0);
  made.get('a')!.leave();
  assert.equal(made.get('a')!.latencyMs(3_600_000), 0);
});

for (const method of ['ring_hash', 'maglev'] as const) {
  test(`${method}: a key stays with its endpoint, whatever else happens`, () => {
    const made = balancer(even('a', 'b', 'c', 'd'), { method });
    const before = placements(made, 500);
    for (let i = 0; i < 100; i++) made.get('a')!.begin(0);
    made.update(even('a', 'b', 'c', 'd'));
    assert.deepEqual(placements(made, 500), before);
    assert.deepEqual(placements(balancer(even('a', 'b', 'c', 'd'), { method }), 500), before);
    assert.equal(new Set(before).size, 4);
  });

  test(`${method}: while one is avoided only its keys are elsewhere, then they are back`, () => {
    const made = balancer(even('a', 'b', 'c', 'd'), { method });
    const before = placements(made, 1000);
    made.get('a')!.eject(5000);
    const during = placements(made, 1000);
    for (const [i, id] of before.entries()) {
      if (id === 'a') assert.notEqual(during[i], 'a');
      else assert.equal(during[i], id);
    }
    const heirs = new Set(during.filter((_, i) => before[i] === 'a'));
    assert.equal(heirs.size, 3, 'its keys are spread over the others');
    assert.deepEqual(
      Array.from({ length: 1000 }, (_, i) => made.pick(5000, undefined, hashOf(`key ${i}`, 7))!.id),
      before,
    );
  });

  test(`${method}: a retry goes elsewhere, always to the same place, and requests without a key anywhere`, () => {
    const made = balancer(even('a', 'b', 'c', 'd'), { method });
    const hash = hashOf('key', 0);
    const owner = made.pick(0, undefined, hash)!.id;
    const other = made.pick(0, owner, hash)!.id;
    assert.notEqual(other, owner);
    assert.equal(made.pick(0, owner, hash)!.id, other);
    assert.equal(new Set(picks(made, 200)).size, 4);
  });

  test(`${method}: suspicion of one endpoint moves most of its keys at once, and few others`, () => {
    const made = balancer(even('a', 'b', 'c', 'd'), { method });
    const before = placements(made, 4000);
    made.update(['a', 'b', 'c', 'd'].map((id) => ({ id, weight: id === 'a' ? 1 : 10 })));
    const after = placements(made, 4000);
    assert.ok(after.filter((id) => id === 'a').length < 4000 * 0.06);
    const moved = after.filter((id, i) => before[i] !== 'a' && id !== before[i]).length;
    assert.ok(moved < 4000 * 0.2, `${moved} of 4000 moved without need`);
  });
}

test('the ring keeps to its bounds, and every endpoint has a place on it', () => {
  const many = Array.from({ length: 300 }, (_, i) => ({ id: `e${i}`, weight: 1 + (i % 3) }));
  for (const [minimumRingSize, maximumRingSize] of [
    [1, 1],
    [1024, 8192],
    [8_388_608, 8_388_608],
  ] as const) {
    const made = balancer(many, { method: 'ring_hash', ringHash: { minimumRingSize, maximumRingSize } });
    const seen = new Set(placements(made, 20_000));
    assert.ok(seen.size > 290, `${seen.size} of 300 with ${minimumRingSize} to ${maximumRingSize}`);
  }
});

test('a new endpoint warms up from a tenth of its share, those that were there first need not', () => {
  for (const method of ['p2c', 'round_robin', 'least_request', 'random'] as const satisfies BalanceMethod[]) {
    const made = balancer(even('a', 'b'), { method, slowStartMs: 10_000 });
    assert.ok(Math.abs(shareOf(made, 'a', 1000) - 0.5) < 0.05, method);
    made.update(even('a', 'b', 'new'));
    const full = 1 / 3;
    assert.ok(shareOf(made, 'new', 1000) < 0.09, method);
    const half = shareOf(made, 'new', 6000);
    assert.ok(half > 0.14 && half < 0.26, `${method}: ${half}`);
    assert.ok(Math.abs(shareOf(made, 'new', 11_000) - full) < 0.04, method);
  }
});

test('an endpoint that comes back from ejection warms up again', () => {
  const made = balancer(even('a', 'b'), { method: 'random', slowStartMs: 10_000 });
  made.get('a')!.eject(5000);
  assert.equal(shareOf(made, 'a', 4999), 0);
  assert.ok(shareOf(made, 'a', 5000) < 0.15);
  assert.ok(shareOf(made, 'a', 15_000) > 0.45);
});

test('with too few in good order health is not looked at, and then it is again', () => {
  const made = balancer(even('a', 'b', 'c', 'd'), { method: 'random', panicPercent: 50 });
  made.get('a')!.eject(5000);
  made.get('b')!.eject(6000);
  assert.equal(new Set(picks(made, 200)).size, 2);
  assert.equal(made.isPanicking(0), false);
  made.get('c')!.eject(5000);
  assert.equal(new Set(picks(made, 200)).size, 4);
  assert.equal(made.isPanicking(0), true);
  assert.equal(made.hasFit(0), true);
  assert.equal(new Set(picks(made, 200, 5000)).size, 3);
  made.get('d')!.eject(7000);
  made.get('a')!.eject(7000);
  made.get('c')!.eject(7000);
  assert.equal(made.hasFit(5000), false);
  assert.equal(made.hasFit(6000), true);
});

test('when the zone has nobody in rotation the others take all of it, and give it back', () => {
  const specs = [
    { id: 'a', weight: 1, zone: 'z1' },
    { id: 'b', weight: 1, zone: 'z2' },
    { id: 'c', weight: 1, zone: 'z3' },
  ];
  const made = balancer(specs, {}, inFirstZone);
  assert.match(picks(made, 100), /^a+$/);
  assert.match(picks(made, 100, 0, 'a'), /^[bc]+$/);
  made.get('a')!.eject(1000);
  assert.equal(new Set(picks(made, 100)).size, 2);
  assert.match(picks(made, 100, 1000), /^a+$/);
});

test('in panic zones are not looked at, nor who is out: everybody gets its share', () => {
  const specs = ['z1', 'z2', 'z2', 'z3'].map((zone, i) => ({ id: 'abcd'[i]!, weight: 1, zone }));
  const made = balancer(specs, { method: 'round_robin', panicPercent: 75 }, inFirstZone);
  assert.ok(Math.abs(shareOf(made, 'a', 0) - 3 / 4) < 0.03);
  made.get('b')!.eject(1000);
  assert.equal(made.isPanicking(0), false);
  assert.equal(shareOf(made, 'b', 0), 0);
  made.get('a')!.eject(1000);
  assert.equal(made.isPanicking(0), true);
  for (const { id } of specs) assert.equal(shareOf(made, id, 0), 1 / 4);
  assert.ok(made.counts.panicked >= 4 * 4000);
  assert.ok(Math.abs(shareOf(made, 'a', 1000) - 3 / 4) < 0.03);
});

test('suspicion of the only endpoint of a zone lets most of its traffic spill over', () => {
  const specs = (weight: number): EndpointSpec[] => [
    { id: 'a', weight: 1, zone: 'z1' },
    { id: 'b', weight, zone: 'z2' },
    { id: 'c', weight, zone: 'z3' },
  ];
  const made = balancer(specs(1), {}, inFirstZone);
  assert.equal(shareOf(made, 'a', 0), 1);
  made.update(specs(10));
  assert.ok(Math.abs(shareOf(made, 'a', 0) - 3 / 21) < 0.03);
});

test('a latency fades to what the network takes, unless it never was as much', () => {
  const latency = new PeakLatency();
  for (let i = 0; i < 2; i++) latency.observe(0, 200);
  assert.ok(latency.read(latencyMemoryMs, 64) > 64);
  assert.equal(latency.read(100 * latencyMemoryMs, 64), 64);
  assert.equal(latency.read(100 * latencyMemoryMs, 500), 200);
});

/** Endpoints by how far away they are, of so much weight. */
function placed(
  far: { readonly [id: string]: number },
  weights: { readonly [id: string]: number } = {},
): Balancer {
  const specs = Object.keys(far).map((id) => ({ id, weight: weights[id] ?? 1 }));
  const made = balancer(specs, {});
  made.configure(defaultBalance, { ...noLocality, roundTrips: new Map(Object.entries(far)) });
  return made;
}

test('the nearest is preferred, alone among those as near; without distances all are alike', () => {
  assert.equal(shareOf(placed({ a: 0, b: 64, c: 64, d: 64 }), 'a', 0), 1);
  assert.ok(Math.abs(shareOf(placed({ a: 32, b: 40, c: 256, d: 512 }), 'a', 0) - 0.5) < 0.03);
  assert.ok(Math.abs(shareOf(placed({ a: 0, b: 0, c: 64, d: 64 }), 'a', 0) - 0.5) < 0.03);
  assert.ok(Math.abs(shareOf(placed({ a: 64, b: 64, c: 64, d: 64 }), 'a', 0) - 0.25) < 0.03);
});

test('an endpoint is not taken for near because nobody knows where it is', () => {
  const made = balancer(
    ['a', 'b', 'c', 'd'].map((id) => ({ id, weight: 1 })),
    {},
  );
  const know = (roundTrips: { readonly [id: string]: number }): void =>
    made.configure(defaultBalance, { ...noLocality, roundTrips: new Map(Object.entries(roundTrips)) });
  know({ a: 16 });
  assert.ok(Math.abs(shareOf(made, 'b', 0) - 0.25) < 0.03);
  assert.ok(!made.isNearest(made.get('b')!));
  know({ a: 16, c: 128 });
  assert.equal(shareOf(made, 'a', 0), 1);
  assert.deepEqual(
    made.endpoints.filter((one) => made.isNearest(one)).map(({ id }) => id),
    ['a'],
  );
});

test('connections that nobody measures are spread by number, and the first goes where it is near', () => {
  const made = placed({ a: 0, b: 256, c: 256, d: 256 });
  assert.equal(made.pick(0)!.id, 'a');
  for (let i = 0; i < 100; i++) made.pick(0)!.begin(0);
  for (const { id, inflight } of made.endpoints)
    assert.ok(inflight > 22 && inflight < 29, `${id} ${inflight}`);
});

test('a near endpoint that fails, or is asked too much, is preferred again only once that is over', () => {
  const made = placed({ a: 0, b: 64, c: 64, d: 64 });
  const near = made.get('a')!;
  near.begin(0);
  near.end(0, 'failed');
  assert.ok(shareOf(made, 'a', 0) < 0.6);
  near.begin(0);
  near.end(0, 'ok');
  assert.equal(shareOf(made, 'a', 0), 1);
  near.begin(0);
  near.turnAway(0, 'ok', 0);
  assert.ok(shareOf(made, 'a', 9_999) < 0.6);
  assert.equal(shareOf(made, 'a', 10_000), 1);
});

test('nearness does not outdo a weight that says suspected or on trial', () => {
  const share = shareOf(placed({ a: 0, b: 64, c: 64 }, { b: 10, c: 10 }), 'a', 0);
  assert.ok(share < 0.15, `${share}`);
});

test('a near endpoint that is out of rotation or excluded is not chosen, and one that moved away is no longer near', () => {
  const made = placed({ a: 0, b: 64, c: 64 });
  assert.notEqual(made.pick(0, 'a')!.id, 'a');
  made.get('a')!.begin(0);
  made.get('a')!.end(0, 'connect-failure');
  assert.equal(shareOf(made, 'a', 0), 0);
  const moved = placed({ a: 0, b: 64, c: 64 });
  moved.pick(0);
  moved.configure(defaultBalance, {
    ...noLocality,
    roundTrips: new Map([
      ['a', 64],
      ['b', 0],
      ['c', 0],
    ]),
  });
  assert.equal(shareOf(moved, 'a', 0), 0);
});
