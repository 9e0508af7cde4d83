/**
 * Where a host is in a space whose distances are round trips, so that the latency between two hosts can be
 * told without either having measured it. Source: Dabek et al., "Vivaldi: A Decentralized Network Coordinate
 * System" (2004), section 5.4 for heights; the adjustment is that of Lee et al., "On Suitability of Euclidean
 * Embedding for Host-Based Network Coordinate Systems" (2010).
 */
import { assert, ByteReader, ByteWriter, Fault } from '../../core.ts';

/** More bring no better estimates (Ledlie et al., "Network Coordinates in the Wild", 2007). */
export const dimensions = 8;
/** A round trip that takes longer says more of a stalled host than of the network. */
export const maxRoundTripMs = 10_000;
/** No honest host is further from the middle of the mesh than the longest round trip. Exact as a float32. */
export const maxCoordinateMs: number = maxRoundTripMs;
/** The relative error of a host that knows nothing, and the most that any claims. Exact as a float32. */
export const maxError = 1.5;
/**
 * Who claims no more than this has found its place: a newcomer does after some forty measurements. Until then hosts in
 * one room may seem as far from it as those at the other end of the mesh.
 */
export const reliableError = 0.5;
/** Heights only add up, so this is as near as two hosts can be; small beside any real round trip. */
export const minHeightMs = 0.01;

/** Immutable; every observation makes a new one. */
export interface Coordinate {
  /** The place in `dimensions` dimensions: what the core of the network contributes. */
  readonly vectorMs: readonly number[];
  /** What the host's own link adds to every path that begins or ends there, at least 0. */
  readonly heightMs: number;
  /** Half of what the model lately fell short by, of either sign. */
  readonly adjustmentMs: number;
  /** How far estimates from here are off, relative to the round trip: 0 to `maxError`. */
  readonly error: number;
}

/** Where a host begins that has measured nothing. */
export const originCoordinate: Coordinate = {
  vectorMs: new Array<number>(dimensions).fill(0),
  heightMs: minHeightMs,
  adjustmentMs: 0,
  error: maxError,
};

/** Whether a host may claim this place. Not whether the claim is true: that only measuring tells. */
export function isValidCoordinate({ vectorMs, heightMs, adjustmentMs, error }: Coordinate): boolean {
  return (
    vectorMs.length === dimensions &&
    vectorMs.every(isPlausible) &&
    isPlausible(heightMs) &&
    heightMs >= 0 &&
    isPlausible(adjustmentMs) &&
    error >= 0 &&
    error <= maxError
  );
}

/** False for NaN and the infinities, too. */
function isPlausible(valueMs: number): boolean {
  return Math.abs(valueMs) <= maxCoordinateMs;
}

/** What the geometry alone says of the round trip between two hosts: never negative. */
export function distanceMs(a: Coordinate, b: Coordinate): number {
  return separationMs(a.vectorMs, b.vectorMs) + (a.heightMs + b.heightMs);
}

/** Euclidean distance. */
export function separationMs(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < dimensions; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum);
}

/**
 * The round trip to expect between two hosts with valid coordinates: finite, never negative, the same in both
 * directions. Adjustments that would take it below zero are left out. A host that lies about its coordinate
 * can seem nearer or further than it is, so this may order hosts but never admit or refuse one.
 */
export function estimateMs(a: Coordinate, b: Coordinate): number {
  const distance = distanceMs(a, b);
  const adjusted = distance + (a.adjustmentMs + b.adjustmentMs);
  return adjusted > 0 ? adjusted : distance;
}

const numbersEncoded = dimensions + 3;
/** Every encoded coordinate has this size: vector, height, adjustment and error as big-endian float32. */
export const coordinateBytes: number = numbersEncoded * 4;

/** The coordinate must be valid. Seven significant digits remain, which is below what clocks can tell. */
export function encodeCoordinate(coordinate: Coordinate): Uint8Array {
  assert(isValidCoordinate(coordinate), 'only valid coordinates are told');
  const { vectorMs, heightMs, adjustmentMs, error } = coordinate;
  const bytes = Buffer.alloc(coordinateBytes);
  [...vectorMs, heightMs, adjustmentMs, error].forEach((value, i) => {
    bytes.writeFloatBE(value, i * 4);
  });
  return new ByteWriter().raw(bytes).done();
}

/** `Fault('malformed')` for a wrong size and for anything that is not a valid coordinate, such as NaN. */
export function decodeCoordinate(bytes: Uint8Array): Coordinate {
  const reader = new ByteReader(bytes);
  const view = Buffer.from(reader.raw(coordinateBytes));
  reader.end();
  const numbers = Array.from({ length: numbersEncoded }, (_, i) => view.readFloatBE(i * 4));
  const [heightMs, adjustmentMs, error] = numbers.slice(dimensions) as [number, number, number];
  const coordinate = { vectorMs: numbers.slice(0, dimensions), heightMs, adjustmentMs, error };
  if (!isValidCoordinate(coordinate)) throw new Fault('malformed', 'coordinate is out of bounds');
  return coordinate;
}
