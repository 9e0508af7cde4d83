import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import {
  type Coordinate,
  distanceMs,
  estimateMs,
  isValidCoordinate,
  maxCoordinateMs,
  maxRoundTripMs,
  originCoordinate,
  separationMs,
} from '../../../../src/gossip/coordinates/coordinate.ts';
import { Coordinates, maxKnownPeers, maxMoveMs } from '../../../../src/gossip/coordinates/coordinates.ts';
import { LatencyMesh, quantile } from '../latency-mesh.ts';

function placeAt(firstMs: number, error = 0.1): Coordinate {
  return { vectorMs: [firstMs, 0, 0, 0, 0, 0, 0, 0], heightMs: 0.01, adjustmentMs: 0, error };
}

/** A host that has settled 20 ms from a fixed peer. */
function settled(): Coordinates {
  const coordinates = new Coordinates('self', seededRandom(5));
  for (let i = 0; i < 200; i++) coordinates.observe('fixed', placeAt(0), 20);
  return coordinates;
}

/** A liar says it is behind the host, and answers so late that it should be further away. */
function push(coordinates: Coordinates, rttMs: number): void {
  coordinates.observe('pusher', placeAt(coordinates.own.vectorMs[0]! - rttMs / 2, 0), rttMs);
}

for (const seed of [1, 2, 3])
  test(`fifty hosts in three zones find where they are (seed ${seed})`, () => {
    const mesh = new LatencyMesh({ seed });
    mesh.run(200);
    assert.ok(quantile(mesh.errors(), 0.5) < 0.1, `median ${quantile(mesh.errors(), 0.5)}`);
    const between = mesh.errors((a, b) => a.zone !== b.zone);
    assert.ok(quantile(between, 0.9) < 0.15, `between zones, nine tenths ${quantile(between, 0.9)}`);
    assert.equal(mesh.orderedShare(), 1);
    const believed = mesh.hosts.map(({ coordinates }) => coordinates.own.error).sort((a, b) => a - b);
    assert.ok(quantile(believed, 0.5) < 0.3, `hosts think they are off by ${quantile(believed, 0.5)}`);
  });

test('clocks that tell whole milliseconds are good enough to tell zones apart', () => {
  const mesh = new LatencyMesh({ seed: 4, wholeMs: true });
  mesh.run(200);
  assert.ok(quantile(mesh.errors(), 0.5) < 0.1);
  assert.equal(mesh.orderedShare(), 1);
});

test('once found, places stay, though measurements jitter', () => {
  const mesh = new LatencyMesh({ seed: 6 });
  mesh.run(400);
  const pairs = mesh.hosts.slice(1).map((host) => [mesh.hosts[0]!, host] as const);
  const before = pairs.map(([a, b]) => mesh.estimateMs(a, b));
  const movedMs = mesh.run(200);
  assert.ok(movedMs < 1, `an observation moves a host by ${movedMs} ms`);
  const changes = pairs.map(([a, b], i) => Math.abs(mesh.estimateMs(a, b) - before[i]!));
  const worst = Math.max(...changes);
  assert.ok(worst < 10, `an estimate changed by ${worst} ms`);
});

test('a host that moves to another zone is followed', () => {
  const mesh = new LatencyMesh({ seed: 7 });
  mesh.run(200);
  const mover = mesh.hosts[0]!;
  mover.zone = 2;
  mesh.run(100);
  const errors = mesh.errors((a, b) => a === mover || b === mover);
  assert.ok(quantile(errors, 0.5) < 0.2, `median ${quantile(errors, 0.5)}`);
  assert.equal(mesh.orderedShare(), 1);
});

test('what a slow link adds to every path becomes the height of its host', () => {
  const mesh = new LatencyMesh({ seed: 10 });
  const slow = mesh.hosts[0]!;
  slow.linkMs = 60;
  mesh.run(300);
  const heights = mesh.hosts.map(({ coordinates }) => coordinates.own.heightMs).sort((a, b) => a - b);
  assert.equal(slow.coordinates.own.heightMs, heights.at(-1));
  assert.ok(slow.coordinates.own.heightMs > 2 * quantile(heights, 0.5), `${heights}`);
});

