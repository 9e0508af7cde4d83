import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eraseOps, readStored, recordOp } from '../../../src/gossip/stored.ts';
import { idleSigner, makeRecord } from './records.ts';

test('what is written to the store is read back: records and floors', () => {
  const record = makeRecord({ key: 'a/b' });
  const op = recordOp(record);
  assert.ok(op.type === 'put');
  assert.deepEqual(readStored(op.key, op.value), { type: 'record', record });
  const author = idleSigner('alice').publicKey;
  const [erase, floor] = eraseOps(['host/x'], new Map([[author, 2 ** 40]]));
  assert.deepEqual(erase, { type: 'delete', key: 'record/host/x' });
  assert.ok(floor?.type === 'put');
  assert.deepEqual(readStored(floor.key, floor.value), { type: 'floor', author, version: 2 ** 40 });
});

test('an entry that is not what its key says is none', () => {
  const { bytes } = makeRecord({ key: 'web' });
  const author = idleSigner('alice').publicKey;
  const wrong: [string, Uint8Array][] = [
    [`record/host/${author}/service/other`, bytes],
    [`record/host/${author}/service/web`, bytes.subarray(1)],
    [`floor/${author}`, new Uint8Array(0)],
    [`floor/${author}`, new Uint8Array([1, 2])],
    ['floor/somebody', new Uint8Array([1])],
    ['something/else', bytes],
  ];
  for (const [key, value] of wrong) assert.equal(readStored(key, value), null, key);
});
