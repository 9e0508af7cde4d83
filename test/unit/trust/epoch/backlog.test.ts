import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backlog } from '../../../../src/trust/epoch/backlog.ts';
import type { EpochStoreOp } from '../../../../src/trust/epoch/port.ts';

const bytes = Uint8Array.of(1);
const put = (key: string): EpochStoreOp => ({ type: 'put', key, value: bytes });
const remove = (key: string): EpochStoreOp => ({ type: 'delete', key });

test('what a write held goes with every later one until a write that held it is confirmed', () => {
  const backlog = new Backlog();
  backlog.add([put('a')], [{ name: 'share', bytes }]);
  const first = backlog.next(['share']);
  backlog.add([put('b')], []);
  const second = backlog.next(['share']);
  assert.deepEqual(second.ops, [put('a'), put('b')]);
  assert.equal(second.secrets.length, 1);
  assert.deepEqual(backlog.confirm(first.write), ['share']);
  assert.deepEqual(backlog.next([]).ops, [put('b')]);
  assert.deepEqual(backlog.confirm(second.write), [], 'a share is confirmed once');
  assert.ok(backlog.isEmpty);
});

test('of one key only the last that is to become of it is written, and an older confirmation is none of it', () => {
  const backlog = new Backlog();
  backlog.add([put('a')], []);
  const { write } = backlog.next([]);
  backlog.add([remove('a')], []);
  assert.deepEqual(backlog.next([]).ops, [remove('a')]);
  backlog.confirm(write);
  assert.deepEqual(backlog.next([]).ops, [remove('a')]);
});

test('a share that is not needed any more is not written again', () => {
  const backlog = new Backlog();
  backlog.add([], [{ name: 'share', bytes }]);
  backlog.next(['share']);
  assert.deepEqual(backlog.next([]).secrets, []);
  assert.ok(backlog.isEmpty);
});

test('a disk that refuses for ever does not let deletions pile up', () => {
  const backlog = new Backlog();
  for (let i = 0; i < 1000; i++) backlog.add([remove(`record/${i}`), put('record/latest')], []);
  const { ops } = backlog.next([]);
  assert.equal(ops.length, 65);
  assert.ok(ops.some((op) => op.type === 'put'));
});
