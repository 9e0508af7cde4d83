import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, seededRandom } from '../../../../src/core.ts';
import {
  Dissemination,
  decodeDelta,
  encodeDelta,
  maxDeltaBytes,
} from '../../../../src/gossip/spread/dissemination.ts';
import { makeRecord } from '../records.ts';

const parameters = { minBatchMs: 20, maxBatchMs: 50, batchBytes: 16 * 1024 };

function batching() {
  const deltas: Uint8Array[][] = [];
  const machine = new Dissemination(parameters, seededRandom(1), (delta) => deltas.push(decodeDelta(delta)));
  return { machine, deltas };
}

test('after a rest what is written at once leaves at once, as one delta', () => {
  const { machine, deltas } = batching();
  machine.add(makeRecord({ key: 'a' }), 100);
  machine.add(makeRecord({ key: 'b' }), 100);
  assert.equal(deltas.length, 0, 'more of the same write may follow');
  assert.equal(machine.nextWake(), 100);
  machine.wake(100);
  assert.deepEqual(
    deltas.map((records) => records.length),
    [2],
  );
  assert.equal(machine.nextWake(), null);
});

test('writes that follow within a few tens of milliseconds leave together', () => {
  const { machine, deltas } = batching();
  machine.add(makeRecord({ key: 'a' }), 100);
  machine.wake(100);
  machine.add(makeRecord({ key: 'b' }), 101);
  machine.add(makeRecord({ key: 'c' }), 115);
  const due = machine.nextWake()!;
  assert.ok(due >= 120 && due <= 150);
  machine.wake(due - 1);
  assert.equal(deltas.length, 1);
  machine.wake(due);
  assert.deepEqual(
    deltas.map((records) => records.length),
    [1, 2],
  );
  machine.add(makeRecord({ key: 'd' }), due + 50);
  assert.equal(machine.nextWake(), due + 50, 'the rest was long enough');
});

test('of two writes to one slot only the later is told', () => {
  const { machine, deltas } = batching();
  machine.add(makeRecord({ version: 1 }), 0);
  machine.add(makeRecord({ version: 2 }), 0);
  machine.flush(0);
  assert.deepEqual(
    deltas.map((records) => records.map((bytes) => new Uint8Array(bytes))),
    [[makeRecord({ version: 2 }).bytes]],
  );
});

test('a batch that would grow past its size leaves first, and a record larger than a batch goes alone', () => {
  const { machine, deltas } = batching();
  const value = 'x'.repeat(10_000);
  machine.add(makeRecord({ key: 'a', value }), 0);
  machine.add(makeRecord({ key: 'b', value }), 0);
  assert.equal(deltas.length, 1);
  machine.add(makeRecord({ key: 'c', value: 'x'.repeat(30_000) }), 0);
  machine.flush(0);
  assert.deepEqual(
    deltas.map((records) => records.length),
    [1, 1, 1],
  );
});

test('a delta is refused when it is too long, of another format or not what it says', () => {
  assert.throws(() => decodeDelta(new Uint8Array(maxDeltaBytes + 1)), Fault);
  assert.throws(
    () => decodeDelta(new Uint8Array([2, 0])),
    (error) => error instanceof Fault && error.code === 'unknown-format',
  );
  assert.throws(() => decodeDelta(encodeDelta([new Uint8Array(5)]).subarray(0, 5)), Fault);
});
