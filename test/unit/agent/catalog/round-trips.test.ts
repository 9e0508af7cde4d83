import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoundTrips } from '../../../../src/agent/catalog/round-trips.ts';

/** Looks at what is so far away, after a rest. */
class Looking {
  readonly roundTrips = new RoundTrips();
  private now = 0;

  look(estimates: { readonly [host: string]: number | null }, restMs = 10_000): boolean {
    this.now += restMs;
    this.roundTrips.moved();
    const hosts = Object.keys(estimates).map((id) => ({ id }));
    return this.roundTrips.look(hosts, (host) => estimates[host]!, this.now);
  }

  get told(): string {
    return this.roundTrips.all.map(({ host, ms }) => `${host} ${ms}`).join(', ');
  }
}

test('hosts that are some way off are told in steps, sorted, near ones as 0, and unknown ones not at all', () => {
  const looking = new Looking();
  assert.ok(looking.look({ d: 70, near: 0.4, b: 4, c: 11.9, unknown: null }));
  assert.equal(looking.told, 'b 4, c 16, d 64, near 0');
});

test('where all are near nothing is told, and what was told stays where an estimate is not to be relied on', () => {
  const looking = new Looking();
  assert.ok(!looking.look({ a: 0.4, b: null }));
  assert.ok(!looking.look({ a: 0.4, b: 1 }));
  assert.equal(looking.told, '');
  assert.ok(looking.look({ a: 0.4, b: 64 }));
  assert.ok(!looking.look({ a: null, b: null }));
  assert.equal(looking.told, 'a 0, b 64');
});

test('estimates that waver change nothing, not even the list itself', () => {
  const looking = new Looking();
  looking.look({ far: 64, edge: 4 });
  const { all } = looking.roundTrips;
  for (const [far, edge] of [
    [90, 2.6],
    [45, 6],
    [100, 3],
  ] as const)
    assert.ok(!looking.look({ far, edge }));
  assert.equal(looking.roundTrips.all, all);
});

test('a host that has clearly moved, came or went, is news', () => {
  const looking = new Looking();
  assert.ok(looking.look({ a: 64, b: 64 }));
  assert.ok(looking.look({ a: 110, b: 64 }));
  assert.equal(looking.told, 'a 128, b 64');
  assert.ok(looking.look({ a: 110, b: 1 }));
  assert.equal(looking.told, 'a 128, b 0');
  assert.ok(looking.look({ b: 1 }));
  assert.equal(looking.told, '');
});

test('it looks again only after a rest, and only if some host has moved', () => {
  const looking = new Looking();
  assert.ok(looking.look({ a: 64 }));
  assert.ok(!looking.look({ a: 8 }, 5000));
  assert.ok(looking.look({ a: 8 }, 5000));
  const still = new RoundTrips();
  assert.ok(!still.look([{ id: 'a' }], () => 64, 0));
});
