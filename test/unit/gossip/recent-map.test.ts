import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentMap } from '../../../src/gossip/recent-map.ts';

test('the peer updated longest ago makes way for a new one', () => {
  const map = new RecentMap<number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('a', 3);
  map.set('c', 4);
  assert.deepEqual([map.get('a'), map.get('b'), map.get('c')], [3, undefined, 4]);
  assert.equal(map.size, 2);
});

test('what is deleted makes room', () => {
  const map = new RecentMap<number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.delete('b');
  map.delete('unknown');
  map.set('c', 3);
  assert.deepEqual([map.get('a'), map.get('b'), map.get('c')], [1, undefined, 3]);
});
