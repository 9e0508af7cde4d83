/** What a host deleted long ago, handed to it again and again: by stragglers, and by whoever wishes it ill. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, seededRandom } from '../../../../src/core.ts';
import { Gossip } from '../../../../src/gossip/gossip.ts';
import type { GossipEffect } from '../../../../src/gossip/port.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import type { Record } from '../../../../src/gossip/replica/record.ts';
import { defaultReplicaLimits } from '../../../../src/gossip/replica/replica.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { admitAll } from '../mesh.ts';
import { idleSigner, makeRecord } from '../records.ts';

const startedAt = 1_800_000_000_000;
const self = idleSigner('victim');
/** Versions that nobody holds the tombstones of any more. */
const floor = 1_000_000;

interface Victim {
  readonly gossip: Gossip;
  verified: number;
  writes: number;
}

function victim(): Victim {
  const made: Victim = {
    gossip: new Gossip({
      self: self.publicKey,
      signer: self,
      verify: (_key, _message, signature) => {
        made.verified++;
        return signature.every((byte) => byte === 0);
      },
      authority: admitAll,
      random: seededRandom(1),
      epoch: 1,
    }),
    verified: 0,
    writes: 0,
  };
  made.gossip.replica.raiseFloor(self.publicKey, floor);
  return made;
}

/** Performs what a step asked for: a disk that is never late. */
function settle(to: Victim, effects: readonly GossipEffect[], now: number): void {
  for (const effect of effects) {
    if (effect.type !== 'persist' || !effect.sync) continue;
    to.writes++;
    for (const then of effect.then)
      if (then.type === 'commit')
        settle(to, to.gossip.step({ type: 'durable', records: then.records }, now), now);
  }
}

function hand(to: Victim, now: number, records: readonly Record[]): void {
  const bytes = encodeDelta(records.map((record) => record.bytes));
  settle(to, to.gossip.step({ type: 'delta', bytes }, now), now);
}

const old = (n: number) => makeRecord({ author: 'victim', key: `old ${n}`, version: 1 + n });
const forged = (n: number) =>
  encodeRecord(
    { scope: 'host', kind: 'service', key: `old ${n}`, version: 1 + n, hlc: 1024, value: encodeJson({}) },
    { ...self, sign: () => new Uint8Array(64).fill(1) },
  );
const isDeleted = ({ gossip }: Victim, n: number) =>
  gossip.replica.get(`host/${self.publicKey}/service/old ${n}`)?.deleted === true;

test('a day of replays leaves a host room for what it has to say, and makes it write a few times a minute', () => {
  const host = victim();
  let now = startedAt;
  let n = 0;
  for (let minute = 0; minute < 24 * 60; minute++, now += 60_000) {
    const records = Array.from({ length: 20 }, () => old(n++));
    hand(host, now, records);
    if (minute === 59) assert.ok(host.writes <= 256 + 5 * 60, `${host.writes} writes in an hour`);
  }
  const { hostEntries } = defaultReplicaLimits;
  const { deletions, deletionsRefused } = host.gossip.stats().repeats;
  assert.equal(deletions + deletionsRefused, n, 'nothing is left uncounted');
  // Those of one message are judged by what is durable.
  assert.ok(deletions <= (hostEntries * 3) / 4 + 20, `${deletions} deletions`);
  for (let i = 0; i < 1000; i++)
    settle(host, host.gossip.put('service', `own ${i}`, encodeJson({}), now).effects, now);
});

test('a straggler that comes back with hundreds of deleted records is told of each', () => {
  const host = victim();
  const held = Array.from({ length: 300 }, (_, n) => old(n));
  let now = startedAt;
  for (let minute = 0; minute < 12; minute++, now += 60_000) {
    const rest = held.filter((_, n) => !isDeleted(host, n));
    if (minute === 1) assert.ok(rest.length <= 300 - 250, 'most of them at once');
    if (rest.length > 0) hand(host, now, rest);
  }
  assert.ok(held.every((_, n) => isDeleted(host, n)));
});

test('what nobody signed is not deleted, and costs a bounded number of looks', () => {
  const host = victim();
  for (let second = 0; second < 20; second++) {
    const records = Array.from({ length: 100 }, (_, i) => forged(second * 100 + i));
    const now = startedAt + second * 1000;
    hand(host, now, records);
  }
  assert.equal(host.writes, 0);
  assert.ok(host.verified >= 500 && host.verified <= 512 + 5 * 20, `${host.verified} looks`);
  assert.equal(host.gossip.stats().repeats.deletionsRefused, 2000);
});

test('one record that is replayed while its deletion is on its way to the disk is deleted once', () => {
  const host = victim();
  const bytes = encodeDelta(Array.from({ length: 50 }, () => old(1).bytes));
  const effects = host.gossip.step({ type: 'delta', bytes }, startedAt);
  assert.equal(effects.filter(({ type }) => type === 'persist').length, 1);
  settle(host, effects, startedAt);
  assert.ok(isDeleted(host, 1));
});
