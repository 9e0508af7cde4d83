import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Balancer } from '../../../../src/proxy/balance/balancer.ts';
import { connectPenaltyMs, maxConnectPenaltyMs } from '../../../../src/proxy/balance/endpoint.ts';

function balancer(weights: { [id: string]: number }, seed = 1): Balancer {
  const made = new Balancer(seededRandom(seed));
  made.update(Object.entries(weights).map(([id, weight]) => ({ id, weight })));
  return made;
}

function counts(made: Balancer, picks: number, now: number, exclude?: string): Map<string, number> {
  const seen = new Map<string, number>();
  for (let i = 0; i < picks; i++) {
    const { id } = made.pick(now, exclude)!;
    seen.set(id, (seen.get(id) ?? 0) + 1);
  }
  return seen;
}

/** Fails to connect once, at `now`. */
function failConnect(made: Balancer, id: string, now: number): void {
  const endpoint = made.get(id)!;
  endpoint.begin(now);
  endpoint.end(now, 'connect-failure');
}

test('there is nothing to pick from no endpoints', () => {
  assert.equal(balancer({}).pick(0), null);
});

test('idle endpoints share requests by weight', () => {
  const seen = counts(balancer({ a: 1, b: 2, c: 7 }), 20_000, 0);
  for (const [id, share] of [
    ['a', 0.1],
    ['b', 0.2],
    ['c', 0.7],
  ] as const)
    assert.ok(Math.abs(seen.get(id)! / 20_000 - share) < 0.02, `${id} got ${seen.get(id)} of 20000`);
});

test('requests under way end up in proportion to weight', () => {
  const made = balancer({ a: 1, b: 2, c: 7 });
  for (let i = 0; i < 1000; i++) made.pick(0)!.begin(0);
  assert.ok(Math.abs(made.get('a')!.inflight - 100) <= 15, `a has ${made.get('a')!.inflight}`);
  assert.ok(Math.abs(made.get('c')!.inflight - 700) <= 25, `c has ${made.get('c')!.inflight}`);
});

test('two choices spread load much more evenly than one random choice would', () => {
  const made = balancer(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`e${i}`, 1])));
  for (let i = 0; i < 5000; i++) made.pick(0)!.begin(0);
  const loads = Array.from({ length: 50 }, (_, i) => made.get(`e${i}`)!.inflight);
  assert.ok(
    Math.max(...loads) - Math.min(...loads) <= 12,
    `loads reach from ${Math.min(...loads)} to ${Math.max(...loads)}`,
  );
});

test('an endpoint that is stuck gets fewer requests', () => {
  const made = balancer({ stuck: 1, b: 1, c: 1 });
  for (let i = 0; i < 100; i++) made.get('stuck')!.begin(0);
  assert.ok((counts(made, 9000, 0).get('stuck') ?? 0) < 1200);
});

test('a connect failure takes an endpoint out of favour at once, for a bounded time', () => {
  const made = balancer({ bad: 100, good: 1 });
  failConnect(made, 'bad', 1000);
  assert.deepEqual([...counts(made, 500, 1000 + connectPenaltyMs - 1)], [['good', 500]]);
  assert.ok(counts(made, 500, 1000 + connectPenaltyMs).get('bad')! > 400);
});

test('connect failures in a row are avoided for longer each time, up to a bound, and success forgives', () => {
  const made = balancer({ bad: 1, good: 1 });
  let now = 0;
  for (let i = 0; i < 20; i++) {
    failConnect(made, 'bad', now);
    now += maxConnectPenaltyMs;
  }
  assert.equal(made.get('bad')!.isFit(now), true);
  failConnect(made, 'bad', now);
  assert.equal(made.get('bad')!.isFit(now + maxConnectPenaltyMs - 1), false);
  made.get('bad')!.begin(now);
  made.get('bad')!.end(now, 'ok');
  assert.equal(made.get('bad')!.isFit(now), true);
  failConnect(made, 'bad', now);
  assert.equal(made.get('bad')!.isFit(now + connectPenaltyMs), true);
});

test('a burst of connects that fail together counts as one failure', () => {
  const made = balancer({ bad: 1, good: 1 });
  const bad = made.get('bad')!;
  for (let i = 0; i < 50; i++) bad.begin(0);
  for (let i = 0; i < 50; i++) bad.end(0, 'connect-failure');
  assert.equal(bad.isFit(connectPenaltyMs), true);
  assert.equal(bad.inflight, 0);
});

test('when every endpoint is avoided one is picked all the same', () => {
  const made = balancer({ a: 1, b: 1, c: 1 });
  for (const id of ['a', 'b', 'c']) failConnect(made, id, 0);
  assert.equal(counts(made, 300, 1).size, 3);
});

test('the excluded endpoint is picked only when it is the last one there is', () => {
  const made = balancer({ a: 1000, b: 1, c: 1 });
  assert.equal(counts(made, 1000, 0, 'a').has('a'), false);
  assert.equal(balancer({ a: 1 }).pick(0, 'a')!.id, 'a');
});

test('an avoided endpoint is picked before the excluded one', () => {
  const made = balancer({ a: 1000, b: 1 });
  failConnect(made, 'b', 0);
  assert.equal(counts(made, 200, 1, 'a').get('b'), 200);
});

test('a usable endpoint of tiny weight is found among many that are avoided', () => {
  const made = balancer({
    ...Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`bad${i}`, 1000])),
    good: 1,
  });
  for (let i = 0; i < 99; i++) failConnect(made, `bad${i}`, 0);
  assert.equal(counts(made, 300, 1).get('good'), 300);
});

test('an update keeps the state of endpoints that stay, and those that go can still end', () => {
  const made = balancer({ a: 1, b: 1 });
  const a = made.get('a')!;
  const b = made.get('b')!;
  a.begin(0);
  b.begin(0);
  made.update([
    { id: 'a', weight: 5 },
    { id: 'c', weight: 1 },
  ]);
  assert.equal(made.get('a'), a);
  assert.equal(a.weight, 5);
  assert.equal(a.inflight, 1);
  assert.equal(made.get('b'), undefined);
  b.end(1, 'failed');
  assert.equal(b.inflight, 0);
});
