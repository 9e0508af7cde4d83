import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId, Millis } from '../../../../src/core.ts';
import type { Member, MemberState } from '../../../../src/gossip/port.ts';
import { Collection, cutOffForMs, followAfterMs } from '../../../../src/gossip/replica/collection.ts';
import { type Record, slotOf } from '../../../../src/gossip/replica/record.ts';
import { Replica } from '../../../../src/gossip/replica/replica.ts';
import { eraseOps } from '../../../../src/gossip/replica/stored.ts';
import { idleSigner, makeRecord } from '../records.ts';

const hour = 3_600_000;
const start = 500_000 * hour;
const self = idleSigner('self').publicKey;
const idOf = (name: string): HostId => idleSigner(name).publicKey;

/** A collection over a mesh whose members are in these states since `start`. */
function collectionOf(
  states: { readonly [name: string]: MemberState },
  records: readonly Record[],
  expelled: readonly string[] = [],
  saidGone: readonly string[] = [],
) {
  const expiryOf = ({ key }: Record) => (key.startsWith('until-') ? start + Number(key.slice(6)) : null);
  const replica = new Replica({ expiryOf });
  for (const record of records) replica.join(record);
  const members = new Map<HostId, Member>();
  for (const [name, state] of Object.entries(states))
    members.set(idOf(name), { id: idOf(name), state, incarnation: 0, since: start, roundTripMs: null });
  const collection = new Collection({
    replica,
    self,
    firstVersion: 2 ** 32,
    member: (id) => members.get(id),
    members: () => members.values(),
    expelledSince: (id) => (expelled.some((name) => idOf(name) === id) ? start : null),
    isSaidGone: (id) => saidGone.some((name) => idOf(name) === id),
  });
  collection.begin(start);
  /** Wakes at every deadline until `until`; what was collected, with the time of it. */
  const run = (until: Millis): { at: Millis; records: readonly Record[] }[] => {
    const collected: { at: Millis; records: readonly Record[] }[] = [];
    for (let due = collection.nextWake(); due !== null && due <= until; due = collection.nextWake()) {
      const { records: gone } = collection.wake(due)!;
      if (gone.length > 0) collected.push({ at: due, records: gone });
    }
    return collected;
  };
  const slots = (...of: Record[]) =>
    of.map((record) => ({ slot: replica.slotDigest(slotOf(record)), floor: record.version }));
  return { replica, collection, run, slots };
}

function service(author: string, version = 1): Record {
  return makeRecord({ author, version, hlc: start * 1024 });
}

test('the dead are collected at the full hour after their day of grace, those that left too, nobody else', () => {
  const [down, left] = [service('down'), service('left')];
  const records = [down, left, service('alive'), service('suspect'), service('stranger'), service('self')];
  const states = { down: 'down', left: 'left', alive: 'alive', suspect: 'suspect' } as const;
  const { replica, run } = collectionOf(states, records);
  const [only, ...later] = run(start + 100 * hour);
  assert.equal(only?.at, start + 24 * hour);
  assert.deepEqual(new Set(only?.records), new Set([down, left]));
  assert.deepEqual(later, []);
  assert.equal(replica.size, 4);
});

test('a large collection goes in portions, one after the other', () => {
  const records = Array.from({ length: 2500 }, (_, i) => makeRecord({ author: 'down', key: `k${i}` }));
  const collected = collectionOf({ down: 'down', live: 'alive' }, records).run(start + 30 * hour);
  assert.deepEqual(
    collected.map(({ at, records: { length } }) => [at - start - 24 * hour, length]),
    [
      [0, 1000],
      [1, 1000],
      [2, 500],
    ],
  );
});

test('an agent that sees half of the mesh down takes itself for cut off and forgets nobody for a week', () => {
  const tombstone = makeRecord({ author: 'a', key: 'old', deleted: true, hlc: start * 1024 });
  const records = [service('a'), service('b'), tombstone];
  const states = { a: 'down', b: 'down', c: 'left', d: 'alive' } as const;
  const { collection, run, slots } = collectionOf(states, records);
  const [first, ...later] = run(start + cutOffForMs - 1);
  assert.deepEqual([first?.records, later], [[tombstone], []]);
  assert.deepEqual(collection.follow(slots(service('a')), start + 100 * hour).collected.records, []);
  const [second, ...last] = run(start + 2 * cutOffForMs);
  assert.deepEqual([second?.at, second?.records, last], [start + cutOffForMs, records.slice(0, 2), []]);
});

test('where a host was is kept while it is down, and for a week after it left or was shut out', () => {
  const addressOf = (author: string) => makeRecord({ author, kind: 'host', key: '' });
  const [down, left, expelled] = ['down', 'left', 'expelled'].map(addressOf) as [Record, Record, Record];
  const states = { down: 'down', left: 'left', live: 'alive' } as const;
  const { collection, run, slots } = collectionOf(states, [down, left, expelled], ['expelled']);
  const told = collection.follow(slots(down, left), start + 100 * hour);
  assert.deepEqual(told.collected.records, [left]);
  const [only, ...later] = run(start + 1000 * hour);
  assert.deepEqual([only?.at, only?.records, later], [start + 7 * 24 * hour, [expelled], []]);
});

