import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestKeyOf } from '../../../../src/gossip/replica/digest.ts';
import type { Death } from '../../../../src/gossip/replica/lasting.ts';
import { type Record, slotOf } from '../../../../src/gossip/replica/record.ts';
import {
  defaultReplicaLimits,
  isEquivocation,
  maxOlderVersions,
  Replica,
} from '../../../../src/gossip/replica/replica.ts';
import { idleSigner, makeRecord } from '../records.ts';

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

test('the records of one author are found together', () => {
  const alice = idleSigner('alice').publicKey;
  const replica = replicaOf(
    makeRecord({ key: 'web' }),
    makeRecord({ key: 'db' }),
    makeRecord({ author: 'bob', key: 'web' }),
    makeRecord({ kind: 'check', key: 'web' }),
    makeRecord({ scope: 'policy', kind: 'config-entry', key: 'service-defaults/web' }),
  );
  assert.deepEqual([...replica.ofAuthor(alice)].map(({ key }) => key).sort(), ['db', 'web', 'web']);
  assert.equal([...replica.records()].length, 5);
});

test('a newcomer is given policy first, then who is admitted, then what they said', () => {
  const replica = replicaOf(
    makeRecord({ author: 'bob', kind: 'service' }),
    makeRecord({ author: 'bob', kind: 'admission', key: '' }),
    makeRecord({ kind: 'host', key: '' }),
    makeRecord({ kind: 'admission', key: '' }),
    makeRecord({ scope: 'policy', kind: 'grant', key: '1' }),
  );
  const kinds = [...replica.foundationFirst()].map(({ kind }) => kind);
  assert.deepEqual(kinds.slice(0, 3), ['grant', 'admission', 'admission']);
  assert.equal(kinds.length, 5);
});

test('an author is held to its quota, by entries and by bytes, and others are not touched by it', () => {
  const limits = { ...defaultReplicaLimits, hostEntries: 2, hostBytes: 1000 };
  const replica = new Replica({ limits });
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
  const replica = new Replica({ limits: { ...defaultReplicaLimits, hostEntries: 2 } });
  const outcomes = ['a', 'b', 'c', 'd', 'e'].map((key) => replica.join(makeRecord({ key })));
  assert.deepEqual(outcomes, ['applied', 'applied', 'applied', 'applied', 'quota-exceeded']);
});

test('a tombstone is kept a day, then forgotten, and what it deleted does not come back', () => {
  const live = makeRecord({ version: 1, hlc: 1024 });
  const tombstone = makeRecord({ version: 2, hlc: 2 * 1024, deleted: true });
  const replica = replicaOf(live, tombstone);
  assert.deepEqual(replica.collect(day, 10).records, []);
  const { records, floors } = replica.collect(day + 2, 10);
  assert.deepEqual(records, [tombstone]);
  assert.deepEqual([...floors], [[live.author, 2]]);
  assert.equal(replica.size, 0);
  assert.equal(replica.totalBytes, 0);
  assert.equal(replica.root(), new Replica().root());
  assert.equal(replica.join(live), 'below-floor');
  assert.equal(replica.join(tombstone), 'below-floor');
  assert.equal(replica.join(makeRecord({ version: 3 })), 'applied');
});

test('what the store gives back is taken whatever the floor says', () => {
  const replica = new Replica();
  const record = makeRecord({ version: 4 });
  replica.raiseFloor(record.author, 10);
  assert.equal(replica.join(record), 'below-floor');
  assert.equal(replica.join(record, { ignoreFloor: true }), 'applied');
});

test('tombstones of policy are never forgotten, and a collection is bounded', () => {
  const replica = replicaOf(makeRecord({ scope: 'policy', deleted: true, hlc: 1 }));
  for (let i = 0; i < 5; i++) replica.join(makeRecord({ key: `k${i}`, hlc: 1, deleted: true }));
  assert.equal(replica.collect(10 * day, 3).records.length, 3);
  assert.equal(replica.collect(10 * day, 3).records.length, 2);
  assert.equal(replica.size, 1);
});

