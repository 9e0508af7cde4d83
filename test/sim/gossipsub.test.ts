/** The real gossipsub under virtual time, and the simulator's model of it: they spread deltas alike. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readArguments } from '../../sim/arguments.ts';
import { compare, comparisonText } from '../../sim/gossipsub/comparison.ts';
import { playGossipsub } from '../../sim/gossipsub/io/process.ts';
import { playModel } from '../../sim/gossipsub/model.ts';
import { planTrial, type Trial } from '../../sim/gossipsub/trial.ts';

test('gossipsub and its model bring every delta to sixty hosts alike, and a seed repeats itself', () => {
  const trial = planTrial(60, 1);
  const gossipsub = playGossipsub(trial);
  assert.equal(gossipsub.missing, 0);
  assert.equal(gossipsub.delivery.length, 100 * 59);
  assert.equal(gossipsub.bytesPerDelta.length, 60);
  assert.ok(gossipsub.meshPeers >= 3 && gossipsub.meshPeers <= 4.5, `${gossipsub.meshPeers} peers`);
  assert.deepEqual(compare(trial, gossipsub, playModel(trial)).disagreements, []);
  assert.deepEqual(playGossipsub(planTrial(60, 1)), gossipsub);
  assert.notEqual(playGossipsub({ ...trial, seed: 2 }).traceHash, gossipsub.traceHash);
});

test('what the model gets wrong by more than a quarter, or loses, is named with the command that replays it', () => {
  const trial = planTrial(50, 3);
  const right = playModel(trial);
  const wrong = { ...right, missing: 2, copies: right.copies * 1.3, convergence: [] };
  const comparison = compare(trial, right, wrong);
  assert.equal(comparison.disagreements.length, 5);
  assert.equal(comparison.disagreements[0], 'model: 2 deliveries are missing');
  assert.match(comparison.disagreements[4]!, /^copies of it that a host gets: .*\(\+30 %\)$/);
  assert.match(
    comparisonText(comparison),
    /\nreplay: npm run sim -- --scenario gossipsub --hosts 50 --seed 3\n$/,
  );
  assert.deepEqual(compare(trial, right, { ...right, copies: right.copies * 0.8 }).disagreements, []);
  assert.deepEqual(playModel(trial), right);
});

test('a mute host takes a delta in and passes it on to nobody, in gossipsub as in its model', () => {
  const publications = [{ host: 0, atMs: 3_000 }];
  const chain: Trial = {
    hosts: 4,
    seed: 1,
    connections: [
      [0, 1],
      [2, 1],
      [2, 3],
    ],
    publications,
    mute: [],
  };
  for (const play of [playGossipsub, playModel]) {
    assert.equal(play(chain).missing, 0);
    const { missing, delivery, bytesPerDelta } = play({ ...chain, mute: [1] });
    assert.equal(missing, 2);
    assert.equal(delivery.length, 1);
    assert.deepEqual(bytesPerDelta.slice(1), [0, 0, 0]);
  }
});

test('gossipsub is compared among fifty to a thousand hosts', () => {
  const argv = ['--scenario', 'gossipsub'];
  assert.equal(readArguments([...argv, '--hosts', '1000', '--json', 'figures.json']).hosts, 1_000);
  for (const more of [['--hosts', '49'], ['--hosts', '1001'], ['--plan'], ['--trace'], ['--svg', 'a.svg']])
    assert.throws(() => readArguments([...argv, ...more]), { code: 'bad-option' }, more.join(' '));
});
