/** What every way of balancing holds to, whatever the endpoints, their weights and what becomes of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../src/core.ts';
import { Balancer, type EndpointSpec } from '../../src/proxy/balance/balancer.ts';
import { noHash } from '../../src/proxy/balance/chooser.ts';
import type { BalanceMethod } from '../../src/proxy/policy.ts';
import { defaultBalance } from '../../src/proxy/policy-defaults.ts';

const methods: readonly BalanceMethod[] = [
  'p2c',
  'round_robin',
  'least_request',
  'ring_hash',
  'maglev',
  'random',
];

/** One in the first zone, as many as in all others in the second: so not every zone has capacity to spare. */
const callersInOrder = [
  { zone: 'z0', instances: 1 },
  { zone: 'z1', instances: 4 },
  { zone: 'z2', instances: 1 },
];

function balancer(method: BalanceMethod, specs: readonly EndpointSpec[], seed = 1, zone = ''): Balancer {
  const made = new Balancer(seededRandom(seed));
  made.configure({ ...defaultBalance, method }, { zone, callers: callersInOrder, roundTrips: new Map() });
  made.update(specs);
  return made;
}

function named(weights: readonly number[]): EndpointSpec[] {
  return weights.map((weight, i) => ({ id: `e${i}`, weight }));
}

const someWeights = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 8 });

/** How far from its due share an endpoint may be, as a part of that share, on top of chance. */
const slack: { readonly [method in BalanceMethod]: number } = {
  p2c: 0.05,
  round_robin: 0.001,
  least_request: 0.05,
  random: 0.05,
  ring_hash: 0.5,
  maglev: 0.05,
};

for (const method of methods)
  test(`${method}: idle endpoints share requests by weight`, () => {
    const count = 4000;
    fc.assert(
      fc.property(someWeights, fc.integer(), (weights, seed) => {
        const made = balancer(method, named(weights), seed);
        const random = seededRandom(seed);
        const seen = new Map<string, number>();
        for (let i = 0; i < count; i++) {
          const { id } = made.pick(0, undefined, Math.floor(random.next() * 2 ** 32))!;
          seen.set(id, (seen.get(id) ?? 0) + 1);
        }
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (const [i, weight] of weights.entries()) {
          const due = (count * weight) / total;
          const chance = method === 'round_robin' ? weights.length : 5 * Math.sqrt(due);
          const got = seen.get(`e${i}`) ?? 0;
          assert.ok(Math.abs(got - due) <= due * slack[method] + chance, `e${i}: ${got} instead of ${due}`);
        }
      }),
      { numRuns: method === 'maglev' ? 20 : 60 },
    );
  });

/** One step in the life of a cluster. */
type Step =
  | { readonly type: 'pick'; readonly exclude: number; readonly hash: number }
  | { readonly type: 'end'; readonly outcome: 'ok' | 'failed' | 'connect-failure' | 'abandoned' }
  | { readonly type: 'eject'; readonly index: number; readonly forMs: number }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'update'; readonly weights: readonly number[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('pick' as const),
      exclude: fc.integer({ min: -1, max: 5 }),
      hash: fc.oneof(fc.constant(noHash), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('end' as const),
      outcome: fc.constantFrom('ok', 'failed', 'connect-failure', 'abandoned'),
    }),
  },
  fc.record({
    type: fc.constant('eject' as const),
    index: fc.nat(5),
    forMs: fc.integer({ min: 1, max: 5000 }),
  }),
  fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({
    type: fc.constant('update' as const),
    weights: fc.array(fc.integer({ min: 1, max: 65_535 }), { maxLength: 6 }),
  }),
);