test('hosts that lie about where they are cannot keep a tenth as many honest ones from finding one another', () => {
  const mesh = new LatencyMesh({ seed: 8, liars: 5 });
  mesh.run(300);
  assert.ok(quantile(mesh.errors(), 0.5) < 0.15, `median ${quantile(mesh.errors(), 0.5)}`);
  assert.ok(mesh.orderedShare() > 0.99, `${mesh.orderedShare()} in order`);
});

test('one lie moves a settled host by a few milliseconds at most', () => {
  for (const lie of [placeAt(10_000, 0), placeAt(-10_000, 0), { ...placeAt(0, 0), heightMs: 10_000 }]) {
    const coordinates = settled();
    const before = coordinates.own;
    coordinates.observe('liar', lie, 1);
    const movedMs = separationMs(before.vectorMs, coordinates.own.vectorMs);
    assert.ok(movedMs > 0 && movedMs < 2, `moved by ${movedMs} ms`);
    assert.ok(Math.abs(coordinates.own.adjustmentMs - before.adjustmentMs) < 1);
  }
});

test('one lie moves even a host that knows nothing by no more than the limit', () => {
  const coordinates = new Coordinates('self', seededRandom(1));
  coordinates.observe('liar', placeAt(10_000, 0), 0);
  const movedMs = separationMs(originCoordinate.vectorMs, coordinates.own.vectorMs);
  assert.ok(movedMs > maxMoveMs * 0.9 && movedMs <= maxMoveMs + 0.1, `moved by ${movedMs} ms`);
});

test('a claim to be surer than anybody can be counts for no more', () => {
  const moved = [0, 0.01].map((error) => {
    const coordinates = settled();
    coordinates.observe('peer', placeAt(3, error), 30);
    return coordinates.own;
  });
  assert.deepEqual(moved[0], moved[1]);
});

test('where most lie the adjustment stays within bounds, too', () => {
  const coordinates = settled();
  for (let i = 0; i < 40; i++) {
    const corner = { ...placeAt(0, 0), vectorMs: new Array<number>(8).fill(i % 2 === 0 ? 9999 : -9999) };
    coordinates.observe('liar', corner, 1);
  }
  assert.ok(isValidCoordinate(coordinates.own));
  assert.ok(coordinates.own.adjustmentMs >= -200, `${coordinates.own.adjustmentMs}`);
});

test('whoever pushes a host for ever in one direction does not push it out of bounds', () => {
  const coordinates = new Coordinates('self', seededRandom(2));
  let furthestMs = 0;
  for (let i = 0; i < 3000; i++) {
    push(coordinates, maxRoundTripMs);
    furthestMs = Math.max(furthestMs, coordinates.own.vectorMs[0]!);
    assert.ok(isValidCoordinate(coordinates.own), JSON.stringify(coordinates.own));
  }
  assert.ok(furthestMs > maxCoordinateMs / 2, `the push tried the bounds, and came to ${furthestMs} ms`);
});

test('what led a whole mesh away from the middle is undone by gravity', () => {
  const coordinates = [1, 2].map((seed) => new Coordinates('self', seededRandom(seed)));
  for (let i = 0; i < 50; i++) for (const host of coordinates) push(host, maxRoundTripMs);
  const [one, two] = coordinates as [Coordinates, Coordinates];
  const awayMs = one.own.vectorMs[0]!;
  for (let i = 0; i < 2000; i++) {
    one.observe('two', two.own, 5);
    two.observe('one', one.own, 5);
  }
  assert.ok(awayMs > 1000 && Math.abs(one.own.vectorMs[0]!) < awayMs / 2);
  assert.ok(Math.abs(distanceMs(one.own, two.own) - 5) < 1);
});

