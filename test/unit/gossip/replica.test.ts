import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Record } from '../../../src/gossip/record.ts';
import {
  bucketCount,
  defaultReplicaLimits,
  digestBytes,
  isEquivocation,
  Replica,
} from '../../../src/gossip/replica.ts';
import { idleSigner, makeRecord } from './records.ts';

const day = 24 * 3_600_000;

function replicaOf(...records: Record[]): Replica {
  const replica = new Replica();
  for (const record of records) replica.join(record);
  return replica;
}

test('in a host slot the higher version wins, whatever its timestamp', () => {
  const older = makeRecord({ version: 1, hlc: 9000 });
  const newer = makeRecord({ version: 2, hlc: 1000 });
  for (const order of [
    [older, newer],
    [newer, older],
  ])
    assert.equal(replicaOf(...order).get(`host/${newer.author}/service/web`), newer);
});

test('in a policy slot the later timestamp wins, then the author, whatever the version', () => {
  const slot = { scope: 'policy', kind: 'config-entry', key: 'a' } as const;
  const early = makeRecord({ ...slot, author: 'alice', version: 9, hlc: 1000 });
  const late = makeRecord({ ...slot, author: 'bob', version: 1, hlc: 2000 });
  const rival = makeRecord({ ...slot, author: 'carol', version: 1, hlc: 2000 });
  assert.equal(replicaOf(late, early).get('policy/config-entry/a'), late);
  const winner = late.author > rival.author ? late : rival;
  assert.equal(replicaOf(late, rival).get('policy/config-entry/a'), winner);
  assert.equal(replicaOf(rival, late).get('policy/config-entry/a'), winner);
});

test('two records of one version are an equivocation, and every replica keeps the same one', () => {
  const one = makeRecord({ version: 3, value: 1 });
  const other = makeRecord({ version: 3, value: 2 });
  assert.ok(isEquivocation(one, other));
  assert.ok(!isEquivocation(one, makeRecord({ version: 3, value: 1 })));
  assert.equal(replicaOf(one, other).root(), replicaOf(other, one).root());
});

test('the digests forget what was replaced: they depend on the winners alone', () => {
  const path = replicaOf(makeRecord({ version: 1 }), makeRecord({ version: 2 }), makeRecord({ key: 'db' }));
  const direct = replicaOf(makeRecord({ key: 'db' }), makeRecord({ version: 2 }));
  assert.equal(path.root(), direct.root());
  assert.deepEqual(path.bucketDigests(), direct.bucketDigests());
  assert.equal(path.totalBytes, direct.totalBytes);
});

test('the buckets partition the slots, and the root is the exclusive-or of their digests', () => {
  const replica = new Replica();
  for (let i = 0; i < 200; i++) replica.join(makeRecord({ key: `k${i}` }));
  const root = Buffer.alloc(digestBytes);
  let slots = 0;
  const digests = replica.bucketDigests();
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    slots += replica.bucket(bucket).size;
    for (let i = 0; i < digestBytes; i++) root[i]! ^= digests[bucket * digestBytes + i]!;
  }
  assert.equal(slots, 200);
  assert.equal(root.toString('latin1'), replica.root());
});

test('records are found by kind, by author and by prefix of their slot', () => {
  const alice = idleSigner('alice').publicKey;
  const policy = makeRecord({ scope: 'policy', kind: 'config-entry', key: 'service-defaults/web' });
  const replica = replicaOf(
    makeRecord({ key: 'web' }),
    makeRecord({ key: 'db' }),
    makeRecord({ author: 'bob', key: 'web' }),
    makeRecord({ kind: 'check', key: 'web' }),
    policy,
  );
  const keys = (records: Iterable<Record>) => [...records].map((record) => record.key).sort();
  assert.deepEqual(keys(replica.ofKind('service')), ['db', 'web', 'web']);
  assert.deepEqual(keys(replica.ofAuthor(alice)), ['db', 'web', 'web']);
  assert.deepEqual(keys(replica.withPrefix(`host/${alice}/service/`)), ['db', 'web']);
  assert.deepEqual([...replica.withPrefix('policy/config-entry/service-defaults/')], [policy]);
  assert.equal([...replica.withPrefix('')].length, 5);
});

test('an author is held to its quota, by entries and by bytes, and others are not touched by it', () => {
  const limits = { ...defaultReplicaLimits, hostEntries: 2, hostBytes: 1000 };
  const replica = new Replica(limits);
  assert.equal(replica.join(makeRecord({ key: 'a' }), { slack: 1 }), 'applied');
  assert.equal(replica.join(makeRecord({ key: 'b' }), { slack: 1 }), 'applied');
  assert.equal(replica.join(makeRecord({ key: 'c' }), { slack: 1 }), 'quota-exceeded');
  assert.equal(replica.join(makeRecord({ key: 'a', version: 2 }), { slack: 1 }), 'applied');
  const large = 'x'.repeat(900);
  assert.equal(
    replica.join(makeRecord({ key: 'b', version: 2, value: large }), { slack: 1 }),
    'quota-exceeded',
  );
  assert.equal(replica.join(makeRecord({ author: 'bob', key: 'a' }), { slack: 1 }), 'applied');
});

test('what others wrote has twice the room, so that uncollected tombstones refuse no honest author', () => {
  const replica = new Replica({ ...defaultReplicaLimits, hostEntries: 2 });
  const outcomes = ['a', 'b', 'c', 'd', 'e'].map((key) => replica.join(makeRecord({ key })));
  assert.deepEqual(outcomes, ['applied', 'applied', 'applied', 'applied', 'quota-exceeded']);
});

test('a tombstone is kept a day, then forgotten, and what it deleted does not come back', () => {
  const live = makeRecord({ version: 1, hlc: 1024 });
  const tombstone = makeRecord({ version: 2, hlc: 2 * 1024, deleted: true });
  const replica = replicaOf(live, tombstone);
  assert.deepEqual(replica.collect(day, 10).erased, []);
  const { erased, floors } = replica.collect(day + 2, 10);
  assert.deepEqual(erased, [`host/${live.author}/service/web`]);
  assert.deepEqual([...floors], [[live.author, 2]]);
  assert.equal(replica.size, 0);
  assert.equal(replica.root(), new Replica().root());
  assert.equal(replica.join(live), 'below-floor');
  assert.equal(replica.join(tombstone), 'below-floor');
  assert.equal(replica.join(makeRecord({ version: 3 })), 'applied');
});

test('the author itself may bring back what lies below its floor', () => {
  const replica = new Replica();
  const record = makeRecord({ version: 4 });
  replica.raiseFloor(record.author, 10);
  assert.equal(replica.join(record), 'below-floor');
  assert.equal(replica.join(record, { fromAuthor: true }), 'applied');
});

test('tombstones of policy are never forgotten, and a collection is bounded', () => {
  const replica = replicaOf(makeRecord({ scope: 'policy', deleted: true, hlc: 1 }));
  for (let i = 0; i < 5; i++) replica.join(makeRecord({ key: `k${i}`, hlc: 1, deleted: true }));
  assert.equal(replica.collect(10 * day, 3).erased.length, 3);
  assert.equal(replica.collect(10 * day, 3).erased.length, 2);
  assert.equal(replica.size, 1);
});
