import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Rumor } from '../../../../src/gossip/frames.ts';
import { maxQueuedRumors, Rumors } from '../../../../src/gossip/membership/rumors.ts';

function suspect(id: string, incarnation = 1): Rumor {
  return { state: 'suspect', id, incarnation, accuser: 'accuser' };
}

test('the least told rumor goes first', () => {
  const rumors = new Rumors(4);
  rumors.add(suspect('a'));
  assert.deepEqual(rumors.take(1, 30), [suspect('a')]);
  rumors.add(suspect('b'));
  assert.deepEqual(rumors.take(1, 30), [suspect('b')]);
});

test('a rumor is told lambda log n times, then rests', () => {
  const rumors = new Rumors(4);
  rumors.add(suspect('a'));
  let told = 0;
  while (rumors.take(5, 998).length > 0) told++;
  assert.equal(told, 12);
  assert.equal(rumors.size, 0);
});

test('news about a member replaces what was told before, and starts over', () => {
  const rumors = new Rumors(1);
  rumors.add(suspect('a', 1));
  rumors.add(suspect('a', 2));
  assert.deepEqual(rumors.take(5, 8), [suspect('a', 2)]);
  assert.deepEqual(rumors.take(5, 8), []);
});

test('a full queue drops the most told rumor', () => {
  const rumors = new Rumors(4);
  rumors.add(suspect('told'));
  rumors.take(1, 30);
  for (let i = 0; i < maxQueuedRumors; i++) rumors.add(suspect(`m${i}`));
  assert.equal(rumors.size, maxQueuedRumors);
  const all = rumors.take(maxQueuedRumors + 1, 30);
  assert.ok(!all.some((rumor) => rumor.id === 'told'));
});