test('one answer that took far too long moves nobody', () => {
  const coordinates = settled();
  const before = coordinates.own;
  coordinates.observe('fixed', placeAt(0), 900);
  assert.ok(separationMs(before.vectorMs, coordinates.own.vectorMs) < 0.1);
});

test('round trips and coordinates that cannot be are counted and change nothing', () => {
  const coordinates = settled();
  const before = coordinates.own;
  const { observations } = coordinates.stats;
  for (const rttMs of [-1, Number.NaN, Number.POSITIVE_INFINITY, maxRoundTripMs + 1])
    coordinates.observe('peer', placeAt(3), rttMs);
  for (const theirs of [placeAt(Number.NaN), placeAt(1e9), placeAt(0, -1), { ...placeAt(0), vectorMs: [1] }])
    coordinates.observe('peer', theirs, 5);
  assert.equal(coordinates.own, before);
  assert.deepEqual(coordinates.stats, { observations, refusedCoordinates: 4, refusedRoundTrips: 4 });
});

test('round trips too short for the clock leave two hosts next to each other', () => {
  const [one, two] = [new Coordinates('self', seededRandom(1)), new Coordinates('self', seededRandom(2))];
  for (let i = 0; i < 200; i++) {
    one.observe('two', two.own, 0);
    two.observe('one', one.own, 0);
  }
  assert.ok(distanceMs(one.own, two.own) < 1);
  assert.ok(one.own.error < 0.2, `and sure of it: ${one.own.error}`);
});

test('any two hosts that were heard from can be estimated, measured or not', () => {
  const coordinates = new Coordinates('self', seededRandom(1));
  assert.equal(coordinates.estimateMs('self', 'a'), null);
  assert.ok(coordinates.note('a', placeAt(10)));
  coordinates.observe('b', placeAt(-5), 3);
  assert.equal(coordinates.estimateMs('a', 'b'), 15.02);
  assert.equal(coordinates.estimateMs('b', 'a'), 15.02);
  assert.equal(coordinates.estimateMs('self', 'b'), estimateMs(coordinates.own, placeAt(-5)));
  assert.equal(coordinates.estimateMs('a', 'a'), 0);
  assert.equal(coordinates.estimateMs('a', 'unheard'), null);
});

test('a claim that cannot be leaves the last good one, and a round trip that cannot be does not', () => {
  const coordinates = new Coordinates('self', seededRandom(1));
  coordinates.note('a', placeAt(10));
  assert.equal(coordinates.note('a', placeAt(Number.NaN)), false);
  assert.deepEqual(coordinates.of('a'), placeAt(10));
  coordinates.observe('a', placeAt(11), -1);
  assert.deepEqual(coordinates.of('a'), placeAt(11));
  assert.deepEqual(coordinates.stats, { observations: 0, refusedCoordinates: 1, refusedRoundTrips: 1 });
});

test('of peers that are forgotten or too many nothing is known', () => {
  const coordinates = new Coordinates('self', seededRandom(1));
  for (let i = 0; i <= maxKnownPeers; i++) coordinates.observe(`peer ${i}`, placeAt(i % 7), 5);
  assert.equal(coordinates.of('peer 0'), null);
  assert.deepEqual(coordinates.of('peer 1'), placeAt(1));
  coordinates.forget('peer 1');
  assert.equal(coordinates.of('peer 1'), null);
});

test('what was measured of a peer that was forgotten no longer counts', () => {
  const [kept, forgotten] = [settled(), settled()];
  forgotten.forget('fixed');
  for (const coordinates of [kept, forgotten]) coordinates.observe('fixed', placeAt(0), 60);
  assert.ok(Math.abs(kept.own.vectorMs[0]!) < Math.abs(forgotten.own.vectorMs[0]!));
});

test('the same measurements with the same randomness lead to the same place', () => {
  const places = [1, 2].map(() => {
    const mesh = new LatencyMesh({ seed: 9, hosts: 10 });
    mesh.run(50);
    return mesh.hosts.map((host) => host.coordinates.own);
  });
  assert.deepEqual(places[0], places[1]);
});
