import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../src/core.ts';
import { decodeFrame, encodeFrame } from '../../src/gossip/framecodec.ts';
import { decodeRecord, encodeRecord } from '../../src/gossip/replica/codec.ts';
import { readStored } from '../../src/gossip/replica/stored.ts';
import { decodeDelta, encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { frames } from '../unit/gossip/arbitraries.ts';
import { idleSigner } from '../unit/gossip/records.ts';

/** Only a `Fault` may come out of bytes that nobody vouches for. */
function onlyFaults(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
  }
}

test('a record is read as it was written, whatever its fields', () => {
  const fields = fc.record({
    scope: fc.constantFrom('host' as const, 'policy' as const),
    kind: fc.stringMatching(/^[a-z0-9]{1,10}(-[a-z0-9]{1,10}){0,3}$/),
    key: fc.string({ unit: 'binary', maxLength: 60 }),
    version: fc.maxSafeNat(),
    hlc: fc.maxSafeNat(),
    value: fc.option(fc.uint8Array({ maxLength: 2000 })),
  });
  fc.assert(
    fc.property(fields, fc.uint8Array({ maxLength: 1024 }), (given, tail) => {
      const record = encodeRecord(given, idleSigner('alice'), tail);
      assert.deepEqual(decodeRecord(record.bytes), record);
      assert.deepEqual(encodeRecord(given, idleSigner('alice'), tail), record);
    }),
  );
});

test('a frame is read as it was written, whatever its fields', () => {
  fc.assert(fc.property(frames, (frame) => assert.deepEqual(decodeFrame(encodeFrame(frame)), frame)));
});

test('a delta is read as it was written', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 50 }), (records) => {
      const read = decodeDelta(encodeDelta(records)).map((bytes) => new Uint8Array(bytes));
      assert.deepEqual(read, records);
    }),
  );
});

test('random bytes are refused by a fault and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 14 }), (bytes, code) => {
      onlyFaults(() => decodeRecord(bytes));
      onlyFaults(() => decodeRecord(new Uint8Array([1, code % 2, ...bytes])));
      onlyFaults(() => decodeFrame(bytes));
      onlyFaults(() => decodeFrame(new Uint8Array([code, ...bytes])));
      onlyFaults(() => decodeDelta(bytes));
      onlyFaults(() => decodeDelta(new Uint8Array([1, ...bytes])));
      readStored('record/x', bytes);
      readStored(`floor/${idleSigner('a').publicKey}`, bytes);
    }),
    { numRuns: 500 },
  );
});

test('a frame or a record with any one byte changed is read or refused, never worse', () => {
  const position = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const record = encodeRecord(
    { scope: 'host', kind: 'service', key: 'web', version: 1, hlc: 1, value: new Uint8Array(20) },
    idleSigner('alice'),
  );
  fc.assert(
    fc.property(frames, position, fc.integer({ min: 1, max: 255 }), (frame, at, mask) => {
      for (const [bytes, decode] of [
        [encodeFrame(frame), decodeFrame],
        [record.bytes, decodeRecord],
      ] as const) {
        const changed = new Uint8Array(bytes);
        changed[Math.floor(at * changed.length)]! ^= mask;
        onlyFaults(() => decode(changed));
      }
    }),
    { numRuns: 500 },
  );
});
