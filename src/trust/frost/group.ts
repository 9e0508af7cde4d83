/**
 * The prime-order group of Ed25519 as FROST(Ed25519, SHA-512) uses it: scalars, elements, their encodings and
 * the hashes of RFC 9591, section 6.1. Only this file touches curve arithmetic, and every `Element` it hands
 * out lies in the prime-order subgroup, so nobody else needs to think of torsion.
 *
 * Arithmetic on big integers does not run in constant time: who can measure this process at nanosecond
 * resolution while it signs is beyond what the mesh defends against.
 */
import { createHash } from 'node:crypto';
import { mulAddUnsafe } from '@noble/curves/abstract/curve.js';
import type { EdwardsPoint } from '@noble/curves/abstract/edwards.js';
import { ed25519 } from '@noble/curves/ed25519.js';
import { assert, Fault } from '../../core.ts';

declare const primeOrder: unique symbol;

/** An integer from 0 up to the group's order. */
export type Scalar = bigint;
/** A point of the prime-order subgroup, possibly the identity where it is a sum. */
export type Element = EdwardsPoint & { readonly [primeOrder]: true };

const Point = ed25519.Point;
/** Arithmetic modulo the group's order. */
export const scalars = Point.Fn;
export const scalarBytes = 32;
export const elementBytes = 32;
/** Uniform bytes that one scalar is reduced from: so many that no value is likelier than another. */
export const wideScalarBytes = 64;

const contextString = 'FROST-ED25519-SHA512-v1';
const eighth: Scalar = scalars.inv(8n);
const identity = Point.ZERO as Element;

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex') || '0'}`);
}

/** A scalar from `wideScalarBytes` uniform bytes; zero, which no secret may be, is a bug of their source. */
export function scalarFromEntropy(bytes: Uint8Array): Scalar {
  assert(bytes.length === wideScalarBytes, 'a scalar is drawn from 64 bytes');
  const scalar = scalars.create(littleEndian(bytes));
  assert(scalar !== 0n, 'entropy is not random');
  return scalar;
}

export function encodeScalar(scalar: Scalar): Uint8Array {
  return scalars.toBytes(scalar);
}

/** RFC 9591's DeserializeScalar. Throws `Fault('malformed')` for what is not below the group's order. */
export function decodeScalar(bytes: Uint8Array): Scalar {
  const scalar = littleEndian(bytes);
  if (bytes.length !== scalarBytes || scalar >= scalars.ORDER)
    throw new Fault('malformed', 'not a scalar of the group');
  return scalar;
}

export function encodeElement(element: Element): Uint8Array {
  return element.toBytes();
}

/** Decodes a point of the whole curve, canonical encodings only. */
function decodePoint(bytes: Uint8Array): EdwardsPoint {
  try {
    return Point.fromBytes(bytes);
  } catch (error) {
    throw new Fault('malformed', 'not a point of the curve', { cause: error });
  }
}

/**
 * RFC 9591's DeserializeElement: refuses the identity and what lies outside the prime-order subgroup, by a
 * multiplication with the group's order. Eight times as dear as `decodeWire`, so for keys at rest only.
 * Throws `Fault('malformed')`.
 */
export function decodeElement(bytes: Uint8Array): Element {
  const point = decodePoint(bytes);
  if (point.is0() || !point.isTorsionFree())
    throw new Fault('malformed', 'not an element of the prime-order group');
  return point as Element;
}

/** A public value `secret * B` and what stands for it in a message: see `decodeWire`. */
export interface Commitment {
  readonly element: Element;
  readonly wire: Uint8Array;
}

/** Commits to a secret by one multiplication of the base point and three doublings. */
export function commit(secret: Scalar): Commitment {
  const part = multiplyBase(scalars.mul(secret, eighth));
  return { element: part.clearCofactor() as Element, wire: encodeElement(part) };
}

/**
 * The element that a message stands for. A message carries an eighth of the element, and the receiver doubles
 * it thrice: eight times any point of the curve lies in the prime-order subgroup, so membership needs no
 * check at all. Eight different wires stand for one element; hashes that must agree are therefore taken over
 * elements (RFC 9591's binding factors) or over the very bytes that were signed (dealings).
 * Throws `Fault('malformed')` for what is no point, and for wires of the identity.
 */
export function decodeWire(bytes: Uint8Array): Element {
  const element = decodePoint(bytes).clearCofactor();
  if (element.is0()) throw new Fault('malformed', 'a commitment must not be the identity');
  return element as Element;
}

/** `secret * B`, with the library's blinded fixed-base multiplication. */
export function multiplyBase(secret: Scalar): Element {
  return secret === 0n ? identity : (Point.BASE.multiply(secret) as Element);
}

/** `secret * element`, with the library's multiplication that hides the secret's bits. */
export function multiplySecret(element: Element, secret: Scalar): Element {
  return element.multiply(secret) as Element;
}

/** The scalar that an Ed25519 key of this seed signs with (RFC 8032, section 5.1.5). */
export function secretOfSeed(seed: Uint8Array): Scalar {
  return ed25519.utils.getExtendedPublicKey(seed).scalar;
}

/** `factor * B` in variable time: for public values. */
export function multiplyBasePublic(factor: Scalar): Element {
  return Point.BASE.multiplyUnsafe(factor) as Element;
}

export function add(a: Element, b: Element): Element {
  return a.add(b) as Element;
}

export function sum(elements: readonly Element[]): Element {
  return elements.reduce(add, identity);
}

/** The sum of each element times its factor, in variable time: for public values. */
export function combine(elements: readonly Element[], factors: readonly Scalar[]): Element {
  return mulAddUnsafe<EdwardsPoint, typeof Point>(Point, [...elements], [...factors]) as Element;
}

/** `factor * element` for a small positive integer: a few doublings instead of two hundred and fifty. */
export function multiplySmall(element: Element, factor: number): Element {
  let product: EdwardsPoint = element;
  for (let bit = 30 - Math.clz32(factor); bit >= 0; bit--) {
    product = product.double();
    if ((factor >>> bit) & 1) product = product.add(element);
  }
  return product as Element;
}

function sha512(tag: string, parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512').update(tag);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** SHA-512 of RFC 9591's context string, `tag` and the parts: H4 (`msg`) and H5 (`com`). */
export function hashBytes(tag: 'msg' | 'com', ...parts: Uint8Array[]): Uint8Array {
  return sha512(contextString + tag, parts);
}

/**
 * The same, as a scalar: H1 (`rho`), H3 (`nonce`), `dkg` for proofs of knowledge, `pad` for what is sealed, the last two
 * for what a party of a ceremony draws from its seed.
 */
export function hashScalar(
  tag: 'rho' | 'nonce' | 'dkg' | 'pad' | 'answer' | 'answer-key',
  ...parts: Uint8Array[]
): Scalar {
  return scalars.create(littleEndian(sha512(contextString + tag, parts)));
}

/** H2: the challenge of plain Ed25519, without the context string. */
export function hashChallenge(...parts: Uint8Array[]): Scalar {
  return scalars.create(littleEndian(sha512('', parts)));
}
