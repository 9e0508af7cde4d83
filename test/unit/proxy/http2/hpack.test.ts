/** HPACK against the examples of its RFC, against itself, and against junk. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Decoder } from '../../../../src/proxy/http2/hpack/decoder.ts';
import { Encoder } from '../../../../src/proxy/http2/hpack/encoder.ts';
import {
  decodedAtMost,
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
} from '../../../../src/proxy/http2/hpack/huffman.ts';

type Field = readonly [name: string, value: string];

interface Vector {
  readonly section: string;
  readonly tableBytes?: number;
  readonly blocks: readonly string[];
  readonly fields: readonly (readonly Field[])[];
  readonly sizes: readonly number[];
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../../../vectors/hpack-rfc7541.json', import.meta.url), 'utf8'),
);

/** What a decoder makes of a block; null where it refuses it. */
function decode(decoder: Decoder, block: Buffer): Field[] | null {
  const fields: Field[] = [];
  const isRead = decoder.decode(block, 0, block.length, {
    field(bytes, at, nameLength, valueLength) {
      const line = bytes.toString('latin1', at, at + nameLength + valueLength + 4);
      assert.equal(line.slice(nameLength, nameLength + 2), ': ');
      assert.equal(line.slice(-2), '\r\n');
      fields.push([line.slice(0, nameLength), line.slice(nameLength + 2, -2)]);
    },
  });
  return isRead ? fields : null;
}

function encode(encoder: Encoder, fields: readonly Field[]): Buffer {
  const output = Buffer.alloc(200_000);
  let at = encoder.begin(output, 0);
  for (const [name, value] of fields) {
    const bytes = Buffer.from(name + value, 'latin1');
    at = encoder.field(output, at, bytes, 0, name.length, name.length, bytes.length);
  }
  return output.subarray(0, at);
}

/** A table of so many bytes, as the first thing in a block. */
function sizeUpdate(bytes: number): Buffer {
  return bytes < 31
    ? Buffer.from([0x20 | bytes])
    : Buffer.from([0x3f, ((bytes - 31) & 0x7f) | 0x80, (bytes - 31) >> 7]);
}

test('the examples of RFC 7541 appendix C decode to what they say', () => {
  for (const { section, tableBytes, blocks, fields, sizes } of vectors) {
    const decoder = new Decoder();
    blocks.forEach((hex, i) => {
      const first = i === 0 && tableBytes !== undefined ? sizeUpdate(tableBytes) : Buffer.alloc(0);
      const block = Buffer.concat([first, Buffer.from(hex, 'hex')]);
      assert.deepEqual(decode(decoder, block), fields[i], section);
      assert.equal(decoder.tableSize, sizes[i], section);
    });
  }
});

test('what is encoded decodes to the same, block after block, whatever the table holds', () => {
  const name = fc.constantFrom('content-type', 'cookie', 'x-a', 'x-b', 'grpc-status', 'x'.repeat(300));
  const value = fc.oneof(
    fc.constantFrom('', 'application/grpc', '0', 'y'.repeat(5000)),
    fc.string({ unit: 'binary-ascii', maxLength: 40 }),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  const step = fc.record({
    limit: fc.option(fc.integer({ min: 0, max: 5000 }), { freq: 6 }),
    fields: fc.array(fc.tuple(name, value), { maxLength: 8 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const encoder = new Encoder();
      const decoder = new Decoder();
      for (const { limit, fields } of steps) {
        if (limit !== null) encoder.setLimit(limit);
        assert.deepEqual(decode(decoder, encode(encoder, fields)), fields, decoder.problem);
      }
    }),
    { numRuns: 100 },
  );
});

test('a field that comes again and again takes one byte, one that is secret is never in a table', () => {
  const encoder = new Encoder();
  const fields: Field[] = [['X-Tenant', 'blue']];
  const lengths = [1, 2, 3].map(() => encode(encoder, fields).length);
  assert.deepEqual(lengths[2], 1, `${lengths}`);
  for (const name of ['authorization', 'cookie', 'set-cookie', 'proxy-authorization'])
    for (let i = 0; i < 3; i++) {
      const block = encode(encoder, [[name, 'secret']]);
      assert.equal(block[0]! & 0xf0, 0x10, 'never indexed');
    }
});

test('a limit that went down and up again is told in full, so that both tables are emptied alike', () => {
  const encoder = new Encoder();
  const decoder = new Decoder();
  const fields: Field[] = [['x-tenant', 'blue']];
  for (let i = 0; i < 3; i++) decode(decoder, encode(encoder, fields));
  assert.ok(decoder.tableSize > 0);
  encoder.setLimit(0);
  encoder.setLimit(4096);
  assert.deepEqual(decode(decoder, encode(encoder, [])), []);
  assert.equal(decoder.tableSize, 0);
  assert.deepEqual(decode(decoder, encode(encoder, fields)), fields);
});

test('every byte survives the Huffman code, and its padding is held to the rule', () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const length = huffmanLength(every, 0, every.length);
  const coded = Buffer.alloc(length);
  assert.equal(encodeHuffman(every, 0, every.length, coded, 0), length);
  const back = Buffer.alloc(decodedAtMost(length));
  assert.equal(decodeHuffman(coded, 0, length, back, 0), every.length);
  assert.deepEqual(back.subarray(0, every.length), every);
  // `a` is 00011: its padding must be ones, at most seven of them, and no end of string may come within.
  const isRead = (...bytes: number[]): boolean =>
    decodeHuffman(Uint8Array.from(bytes), 0, bytes.length, back, 0) >= 0;
  assert.ok(isRead(0b00011_111));
  assert.ok(!isRead(0b00011_110));
  assert.ok(!isRead(0b00011_111, 0xff));
  assert.ok(!isRead(0xff, 0xff, 0xff, 0xff));
});

test('what no encoder writes is refused, each with its reason', () => {
  const cases: readonly (readonly [hex: string, reason: RegExp])[] = [
    ['80', /index 0/],
    ['be', /index 62/],
    ['7f00', /name has index 63/],
    ['ffffffffff0f', /too long/],
    ['ffff', /within an integer/],
    ['4003616263', /within a field/],
    ['400361', /within a string/],
    ['4081ff', /Huffman/],
    ['823fe11f', /within a block/],
    ['3fe21f', /table of 4097/],
  ];
  for (const [hex, reason] of cases) {
    const decoder = new Decoder();
    assert.equal(decode(decoder, Buffer.from(hex, 'hex')), null, hex);
    assert.match(decoder.problem, reason, hex);
  }
});

test('junk is read or refused, and never more than that', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (blocks) => {
      const decoder = new Decoder();
      for (const block of blocks) {
        const fields = decode(decoder, Buffer.from(block));
        if (fields === null) return;
        assert.ok(decoder.tableSize <= 4096);
      }
    }),
    { numRuns: 300 },
  );
});
