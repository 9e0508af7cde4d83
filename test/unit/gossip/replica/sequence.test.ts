import assert from 'node:assert/strict';
import { test } from 'node:test';
import { highestOf, sequencesOf } from '../../../../src/gossip/replica/sequence.ts';
import { idleSigner, makeRecord } from '../records.ts';

const write = (author: string, version: number) => makeRecord({ scope: 'policy', author, version });

test('a policy that is withheld shows as a gap in its author’s numbers, and in nobody else’s', () => {
  const [alice, bob] = ['alice', 'bob'].map((name) => idleSigner(name).publicKey);
  const versions = [
    write('alice', 1),
    write('alice', 2),
    write('alice', 4),
    write('bob', 2),
    write('bob', 1),
  ];
  const expected = [
    { author: alice, highest: 4, missing: 1 },
    { author: bob, highest: 2, missing: 0 },
  ];
  assert.deepEqual(
    sequencesOf(versions),
    expected.sort((a, b) => (a.author! < b.author! ? -1 : 1)),
  );
});

test('a number that was used twice hides no gap, and the next one is above all', () => {
  const versions = [write('alice', 1), write('alice', 3), write('alice', 3)];
  assert.equal(sequencesOf(versions)[0]?.missing, 1);
  assert.equal(highestOf(idleSigner('alice').publicKey, versions), 3);
  assert.equal(highestOf(idleSigner('bob').publicKey, versions), 0);
});
