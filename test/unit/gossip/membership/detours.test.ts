import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Detours } from '../../../../src/gossip/membership/detours.ts';

function answer(detours: Detours, member: string, times: number): void {
  for (let i = 0; i < times; i++) detours.answered(member, 'stream');
}

test('five answers in a row over a connection say that datagrams do not get through', () => {
  const detours = new Detours();
  answer(detours, 'a', 4);
  assert.deepEqual(detours.withoutDatagrams, []);
  answer(detours, 'a', 1);
  answer(detours, 'b', 1);
  assert.deepEqual(detours.withoutDatagrams, ['a']);
});

test('one datagram proves that they do', () => {
  const detours = new Detours();
  answer(detours, 'a', 100);
  detours.answered('a', 'datagram');
  assert.deepEqual(detours.withoutDatagrams, []);
  answer(detours, 'a', 4);
  assert.deepEqual(detours.withoutDatagrams, []);
});

test('three probes in a row that helpers answered for say that the path between is closed', () => {
  const detours = new Detours();
  for (let i = 0; i < 2; i++) detours.relayed('a');
  assert.deepEqual(detours.throughHelpers, []);
  detours.relayed('a');
  assert.deepEqual(detours.throughHelpers, ['a']);
  assert.deepEqual(detours.withoutDatagrams, []);
});

test('one answer, whichever way it came, proves that the path is open', () => {
  for (const via of ['datagram', 'stream'] as const) {
    const detours = new Detours();
    for (let i = 0; i < 5; i++) detours.relayed('a');
    detours.answered('a', via);
    assert.deepEqual(detours.throughHelpers, []);
    detours.relayed('a');
    assert.deepEqual(detours.throughHelpers, []);
  }
});

test('a former member is not named', () => {
  const detours = new Detours();
  answer(detours, 'a', 5);
  for (let i = 0; i < 5; i++) detours.relayed('a');
  detours.forget('a');
  assert.deepEqual(detours.withoutDatagrams, []);
  assert.deepEqual(detours.throughHelpers, []);
});

test('of very many, some are watched and sixteen are named', () => {
  const detours = new Detours();
  for (let i = 0; i < 1100; i++) answer(detours, `host ${i}`, 5);
  assert.equal(detours.withoutDatagrams.length, 16);
  // Nobody beyond the 1,024th was watched: with the others gone, nobody is left.
  for (let i = 0; i < 1024; i++) detours.forget(`host ${i}`);
  assert.deepEqual(detours.withoutDatagrams, []);
});
