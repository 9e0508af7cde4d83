import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault, seededRandom } from '../../src/core.ts';
import {
  type Coordinate,
  decodeCoordinate,
  dimensions,
  encodeCoordinate,
  estimateMs,
  isValidCoordinate,
  maxCoordinateMs,
  maxError,
  separationMs,
} from '../../src/gossip/coordinates/coordinate.ts';
import { Coordinates, maxMoveMs } from '../../src/gossip/coordinates/coordinates.ts';

const within = (min: number, max: number) => fc.float({ min, max, noNaN: true });
const valid: fc.Arbitrary<Coordinate> = fc.record(
  {
    vectorMs: fc.array(within(-maxCoordinateMs, maxCoordinateMs), {
      minLength: dimensions,
      maxLength: dimensions,
    }),
    heightMs: within(0, maxCoordinateMs),
    adjustmentMs: within(-maxCoordinateMs, maxCoordinateMs),
    error: within(0, maxError),
  },
  { noNullPrototype: true },
);
/** Anything of the right shape: NaN, infinities, wrong lengths, numbers beyond every bound. */
const garbage: fc.Arbitrary<Coordinate> = fc.record({
  vectorMs: fc.array(fc.double(), { maxLength: dimensions + 1 }),
  heightMs: fc.double(),
  adjustmentMs: fc.double(),
  error: fc.double(),
});
const anyRoundTrip = fc.oneof(fc.double(), fc.double({ min: 0, max: 10_000, noNaN: true }), fc.constant(0));
const observations = fc.array(
  fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.oneof(valid, valid, garbage), anyRoundTrip),
  { maxLength: 60 },
);

test('a coordinate is read as it was written', () => {
  fc.assert(
    fc.property(valid, (coordinate) =>
      assert.deepEqual(decodeCoordinate(encodeCoordinate(coordinate)), coordinate),
    ),
  );
});

test('random bytes are read as a valid coordinate or refused by a fault', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 43, maxLength: 45 }), (bytes) => {
      try {
        assert.ok(isValidCoordinate(decodeCoordinate(bytes)));
      } catch (error) {
        assert.ok(error instanceof Fault && error.code === 'malformed', String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('an estimate is finite, not negative, and the same in both directions', () => {
  fc.assert(
    fc.property(valid, valid, (a, b) => {
      const estimate = estimateMs(a, b);
      assert.ok(Number.isFinite(estimate) && estimate >= 0, String(estimate));
      assert.equal(estimateMs(b, a), estimate);
    }),
  );
});

test('whatever peers claim and however long they take, this host tells a valid coordinate', () => {
  fc.assert(
    fc.property(fc.nat(), observations, (seed, seen) => {
      const coordinates = new Coordinates('self', seededRandom(seed));
      for (const [peer, theirs, rttMs] of seen) {
        coordinates.observe(peer, theirs, rttMs);
        assert.ok(isValidCoordinate(coordinates.own), JSON.stringify(coordinates.own));
      }
      decodeCoordinate(encodeCoordinate(coordinates.own));
    }),
    { numRuns: 300 },
  );
});

test('no observation moves this host by more than the limit and gravity', () => {
  fc.assert(
    fc.property(fc.nat(), observations, (seed, seen) => {
      const coordinates = new Coordinates('self', seededRandom(seed));
      for (const [peer, theirs, rttMs] of seen) {
        const before = coordinates.own;
        coordinates.observe(peer, theirs, rttMs);
        const after = coordinates.own;
        const movedMs = separationMs(before.vectorMs, after.vectorMs);
        const gravityMs = ((Math.hypot(...before.vectorMs) + maxMoveMs) / 1000) ** 2;
        assert.ok(movedMs <= maxMoveMs + gravityMs, `moved by ${movedMs} ms`);
        assert.ok(Math.abs(after.heightMs - before.heightMs) <= maxMoveMs);
      }
    }),
    { numRuns: 300 },
  );
});