/** All that a host says of itself. */
/** Whoever is asked about left at 0. */
const gone = (): Death => ({ since: 0, isGone: true });

function biography(author: string): Record[] {
  return [
    makeRecord({ author, kind: 'admission', key: '', version: 1 }),
    makeRecord({ author, kind: 'host', key: '', version: 2 }),
    makeRecord({ author, kind: 'service', key: 'web', version: 3 }),
    makeRecord({ author, kind: 'check', key: 'web', version: 4 }),
    makeRecord({ author, kind: 'kind-of-tomorrow', key: 'x', version: 5 }),
  ];
}

test('of a dead host services are kept for a day, and for ever who it is, where it was, and if it meant to go', () => {
  const dead = biography('dead');
  const [admission, host] = dead;
  const lifecycle = makeRecord({ author: 'dead', kind: 'lifecycle', key: '', version: 6 });
  const { author } = lifecycle;
  const replica = replicaOf(...dead, lifecycle, ...biography('living'));
  const down = (of: string) => (of === author ? { since: 0, isGone: false } : null);
  assert.deepEqual(replica.collectDead(down, day - 1, 100).records, []);
  const first = replica.collectDead(down, day, 100);
  assert.deepEqual(first.records.map(({ kind }) => kind).sort(), ['check', 'kind-of-tomorrow', 'service']);
  assert.deepEqual([...first.deadFloors], [[author, 5]]);
  assert.deepEqual(replica.collectDead(down, 1000 * day, 100).records, []);
  assert.deepEqual([...replica.ofAuthor(author)], [admission, host, lifecycle]);
});

test('where a host was that is gone for good is kept for a week, who it was and that it went for ever', () => {
  const dead = biography('dead');
  const [admission, host] = dead;
  const lifecycle = makeRecord({ author: 'dead', kind: 'lifecycle', key: '', version: 6 });
  const posing = makeRecord({ author: 'dead', kind: 'lifecycle', key: 'other', version: 7 });
  const replica = replicaOf(...dead, lifecycle, posing);
  assert.deepEqual(replica.collectDead(gone, day, 100).records, [...dead.slice(2), posing]);
  assert.deepEqual(replica.collectDead(gone, 7 * day - 1, 100).records, []);
  assert.deepEqual(replica.collectDead(gone, 7 * day, 100).records, [host]);
  assert.deepEqual(replica.collectDead(gone, 1000 * day, 100).records, []);
  assert.equal(replica.root(), replicaOf(admission!, lifecycle).root());
});

test('a straggler brings nothing back of a dead host, which itself is heard again with later versions', () => {
  const records = biography('dead');
  const replica = replicaOf(...records);
  replica.collectDead(gone, 30 * day, 100);
  for (const record of records.slice(1)) assert.equal(replica.join(record), 'below-floor');
  assert.equal(replica.join(makeRecord({ author: 'dead', kind: 'host', key: '', version: 6 })), 'applied');
  assert.equal(replica.join(records[2]!), 'below-floor');
});

test('once a dead host lives its old word counts again, but for what it deleted', () => {
  let alive = false;
  const replica = new Replica({ isLive: () => alive });
  const records = biography('dead');
  const tombstone = makeRecord({ author: 'dead', key: 'old', version: 4, hlc: 1, deleted: true });
  for (const record of [...records, tombstone]) replica.join(record);
  replica.collect(2 * day, 100);
  replica.collectDead(gone, 2 * day, 100);
  assert.equal(replica.join(records[4]!), 'below-floor');
  alive = true;
  assert.equal(replica.join(makeRecord({ author: 'dead', key: 'old', version: 3 })), 'below-floor');
  assert.equal(replica.join(records[4]!), 'applied');
  alive = false;
  assert.equal(replica.floorOf(tombstone.author), 4);
});

test('a collection of the dead is bounded too, and takes up where it stopped', () => {
  const replica = replicaOf(...['a', 'b', 'c'].flatMap(biography));
  const sizes = [1, 2, 3, 4].map(() => replica.collectDead(gone, 2 * day, 4).records.length);
  assert.deepEqual(sizes, [4, 4, 1, 0]);
});

