import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import {
  type Coordinate,
  coordinateBytes,
  decodeCoordinate,
  distanceMs,
  encodeCoordinate,
  estimateMs,
  isValidCoordinate,
  maxCoordinateMs,
  maxError,
  originCoordinate,
} from '../../../../src/gossip/coordinates/coordinate.ts';

/** A valid place on the first axis, with what is given. */
function placeAt(firstMs: number, more: Partial<Coordinate> = {}): Coordinate {
  return { vectorMs: [firstMs, 0, 0, 0, 0, 0, 0, 0], heightMs: 0, adjustmentMs: 0, error: 0.5, ...more };
}

function refusal(bytes: Uint8Array): Fault {
  try {
    decodeCoordinate(bytes);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  assert.fail('was not refused');
}

test('the origin is valid, and a host at the origin is next to any other that knows nothing', () => {
  assert.ok(isValidCoordinate(originCoordinate));
  assert.ok(estimateMs(originCoordinate, originCoordinate) <= 0.02);
});

test('an estimate is the distance, both links and both adjustments', () => {
  const a = placeAt(-3, { heightMs: 1, adjustmentMs: 0.5 });
  const b = placeAt(4, { heightMs: 2, adjustmentMs: -0.25 });
  assert.equal(distanceMs(a, b), 10);
  assert.equal(estimateMs(a, b), 10.25);
});

test('adjustments that would take an estimate below zero are left out', () => {
  const a = placeAt(0, { heightMs: 1, adjustmentMs: -50 });
  assert.equal(estimateMs(a, placeAt(3)), 4);
});

test('a coordinate is invalid with one number too many, not finite, or out of bounds', () => {
  const wrong: Coordinate[] = [
    { ...placeAt(0), vectorMs: [] },
    { ...placeAt(0), vectorMs: new Array<number>(9).fill(0) },
    placeAt(Number.NaN),
    placeAt(Number.POSITIVE_INFINITY),
    placeAt(-maxCoordinateMs - 1),
    placeAt(0, { heightMs: -0.001 }),
    placeAt(0, { heightMs: Number.NaN }),
    placeAt(0, { heightMs: maxCoordinateMs + 1 }),
    placeAt(0, { adjustmentMs: Number.NEGATIVE_INFINITY }),
    placeAt(0, { error: -0.1 }),
    placeAt(0, { error: maxError + 0.1 }),
    placeAt(0, { error: Number.NaN }),
  ];
  for (const coordinate of wrong) assert.ok(!isValidCoordinate(coordinate), JSON.stringify(coordinate));
});

test('the furthest valid place is still valid once it was told', () => {
  const edge: Coordinate = {
    vectorMs: [maxCoordinateMs, -maxCoordinateMs, 0, 0, 0, 0, 0, maxCoordinateMs],
    heightMs: maxCoordinateMs,
    adjustmentMs: -maxCoordinateMs,
    error: maxError,
  };
  assert.deepEqual(decodeCoordinate(encodeCoordinate(edge)), edge);
});

test('an encoded coordinate has one size, and no other is read', () => {
  const bytes = encodeCoordinate(placeAt(12.5));
  assert.equal(bytes.length, coordinateBytes);
  assert.equal(refusal(bytes.subarray(1)).code, 'malformed');
  assert.equal(refusal(new Uint8Array([...bytes, 0])).code, 'malformed');
});

test('a number that is not finite, or that no host may claim, is malformed wherever it stands', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e9])
    for (let at = 0; at < coordinateBytes; at += 4) {
      const bytes = Buffer.from(encodeCoordinate(placeAt(1)));
      bytes.writeFloatBE(bad, at);
      assert.equal(refusal(bytes).code, 'malformed', `${bad} at ${at}`);
    }
});

test('reading does not hold on to the bytes it was given', () => {
  const bytes = encodeCoordinate(placeAt(7));
  const read = decodeCoordinate(bytes);
  bytes.fill(0);
  assert.equal(read.vectorMs[0], 7);
});
