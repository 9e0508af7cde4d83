import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, Fault } from '../../../../src/core.ts';
import {
  decodeRecord,
  encodeRecord,
  isAuthentic,
  maxRecordBytes,
  type RecordFields,
} from '../../../../src/gossip/replica/codec.ts';
import { maxValueBytes } from '../../../../src/gossip/replica/record.ts';
import { signerOf, verify } from '../mesh.ts';

const signer = signerOf('author');
const fields: RecordFields = {
  scope: 'host',
  kind: 'service',
  key: 'web',
  version: 7,
  hlc: 42 * 1024,
  value: encodeJson({ port: 80 }),
};

function faultCode(code: string) {
  return (error: unknown) => error instanceof Fault && error.code === code && !error.changed;
}

test('a record is read as it was written, and its signature holds', () => {
  const record = encodeRecord(fields, signer);
  assert.deepEqual(decodeRecord(record.bytes), record);
  assert.ok(isAuthentic(record, verify));
});

test('a change of any one byte breaks the structure or the signature', () => {
  const { bytes } = encodeRecord(fields, signer);
  for (let i = 0; i < bytes.length; i++) {
    const changed = bytes.slice();
    changed[i]! ^= 1;
    let authentic = false;
    try {
      authentic = isAuthentic(decodeRecord(changed), verify);
    } catch (error) {
      assert.ok(error instanceof Fault, `byte ${i}: ${error}`);
    }
    assert.ok(!authentic, `byte ${i} may be changed`);
  }
});

test('the signature belongs to records alone: it is not one over the bare bytes', () => {
  const { bytes } = encodeRecord(fields, signer);
  const body = bytes.subarray(0, bytes.length - 64);
  assert.ok(!verify(signer.publicKey, body, bytes.subarray(bytes.length - 64)));
});

test('fields of a later release are kept byte for byte and are covered by the signature', () => {
  const tail = new TextEncoder().encode('a field of tomorrow');
  const record = decodeRecord(encodeRecord(fields, signer, tail).bytes);
  assert.ok(isAuthentic(record, verify));
  assert.ok(Buffer.from(record.bytes).includes(Buffer.from(tail)));
  assert.equal(record.key, 'web');
});

test('a record of the largest size fits its limits, and one byte more is refused before signing', () => {
  const largest = {
    ...fields,
    kind: 'k'.repeat(64),
    key: 'x'.repeat(256),
    value: new Uint8Array(maxValueBytes),
  };
  const record = encodeRecord({ ...largest, hlc: Number.MAX_SAFE_INTEGER }, signer, new Uint8Array(1024));
  assert.ok(record.bytes.length <= maxRecordBytes);
  assert.deepEqual(decodeRecord(record.bytes), record);
  assert.throws(
    () => encodeRecord({ ...fields, value: new Uint8Array(maxValueBytes + 1) }, signer),
    faultCode('value-too-large'),
  );
  assert.throws(() => encodeRecord({ ...fields, key: 'x'.repeat(257) }, signer), faultCode('invalid-key'));
  assert.throws(() => encodeRecord({ ...fields, key: '\ud800' }, signer), faultCode('invalid-key'));
  assert.throws(() => encodeRecord({ ...fields, kind: 'Not Kebab' }, signer), faultCode('invalid-kind'));
});

test('a byte order mark in a key is part of the key', () => {
  const marked = encodeRecord({ ...fields, key: '\ufeffweb' }, signer);
  assert.equal(decodeRecord(marked.bytes).key, '\ufeffweb');
});

test('an encoding of a later format is told apart from garbage', () => {
  const bytes = encodeRecord(fields, signer).bytes.slice();
  bytes[0] = 2;
  assert.throws(() => decodeRecord(bytes), faultCode('unknown-format'));
  assert.throws(() => decodeRecord(new Uint8Array(0)), faultCode('malformed'));
});

test('a tombstone has no value', () => {
  const tombstone = encodeRecord({ ...fields, value: null }, signer);
  assert.equal(tombstone.deleted, true);
  assert.equal(decodeRecord(tombstone.bytes).value.length, 0);
});