test('a peer that has collected a slot is followed as far as it went, but never in admissions or policy', () => {
  const [admission, host, service] = biography('dead');
  const policy = makeRecord({ scope: 'policy', kind: 'config-entry', key: 'a' });
  const replica = replicaOf(admission!, host!, service!, policy);
  const surrender = (record: Record, floor: number, deathOf: () => Death | null = gone) =>
    replica.surrender(replica.slotDigest(slotOf(record)), floor, deathOf, 0).records;
  assert.deepEqual(surrender(service!, 2), []);
  assert.deepEqual(
    surrender(service!, 3, () => null),
    [],
  );
  assert.deepEqual(surrender(service!, 3), [service]);
  assert.equal(replica.join(service!), 'below-floor');
  assert.deepEqual(surrender(admission!, 9), []);
  assert.deepEqual(surrender(policy, Number.MAX_SAFE_INTEGER), []);
  assert.deepEqual(surrender(service!, 9), []);
  assert.deepEqual(
    surrender(host!, 9, () => ({ since: 0, isGone: false })),
    [],
    'it may be back',
  );
  assert.deepEqual(surrender(host!, 9), [host]);
});

const slot = { scope: 'policy', kind: 'config-entry', key: 'a' } as const;

test('policy keeps what it beat and what it replaced, newest first', () => {
  const versions = [1, 2, 3].map((hlc) => makeRecord({ ...slot, hlc: hlc * 1024 }));
  const rival = makeRecord({ ...slot, author: 'bob', hlc: 2 * 1024 });
  const replica = new Replica();
  const outcomes = [versions[1]!, versions[0]!, versions[2]!, rival].map((record) => replica.join(record));
  assert.deepEqual(outcomes, ['applied', 'kept', 'applied', 'kept']);
  assert.equal(replica.get('policy/config-entry/a'), versions[2]);
  const concurrent = [versions[1]!, rival].sort((a, b) => (a.author > b.author ? -1 : 1));
  assert.deepEqual(replica.history('policy/config-entry/a'), [...concurrent, versions[0]]);
  assert.equal(replica.join(versions[0]!), 'known');
  assert.equal(replica.size, 1);
  assert.deepEqual(replica.history('policy/config-entry/b'), []);
});

test('the past of a slot is bounded, the same whatever the order, and part of the digest', () => {
  const versions = Array.from({ length: 30 }, (_, i) => makeRecord({ ...slot, hlc: (i + 1) * 1024 }));
  const replica = replicaOf(...versions);
  assert.equal(replica.history('policy/config-entry/a').length, maxOlderVersions);
  assert.equal(replica.join(versions[0]!), 'stale');
  const backwards = replicaOf(...versions.toReversed());
  assert.deepEqual(backwards.history('policy/config-entry/a'), replica.history('policy/config-entry/a'));
  assert.equal(backwards.root(), replica.root());
  assert.equal(backwards.totalBytes, replica.totalBytes);
  assert.notEqual(replicaOf(...versions.slice(0, 2)).root(), replicaOf(versions[1]!).root());
});

test('older versions count against the quota of their authors', () => {
  const replica = new Replica({ limits: { ...defaultReplicaLimits, policyEntries: 2 } });
  const write = (hlc: number, author: string) =>
    replica.join(makeRecord({ ...slot, author, hlc: hlc * 1024 }), { slack: 1 });
  assert.deepEqual(
    [write(1, 'alice'), write(2, 'alice'), write(3, 'alice'), write(4, 'bob')],
    ['applied', 'applied', 'quota-exceeded', 'applied'],
  );
});

test('digests of two meshes have nothing in common', () => {
  const replica = (genesis: string) => new Replica({ digestKey: digestKeyOf(genesis) });
  const [one, same, other] = [replica('aa'), replica('aa'), replica('bb')];
  for (const each of [one, same, other]) each.join(makeRecord({}));
  assert.equal(one.root(), same.root());
  assert.notEqual(one.root(), other.root());
  assert.notEqual(one.slotDigest('host/x/y/z'), other.slotDigest('host/x/y/z'));
});
