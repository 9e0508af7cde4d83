import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxWaitingFrames, ReportQueue } from '../../../../src/gossip/io/report-queue.ts';
import type { MemberState } from '../../../../src/gossip/port.ts';
import type { SwimReport } from '../../../../src/gossip/swim-port.ts';

const frame = (number: number): SwimReport => ({ type: 'frame', to: 'a', bytes: Uint8Array.of(number) });
const member = (id: string, state: MemberState): SwimReport => ({
  type: 'member',
  member: { id, state, incarnation: 1, roundTripMs: null },
  was: null,
});

function queueOf(reports: readonly SwimReport[]): ReportQueue {
  const queue = new ReportQueue();
  for (const report of reports) queue.add(report);
  return queue;
}

test('what was taken is gone', () => {
  const queue = queueOf([member('a', 'alive'), frame(1)]);
  assert.equal(queue.isEmpty, false);
  assert.equal(queue.take().length, 2);
  assert.equal(queue.isEmpty, true);
  assert.deepEqual(queue.take(), []);
});

test('of one member only the latest standing waits, in the place of the latest', () => {
  const queue = queueOf([member('a', 'suspect'), member('b', 'suspect'), member('a', 'down')]);
  assert.deepEqual(queue.take(), [member('b', 'suspect'), member('a', 'down')]);
});

test('connecting and letting go of one peer supersede each other', () => {
  const queue = queueOf([
    { type: 'connect', peer: 'a' },
    { type: 'connect', peer: 'b' },
    { type: 'disconnect', peer: 'a' },
  ]);
  assert.deepEqual(queue.take(), [
    { type: 'connect', peer: 'b' },
    { type: 'disconnect', peer: 'a' },
  ]);
});

test('reports of different kinds about one peer all wait', () => {
  const reports: SwimReport[] = [
    member('a', 'alive'),
    { type: 'connect', peer: 'a' },
    { type: 'root', peer: 'a', root: 'one' },
    { type: 'measured', id: 'a', roundTripMs: 1, incarnation: 0, clockAheadMs: 0 },
    { type: 'incarnation', incarnation: 5 },
  ];
  assert.deepEqual(queueOf(reports).take(), reports);
});

test('of what there is one of, the latest waits', () => {
  const queue = queueOf([
    { type: 'incarnation', incarnation: 5 },
    { type: 'root', peer: 'a', root: 'one' },
    { type: 'root', peer: 'a', root: 'two' },
    { type: 'incarnation', incarnation: 6 },
  ]);
  assert.deepEqual(queue.take(), [
    { type: 'root', peer: 'a', root: 'two' },
    { type: 'incarnation', incarnation: 6 },
  ]);
});

test('frames keep their order and come last; those beyond the bound are dropped and counted', () => {
  const queue = new ReportQueue();
  for (let i = 0; i < maxWaitingFrames + 3; i++) queue.add(frame(i));
  queue.add(member('a', 'down'));
  assert.equal(queue.dropped, 3);
  const expected = Array.from({ length: maxWaitingFrames }, (_, i) => frame(i));
  assert.deepEqual(queue.take(), [member('a', 'down'), ...expected]);
  queue.add(frame(1));
  assert.deepEqual(queue.take(), [frame(1)]);
  assert.equal(queue.dropped, 3);
});

test('however much is reported of a few members, few reports wait', () => {
  const queue = new ReportQueue();
  for (let i = 0; i < 10_000; i++) {
    const id = `host ${i % 10}`;
    queue.add(member(id, i % 2 === 0 ? 'alive' : 'suspect'));
    queue.add({ type: 'measured', id, roundTripMs: i, incarnation: 0, clockAheadMs: 0 });
    queue.add({ type: 'root', peer: id, root: `${i}` });
  }
  assert.equal(queue.take().length, 30);
});
