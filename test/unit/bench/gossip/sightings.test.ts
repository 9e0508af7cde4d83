import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sightings } from '../../../../bench/gossip/sightings.ts';

const down = { type: 'down', about: 2 } as const;

test('a collection ends when everyone asked has seen the fact, with the first time of each', async () => {
  const sightings = new Sightings(3);
  const seen = sightings.collect(down, [0, 1], 60_000);
  sightings.note(0, down, 5);
  sightings.note(0, down, 6);
  sightings.note(2, down, 7);
  sightings.note(1, { type: 'suspect', about: 2 }, 8);
  sightings.note(1, { type: 'down', about: 0 }, 9);
  sightings.note(1, down, 10);
  assert.deepEqual(
    await seen,
    new Map([
      [0, 5],
      [1, 10],
    ]),
  );
});

test('changes are told apart by their label', async () => {
  const sightings = new Sightings(1);
  const seen = sightings.collect({ type: 'change', label: 'b' }, [0], 60_000);
  sightings.note(0, { type: 'change', label: 'a' }, 1);
  sightings.note(0, { type: 'change', label: 'b' }, 2);
  assert.deepEqual(await seen, new Map([[0, 2]]));
});

test('when time is up, a collection has those who saw it', async () => {
  const sightings = new Sightings(2);
  const seen = sightings.collect(down, [0, 1], 1);
  sightings.note(0, down, 3);
  assert.deepEqual(await seen, new Map([[0, 3]]));
});

test('closing ends every collection with what it has', async () => {
  const sightings = new Sightings(2);
  const both = [sightings.collect(down, [0, 1], 60_000), sightings.collect(down, [1], 60_000)];
  sightings.note(0, down, 3);
  sightings.close();
  assert.deepEqual(await Promise.all(both), [new Map([[0, 3]]), new Map()]);
});

test('who is alive follows what an agent says of others, and an agent that starts anew knows nobody', () => {
  const sightings = new Sightings(3);
  for (const about of [0, 1, 2]) sightings.note(0, { type: 'alive', about }, 0);
  assert.equal(sightings.livingSeenBy(0), 2, 'itself left out');
  sightings.note(0, { type: 'suspect', about: 1 }, 0);
  assert.equal(sightings.livingSeenBy(0), 2);
  sightings.note(0, { type: 'down', about: 1 }, 0);
  assert.equal(sightings.livingSeenBy(0), 1);
  sightings.forget(0);
  assert.equal(sightings.livingSeenBy(0), 0);
  assert.equal(sightings.livingSeenBy(1), 0);
});
