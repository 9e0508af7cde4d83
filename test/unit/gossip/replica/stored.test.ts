import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../../../../src/core.ts';
import type { StoreOp } from '../../../../src/gossip/port.ts';
import { Replica } from '../../../../src/gossip/replica/replica.ts';
import { eraseOps, readStored, recordOps } from '../../../../src/gossip/replica/stored.ts';
import { idleSigner, makeRecord } from '../records.ts';

test('what is written to the store is read back: records, older versions and floors', () => {
  const record = makeRecord({ key: 'a/b' });
  const [op, ...others] = recordOps(record, new Replica());
  assert.ok(op?.type === 'put');
  assert.deepEqual(others, []);
  assert.deepEqual(readStored(op.key, op.value), { type: 'record', record });
  const { author } = record;
  const [erase, ...floors] = eraseOps({
    records: [record],
    floors: new Map([[author, 2 ** 40]]),
    deadFloors: new Map([[author, 3]]),
  });
  assert.deepEqual(erase, { type: 'delete', key: op.key });
  assert.deepEqual(floors.map(read), [
    { type: 'floor', author, version: 2 ** 40 },
    { type: 'dead-floor', author, version: 3 },
  ]);
});

function read(op: StoreOp) {
  assert.ok(op.type === 'put');
  return readStored(op.key, op.value);
}

test('a policy is stored with the versions it beat, before it is joined and after it alike', () => {
  const [first, second, third] = [1, 2, 3].map((hlc) =>
    makeRecord({ scope: 'policy', kind: 'config-entry', key: 'a', hlc: hlc * 1024 }),
  );
  const replica = new Replica();
  for (const record of [first!, second!]) replica.join(record);
  const ops = recordOps(third!, replica);
  assert.deepEqual(ops.map(read), [
    { type: 'record', record: third },
    { type: 'history', records: [second, first] },
  ]);
  replica.join(third!);
  for (const record of [first!, second!, third!]) assert.deepEqual(recordOps(record, replica), ops);
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
    [`dead-floor/${author}`, new Uint8Array(0)],
    ['history/policy/service/web', new ByteWriter().varint(1).bytes(bytes).done()],
    [`history/host/${author}/service/web`, new ByteWriter().varint(2).bytes(bytes).done()],
    ['something/else', bytes],
  ];
  for (const [key, value] of wrong) assert.equal(readStored(key, value), null, key);
});
