import assert from 'node:assert/strict';
import { test } from 'node:test';
import { envelopeRooms, open, seal } from '../../../../src/agent/envelope.ts';
import {
  decodeJoinAnswer,
  encodeJoinAnswer,
  type JoinAnswer,
} from '../../../../src/agent/joining/joining.ts';
import { ByteWriter, Fault } from '../../../../src/core.ts';

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

const welcome: JoinAnswer = {
  outcome: 'welcome',
  sponsor: 'ab'.repeat(32),
  genesis: new Uint8Array([1, 2, 3]),
  signature: 'cd'.repeat(64),
};
const refusal = { outcome: 'refused', code: 'token-used-up', message: 'all uses are taken' } as const;
const denied: JoinAnswer = { ...refusal, code: 'denied', denial: new Uint8Array([4, 5]) };

test('answers to a joiner are read as they were written', () => {
  for (const answer of [welcome, refusal, denied])
    assert.deepEqual(decodeJoinAnswer(encodeJoinAnswer(answer)), answer);
});

test('an answer that is cut short, too long or of another version is malformed, wherever it ends', () => {
  for (const answer of [welcome, refusal, denied]) {
    const bytes = encodeJoinAnswer(answer);
    for (let length = 0; length < bytes.length; length++)
      assert.throws(() => decodeJoinAnswer(bytes.subarray(0, length)), hasCode('malformed'));
    assert.throws(() => decodeJoinAnswer(Uint8Array.from([...bytes, 0])), hasCode('malformed'));
    for (const at of [0, 1]) assert.throws(() => decodeJoinAnswer(bytes.with(at, 9)), hasCode('malformed'));
  }
});

test('a refusal’s code is plain, so that nothing can be written to the joiner’s terminal with it', () => {
  const forged = new ByteWriter().u8(1).u8(2).string('\u001b[2J').string('').done();
  assert.throws(() => decodeJoinAnswer(forged), hasCode('malformed'));
});

test('a refusal stays readable however long its reason', () => {
  const long = decodeJoinAnswer(encodeJoinAnswer({ ...refusal, message: '€'.repeat(1000) }));
  assert.ok(long.outcome === 'refused' && long.message.startsWith('€€€') && long.message.length < 200);
});

test('a frame is opened in the room it was sealed for', () => {
  for (const room of Object.keys(envelopeRooms) as (keyof typeof envelopeRooms)[]) {
    const { room: opened, payload } = open(seal(room, new Uint8Array([7, 8])));
    assert.deepEqual([opened, [...payload]], [room, [7, 8]]);
  }
});

test('an empty frame is malformed, and one for a room of a later version is told from it', () => {
  assert.throws(() => open(new Uint8Array(0)), hasCode('malformed'));
  for (const tag of [0, 200, 255])
    assert.throws(() => open(new Uint8Array([tag, 1])), hasCode('unknown-room'));
});
