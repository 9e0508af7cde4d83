import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pack, Unpacker } from '../../../../bench/gossip/msgpack.ts';

function unpack(bytes: Buffer): unknown {
  const unpacker = new Unpacker();
  unpacker.add(bytes);
  return unpacker.next();
}

test('a command is packed as serf expects it', () => {
  assert.equal(
    pack({ Command: 'event', Seq: 200, Coalesce: false }).toString('hex'),
    '83a7436f6d6d616e64a56576656e74a3536571ce000000c8a8436f616c65736365c2',
  );
});

test('what was packed comes back', () => {
  const value = { Tags: { a: 'x'.repeat(100) }, list: [0, 127, 128, 2 ** 32 - 1], yes: true, no: false };
  assert.deepEqual(unpack(pack(value)), value);
});

test('numbers, nil and long texts arrive in every width that serf sends', () => {
  const cases: readonly (readonly [string, unknown])[] = [
    ['c0', null],
    ['ff', -1],
    ['cc80', 128],
    ['cd0100', 256],
    ['cf0000000100000000', 2 ** 32],
    ['c4036f6e65', 'one'],
    ['d9036f6e65', 'one'],
    ['dc000101', [1]],
    ['de0001a16101', { a: 1 }],
  ];
  for (const [hex, value] of cases) assert.deepEqual(unpack(Buffer.from(hex, 'hex')), value, hex);
});

test('a value that arrives byte by byte is given once it is whole, and the next one after it', () => {
  const unpacker = new Unpacker();
  const bytes = Buffer.concat([pack({ Seq: 1, Error: '' }), pack('next')]);
  const found: unknown[] = [];
  for (const byte of bytes) {
    unpacker.add(Buffer.of(byte));
    const value = unpacker.next();
    if (value !== undefined) found.push(value);
  }
  assert.deepEqual(found, [{ Seq: 1, Error: '' }, 'next']);
});

test('what does not fit is refused', () => {
  assert.throws(() => pack(-1), /32 bits/);
  assert.throws(() => pack('x'.repeat(65_536)), /too long/);
  assert.throws(() => pack(Array.from({ length: 16 }, () => 0)), /too many/);
  assert.throws(() => unpack(Buffer.of(0xc1)), /0xc1/);
});
