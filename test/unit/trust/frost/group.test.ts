import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js';
import { Fault } from '../../../../src/core.ts';
import {
  combine,
  commit,
  decodeElement,
  decodeScalar,
  decodeWire,
  encodeElement,
  encodeScalar,
  multiplyBase,
  multiplyBasePublic,
  multiplySmall,
  scalarFromEntropy,
  scalars,
} from '../../../../src/trust/frost/group.ts';
import { entropyOf, range } from './parties.ts';

const isMalformed = (error: unknown): boolean => error instanceof Fault && error.code === 'malformed';
const secrets = range(1, 8).map((i) => scalarFromEntropy(entropyOf(`secret ${i}`, 64)));
const torsion = ED25519_TORSION_SUBGROUP.map((hex) => ed25519.Point.fromHex(hex));

test('a wire stands for the very element that was committed to', () => {
  for (const secret of secrets) {
    const { element, wire } = commit(secret);
    assert.ok(element.equals(multiplyBase(secret)));
    assert.ok(decodeWire(wire).equals(element));
  }
});

test('whatever torsion a wire has, the element it stands for has none', () => {
  for (const secret of secrets) {
    const { element, wire } = commit(secret);
    for (const stray of torsion) {
      const decoded = decodeWire(ed25519.Point.fromBytes(wire).add(stray).toBytes());
      assert.ok(decoded.isTorsionFree());
      assert.ok(decoded.equals(element), 'all eight wires stand for the same element');
    }
  }
});

test('wires of the identity are refused: all points of small order', () => {
  for (const point of torsion) assert.throws(() => decodeWire(point.toBytes()), isMalformed);
});

test('an element with torsion is refused where elements are stored', () => {
  for (const secret of secrets.slice(0, 3)) {
    const element = multiplyBase(secret);
    assert.ok(decodeElement(encodeElement(element)).equals(element));
    for (const stray of torsion.filter((point) => !point.is0()))
      assert.throws(() => decodeElement(element.add(stray).toBytes()), isMalformed);
  }
  for (const point of torsion) assert.throws(() => decodeElement(point.toBytes()), isMalformed);
});

test('encodings that are not canonical are refused', () => {
  // y = 2^255 - 19 + 1, that is 1; and the identity with a sign.
  const unreduced = Uint8Array.from([0xee, ...new Array(30).fill(0xff), 0x7f]);
  const negativeZero = Uint8Array.from([1, ...new Array(30).fill(0), 0x80]);
  for (const bytes of [unreduced, negativeZero, new Uint8Array(31), new Uint8Array(33)])
    for (const decode of [decodeWire, decodeElement]) assert.throws(() => decode(bytes), isMalformed);
});

test('scalars are canonical: below the order of the group, in 32 bytes', () => {
  const order = scalars.ORDER;
  const littleEndian = (value: bigint): Buffer =>
    Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
  assert.equal(decodeScalar(littleEndian(order - 1n)), order - 1n);
  assert.equal(decodeScalar(new Uint8Array(32)), 0n);
  for (const bytes of [
    littleEndian(order),
    littleEndian(2n ** 256n - 1n),
    new Uint8Array(31),
    new Uint8Array(33),
  ])
    assert.throws(() => decodeScalar(bytes), isMalformed);
  for (const secret of secrets) assert.equal(decodeScalar(encodeScalar(secret)), secret);
});

test('every way to multiply gives the same product', () => {
  const element = multiplyBase(secrets[0]!);
  for (const factor of range(1, 255))
    assert.ok(multiplySmall(element, factor).equals(combine([element], [BigInt(factor)])));
  for (const secret of secrets) assert.ok(multiplyBasePublic(secret).equals(multiplyBase(secret)));
  assert.ok(multiplyBase(0n).is0());
});

test('entropy without any randomness is a bug and draws nothing', () => {
  assert.throws(() => scalarFromEntropy(new Uint8Array(64)), /entropy is not random/);
});