test('a pick is null only without endpoints, is not the excluded one and not one out of rotation while another is there', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...methods),
      fc.boolean(),
      fc.array(step, { maxLength: 60 }),
      (method, zoned, steps) => {
        const made = balancer(method, named([1, 2, 3]), 1, zoned ? 'z0' : '');
        const held: { end(now: number, outcome: 'ok', latencyMs: number): void }[] = [];
        let now = 1000;
        for (const one of steps) {
          if (one.type === 'pass') now += one.ms;
          else if (one.type === 'update')
            made.update(named(one.weights).map((spec, i) => ({ ...spec, zone: `z${i % 3}` })));
          else if (one.type === 'eject') made.get(`e${one.index}`)?.eject(now + one.forMs);
          else if (one.type === 'end') held.pop()?.end(now, one.outcome as 'ok', 3);
          else {
            const exclude = one.exclude < 0 ? undefined : `e${one.exclude}`;
            const choice = made.pick(now, exclude, one.hash);
            const others = made.endpoints.filter(({ id }) => id !== exclude);
            if (made.size === 0) assert.equal(choice, null);
            else {
              assert.equal(made.get(choice!.id), choice);
              if (others.length > 0) assert.notEqual(choice!.id, exclude);
              if (others.some((other) => other.isFit(now))) assert.ok(choice!.isFit(now));
              choice!.begin(now);
              held.push(choice!);
            }
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('nobody starves: whatever happened, an endpoint in good order is picked again', () => {
  const quiet = methods.filter((method) => method !== 'maglev');
  fc.assert(
    fc.property(
      fc.constantFrom(...quiet),
      fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 2, maxLength: 5 }),
      (method, latencies) => {
        const made = balancer(method, named(latencies.map(() => 1)));
        for (const [i, latencyMs] of latencies.entries())
          for (let times = 0; times < 4; times++) {
            made.get(`e${i}`)!.begin(0);
            made.get(`e${i}`)!.end(0, latencyMs % 3 === 0 ? 'failed' : 'ok', latencyMs);
          }
        const seen = new Set<string>();
        for (let now = 0; now < 120_000; now += 100) {
          const choice = made.pick(now)!;
          seen.add(choice.id);
          choice.begin(now);
          choice.end(now, 'ok', 1);
        }
        assert.equal(seen.size, latencies.length);
      },
    ),
    { numRuns: 60 },
  );
});

for (const [method, runs, most] of [
  ['ring_hash', 40, 0],
  ['maglev', 10, 0.1],
] as const)
  test(`${method}: when one of many goes, its keys move and few others`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 20 }), fc.nat(), fc.nat(), (count, leaving, salt) => {
        const ids = Array.from({ length: count }, (_, i) => ({ id: `h${salt}-${i}`, weight: 1 }));
        const left = ids[leaving % count]!.id;
        const made = balancer(method, ids);
        const keys = Array.from({ length: 2000 }, (_, i) => (i * 0x9e3779b1) >>> 0);
        const before = keys.map((key) => made.pick(0, undefined, key)!.id);
        made.update(ids.filter(({ id }) => id !== left));
        const after = keys.map((key) => made.pick(0, undefined, key)!.id);
        const moved = before.filter((id, i) => id !== left && id !== after[i]).length;
        assert.ok(moved <= keys.length * most, `${moved} of ${keys.length}`);
        made.update(ids);
        assert.deepEqual(
          keys.map((key) => made.pick(0, undefined, key)!.id),
          before,
        );
      }),
      { numRuns: runs },
    );
  });

/** Zones with callers and endpoints in any numbers, none of either included; weights differ. */
const zones = fc.array(
  fc.record({
    callers: fc.integer({ min: 0, max: 5 }),
    weights: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 4 }),
  }),
  { minLength: 2, maxLength: 5 },
);

for (const method of ['round_robin', 'random'] as const)
  test(`${method}: over all zones every endpoint gets its due, and what has room in its zone stays there`, () => {
    fc.assert(
      fc.property(zones, fc.integer(), (drawn, seed) => {
        const callers = drawn.map(({ callers: instances }, i) => ({ zone: `z${i}`, instances }));
        const specs = drawn.flatMap(({ weights }, i) =>
          weights.map((weight, j) => ({ id: `z${i}-${j}`, weight, zone: `z${i}` })),
        );
        const callerCount = drawn.reduce((sum, one) => sum + one.callers, 0);
        const capacity = specs.reduce((sum, { weight }) => sum + weight, 0);
        fc.pre(callerCount > 0 && capacity > 0);
        const picksEach = 2000;
        const seen = new Map<string, number>();
        for (const [i, { callers: count, weights }] of drawn.entries()) {
          let stayed = 0;
          for (let caller = 0; caller < count; caller++) {
            const made = new Balancer(seededRandom(seed + 31 * i + caller));
            made.configure({ ...defaultBalance, method }, { zone: `z${i}`, callers, roundTrips: new Map() });
            made.update(specs);
            for (let pick = 0; pick < picksEach; pick++) {
              const { id, zone } = made.pick(0)!;
              seen.set(id, (seen.get(id) ?? 0) + 1);
              if (zone === `z${i}`) stayed++;
            }
          }
          const capacityShare = weights.reduce((sum, weight) => sum + weight, 0) / capacity;
          const due = Math.min(1, capacityShare / (count / callerCount)) * picksEach * count;
          if (count > 0) assert.ok(Math.abs(stayed - due) <= 5 * Math.sqrt(picksEach * count), `z${i}`);
        }
        for (const { id, weight } of specs) {
          const due = (picksEach * callerCount * weight) / capacity;
          const got = seen.get(id) ?? 0;
          assert.ok(Math.abs(got - due) <= 6 * Math.sqrt(due) + 5 * callerCount, `${id}: ${got} of ${due}`);
        }
      }),
      { numRuns: 40 },
    );
  });