test('a peer that gave up a host that is gone in writing is followed also where the host is only down', () => {
  const [down, other] = ['down', 'other'].map((author) => makeRecord({ author, kind: 'host', key: '' })) as [
    Record,
    Record,
  ];
  const states = { down: 'down', other: 'down', live: 'alive', more: 'alive' } as const;
  const { collection, slots } = collectionOf(states, [down, other], [], ['down']);
  assert.deepEqual(collection.follow(slots(down, other), start + followAfterMs).collected.records, [down]);
});

test('what a dead host said of its certificates ends by when it said so, not by a peer’s word', () => {
  const lastingMs = 11 * 24 * hour;
  const ackOf = (author: string, saidAgoMs: Millis) =>
    makeRecord({ author, kind: 'trust-ack', key: '', hlc: (start - saidAgoMs) * 1024 });
  const [fresh, old] = [ackOf('left', hour), ackOf('down', lastingMs)];
  const states = { down: 'down', left: 'left', live: 'alive', other: 'alive' } as const;
  const { collection, run, slots } = collectionOf(states, [fresh, old]);
  const told = slots(fresh, old);
  assert.deepEqual(collection.follow(told, start + followAfterMs).collected.records, [old]);
  assert.deepEqual(run(start + lastingMs - hour - 1), []);
  assert.deepEqual(collection.follow(told, start + lastingMs - hour - 1).collected.records, []);
  const [only] = run(start + 1000 * hour);
  assert.deepEqual([only?.at, only?.records], [start + lastingMs - hour, [fresh]]);
});

test('what a dead host said of its certificates long before it died goes with the rest of what it said', () => {
  const old = makeRecord({ author: 'down', kind: 'trust-ack', key: '', hlc: 1024 });
  const [only] = collectionOf({ down: 'down', live: 'alive' }, [old]).run(start + 1000 * hour);
  assert.deepEqual([only?.at, only?.records], [start + 24 * hour, [old]]);
});

test('a peer that has collected a host is followed once the host has been dead here for an hour', () => {
  const [dead, alive] = [service('down'), service('alive')];
  const { replica, collection, slots } = collectionOf({ down: 'down', alive: 'alive' }, [dead, alive]);
  const told = slots(dead, alive);
  assert.deepEqual(collection.follow(told, start + followAfterMs - 1).collected.records, []);
  const { collected, repeat } = collection.follow(told, start + followAfterMs);
  assert.deepEqual(collected.records, [dead]);
  assert.deepEqual([...collected.deadFloors], [[dead.author, 1]]);
  assert.deepEqual(repeat, []);
  assert.equal(replica.join(dead), 'below-floor');
});

test('an author that the mesh has forgotten repeats what still holds, above the floor, but not at every word', () => {
  const held = service('self', 3);
  const gone = makeRecord({ author: 'self', key: 'old', version: 4, deleted: true, hlc: start * 1024 });
  const { collection, slots } = collectionOf({ peer: 'alive' }, [held, gone]);
  const at = (slot: Record, floor: number, now: Millis) =>
    collection.follow([{ slot: slots(slot)[0]!.slot, floor }], now).repeat;
  const later = start + 60_000;
  assert.deepEqual(at(held, 9, later - 1), []);
  assert.deepEqual(at(held, 2, later), []);
  assert.deepEqual(at(held, 9, later), [{ record: held, floor: 9 }]);
  assert.deepEqual(at(gone, 9, later), []);
  assert.deepEqual(at(held, 2 ** 52, later), []);
});

test('a host that was expelled is collected as the dead are, though it is no member', () => {
  const expelled = service('expelled');
  const [only, ...later] = collectionOf({}, [expelled, service('stranger')], ['expelled']).run(
    start + 100 * hour,
  );
  assert.deepEqual([only?.at, only?.records, later], [start + 24 * hour, [expelled], []]);
});

test('policy that is over is forgotten at the full hour after, history and all, and leaves no trace in the store', () => {
  const policy = (key: string, hlc: number) =>
    makeRecord({ author: 'operator', scope: 'policy', kind: 'deny', key, version: hlc, hlc });
  const over = policy(`until-${hour / 2}`, 2);
  const records = [policy(over.key, 1), over, policy(`until-${3 * hour}`, 3), policy('for-good', 4)];
  const { replica, run } = collectionOf({}, records);
  const [first, second, ...later] = run(start + 100 * hour);
  assert.deepEqual([first?.at, first?.records], [start + hour, [over]]);
  assert.deepEqual([second?.at, second?.records], [start + 3 * hour, [records[2]]]);
  assert.deepEqual(later, []);
  assert.deepEqual([...replica.records()], [records[3]]);
  assert.equal(replica.totalBytes, records[3]!.text.length);
  const none = new Map<HostId, number>();
  const erased = eraseOps({ records: [over], floors: none, deadFloors: none }).map(({ key }) => key);
  assert.deepEqual(erased, [`record/${slotOf(over)}`, `history/${slotOf(over)}`]);
});
