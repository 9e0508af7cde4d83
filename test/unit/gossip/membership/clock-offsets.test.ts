import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockOffsets, toleratedOffsetMs } from '../../../../src/gossip/membership/clock-offsets.ts';

function offsets(...notes: readonly (readonly [member: string, ...aheadMs: number[]])[]): ClockOffsets {
  const found = new ClockOffsets();
  for (const [member, ...aheadMs] of notes) for (const one of aheadMs) found.note(member, one);
  return found;
}

const none = { ownMs: null, members: [] };

test('a clock that is off in three answers in a row is named, the worst first', () => {
  const found = offsets(['a', 600, 700, 800], ['b', -900, -900, -900], ['c', 600, 600], ['d', 0], ['e', 3]);
  assert.deepEqual(found.findings(), {
    ownMs: null,
    members: [
      { id: 'b', aheadMs: -900 },
      { id: 'a', aheadMs: 800 },
    ],
  });
});

test('answers that do not agree, or are within what is tolerated, say nothing', () => {
  assert.deepEqual(offsets(['a', 600, 600, -600, 600]).findings(), none);
  assert.deepEqual(offsets(['a', ...new Array<number>(9).fill(toleratedOffsetMs)]).findings(), none);
  assert.deepEqual(offsets(['a', 600, 600, 600, 3]).findings(), none);
});

test('when most members differ in one direction it is the own clock that is off', () => {
  const found = offsets(['a', -700], ['b', -800], ['c', -900], ['d', 1]);
  assert.deepEqual(found.findings(), { ownMs: 700, members: [] });
  assert.deepEqual(offsets(['a', 700], ['b', 800], ['c', 0], ['d', 1]).findings(), none);
});

test('two hosts cannot tell whose clock is off, so each names the other', () => {
  assert.deepEqual(offsets(['a', 900, 900, 900]).findings().members, [{ id: 'a', aheadMs: 900 }]);
});

test('of a member that was forgotten nothing is said', () => {
  const found = offsets(['a', 900, 900, 900]);
  found.forget('a');
  assert.deepEqual(found.findings(), none);
});
