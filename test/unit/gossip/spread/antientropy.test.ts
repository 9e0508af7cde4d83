import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Millis, seededRandom } from '../../../../src/core.ts';
import { decodeFrame, encodeFrame } from '../../../../src/gossip/framecodec.ts';
import { maxFrameBytes, type SyncFrame } from '../../../../src/gossip/frames.ts';
import { defaultSyncParameters } from '../../../../src/gossip/parameters.ts';
import { decodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { type Record, slotOf } from '../../../../src/gossip/replica/record.ts';
import { Replica } from '../../../../src/gossip/replica/replica.ts';
import { AntiEntropy } from '../../../../src/gossip/spread/antientropy.ts';
import type { CollectedSlot } from '../../../../src/gossip/spread/session.ts';
import { makeRecord } from '../records.ts';

interface Side {
  readonly name: string;
  readonly replica: Replica;
  readonly machine: AntiEntropy;
  readonly outbox: { readonly to: string; readonly frame: SyncFrame }[];
  bytesSent: number;
  /** Of those, in frames that carry records. */
  recordBytesSent: number;
  framesSent: number;
  /** Records that this side does not want, whatever they are. */
  refuses: (record: Record) => boolean;
  /** What peers said they had collected. */
  readonly collectedThere: CollectedSlot[];
}

/** Sides that exchange frames in order, without delay. */
class Exchange {
  now: Millis = 1_000_000;
  readonly sides = new Map<string, Side>();

  side(name: string, records: readonly Record[]): Side {
    const replica = new Replica();
    for (const record of records) replica.join(record);
    const outbox: Side['outbox'] = [];
    const machine = new AntiEntropy(replica, seededRandom(this.sides.size + 1), defaultSyncParameters, {
      send: (to, frame) => outbox.push({ to, frame }),
      accept: (batch) =>
        batch.map((bytes) => {
          const record = decodeRecord(bytes);
          if (side.refuses(record)) return { outcome: 'refused' };
          const outcome = replica.join(record);
          assert.ok(outcome !== 'quota-exceeded');
          const slot = replica.slotDigest(slotOf(record));
          if (outcome === 'below-floor')
            return { outcome: 'collected', slot, floor: replica.floorOf(record.author) };
          return outcome === 'stale' ? { outcome, slot } : { outcome };
        }),
      collected: (slots) => side.collectedThere.push(...slots),
    });
    const side: Side = {
      name,
      replica,
      machine,
      outbox,
      bytesSent: 0,
      recordBytesSent: 0,
      framesSent: 0,
      refuses: () => false,
      collectedThere: [],
    };
    this.sides.set(name, side);
    return side;
  }

  /** Delivers until nobody has anything to say. */
  settle(): void {
    for (let busy = true; busy; ) {
      busy = false;
      for (const side of this.sides.values())
        for (const { to, frame } of side.outbox.splice(0)) {
          busy = true;
          const bytes = encodeFrame(frame);
          assert.ok(bytes.length <= maxFrameBytes, `${frame.type} of ${bytes.length} bytes`);
          side.bytesSent += bytes.length;
          if (frame.type === 'sync-records') side.recordBytesSent += bytes.length;
          side.framesSent++;
          const received = decodeFrame(bytes);
          assert.ok('session' in received);
          this.sides.get(to)?.machine.receive(side.name, received, this.now);
        }
    }
  }

  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    const next = () =>
      Math.min(...[...this.sides.values()].map((side) => side.machine.nextWake() ?? Infinity));
    for (let due = next(); due <= end; due = next()) {
      this.now = Math.max(this.now, due);
      for (const side of this.sides.values()) {
        side.machine.wake(this.now);
        side.machine.noteRoot();
      }
      this.settle();
    }
    this.now = end;
  }

  /** What an ack does: `a` hears the digest of `b`. */
  hear(a: Side, b: Side): void {
    a.machine.heard(b.name, b.replica.root(), this.now);
  }
}

function many(count: number, author = 'alice', value: unknown = 'x'.repeat(300)): Record[] {
  return Array.from({ length: count }, (_, i) => makeRecord({ author, key: `k${i}`, value }));
}

test('equal replicas exchange nothing', () => {
  const exchange = new Exchange();
  const [a, b] = [exchange.side('a', many(50)), exchange.side('b', many(50))];
  exchange.hear(a, b);
  exchange.run(10_000);
  assert.equal(a.framesSent + b.framesSent, 0);
});

test('ten differences among many thousand records are repaired both ways for a few kilobytes', () => {
  const exchange = new Exchange();
  const common = [0, 1, 2, 3].flatMap((i) => many(4000, `author ${i}`, 'small'));
  const newer = [0, 1, 2].map((i) => makeRecord({ author: 'author 0', key: `k${i}`, version: 2 }));
  const a = exchange.side('a', [...common, ...newer.slice(0, 1), ...many(4, 'only a')]);
  const b = exchange.side('b', [...common, ...newer.slice(1), ...many(3, 'only b')]);
  exchange.hear(a, b);
  exchange.run(5000);
  assert.equal(a.replica.root(), b.replica.root());
  assert.equal(a.replica.size, 16_007);
  const total = a.bytesSent + b.bytesSent;
  assert.ok(total < 12_000, `${total} bytes`);
  assert.equal(a.machine.stats.completed, 1);
  assert.equal(b.machine.sessions, 0);
});

test('a newcomer with a few records of its own gets everything in one session, and gives its own', () => {
  const exchange = new Exchange();
  const everything = many(3000);
  const veteran = exchange.side('veteran', everything);
  const newcomer = exchange.side('newcomer', many(2, 'newcomer'));
  newcomer.machine.connected('veteran', exchange.now);
  exchange.run(0);
  assert.equal(newcomer.replica.root(), veteran.replica.root());
  assert.equal(newcomer.replica.size, 3002);
  const payload = everything.reduce((sum, record) => sum + record.bytes.length, 0);
  assert.ok(veteran.bytesSent < 1.02 * payload, `${veteran.bytesSent} bytes for ${payload}`);
  assert.ok(newcomer.bytesSent < 5000, `${newcomer.bytesSent} bytes of questions`);
});

test('frames on their way are bounded by the window, however much there is to send', () => {
  const exchange = new Exchange();
  const veteran = exchange.side('veteran', many(3000));
  veteran.machine.receive('x', { type: 'sync-open', session: 1, buckets: null }, exchange.now);
  assert.equal(veteran.outbox.length, defaultSyncParameters.window);
  veteran.machine.receive('x', { type: 'sync-credit', session: 1 }, exchange.now);
  assert.equal(veteran.outbox.length, defaultSyncParameters.window + 1);
});

test('a peer that is only behind is left alone: it will come by itself', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(20));
  const b = exchange.side('b', many(20));
  a.replica.join(makeRecord({ key: 'more' }));
  a.machine.noteRoot();
  exchange.hear(a, b);
  assert.equal(a.machine.nextWake(), null);
  exchange.hear(b, a);
  assert.notEqual(b.machine.nextWake(), null);
});

test('sessions that change nothing grow rarer', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(100));
  const b = exchange.side('b', [...many(100), ...many(100, 'unwanted')]);
  a.refuses = () => true;
  for (let second = 0; second < 300; second++) {
    exchange.hear(a, b);
    exchange.run(1000);
  }
  assert.ok(
    a.machine.stats.opened >= 5 && a.machine.stats.opened <= 20,
    `${a.machine.stats.opened} sessions`,
  );
});

test('a silent peer does not hold a session for ever, and the next peer gets its turn', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(100));
  const b = exchange.side('b', many(120));
  a.machine.connected('mute', exchange.now);
  exchange.run(100);
  assert.equal(a.machine.sessions, 1);
  exchange.hear(a, b);
  exchange.run(defaultSyncParameters.timeoutMs + 1000);
  assert.equal(a.machine.stats.failed, 1);
  assert.equal(a.replica.root(), b.replica.root());
});

test('more askers than can be answered are turned away, and one peer holds one session', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(3000));
  for (let i = 0; i < 10; i++)
    a.machine.receive(`peer ${i}`, { type: 'sync-open', session: i, buckets: null }, exchange.now);
  assert.equal(a.machine.sessions, defaultSyncParameters.maxAnswered);
  const busy = a.outbox.filter(({ frame }) => frame.type === 'sync-close');
  assert.equal(busy.length, 10 - defaultSyncParameters.maxAnswered);
  exchange.now += defaultSyncParameters.answerGapMs;
  a.machine.disconnected('peer 0', exchange.now);
  a.machine.receive('peer 1', { type: 'sync-open', session: 77, buckets: null }, exchange.now);
  assert.equal(a.machine.sessions, defaultSyncParameters.maxAnswered - 1);
});

test('a peer that asks without ever taking anything in is cut off', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(3000));
  a.machine.receive('x', { type: 'sync-open', session: 1, buckets: null }, exchange.now);
  for (let i = 0; i < 100; i++)
    a.machine.receive('x', { type: 'sync-want', session: 1, slots: [] }, exchange.now);
  assert.equal(a.machine.sessions, 0);
  assert.ok(a.outbox.some(({ frame }) => frame.type === 'sync-close' && frame.reason === 'overrun'));
});

/** What a mesh of ten thousand hosts says, three records a host. */
const metropolis = Array.from({ length: 10_000 }, (_, i) => i).flatMap((i) =>
  ['host', 'service', 'check'].map((kind) => makeRecord({ author: `host ${i}`, kind, key: '', value: 'x' })),
);

/** Bytes, both ways and without the records themselves, of one session over records newer on one side. */
function questionsFor(changes: number): number {
  const exchange = new Exchange();
  const a = exchange.side('a', metropolis);
  const b = exchange.side('b', metropolis);
  for (let i = 0; i < changes; i++)
    b.replica.join(
      makeRecord({ author: `host ${i * 97}`, kind: 'service', key: '', version: 2, value: 'y' }),
    );
  // An agent that has synced with nobody yet asks even when there turns out to be nothing to ask for.
  a.machine.connected('b', exchange.now);
  exchange.run(1000);
  assert.equal(a.replica.root(), b.replica.root());
  assert.equal(a.machine.stats.completed, 1);
  assert.equal(a.machine.stats.recordsReceived, changes);
  return a.bytesSent + b.bytesSent - a.recordBytesSent - b.recordBytesSent;
}

test('among ten thousand hosts the questions cost 4 KB, and some 300 bytes more for each change', () => {
  for (const [changes, most] of [
    [0, 4150],
    [10, 7500],
    [100, 36_000],
  ] as const) {
    const bytes = questionsFor(changes);
    assert.ok(bytes <= most, `${bytes} bytes for ${changes} changes`);
  }
});

test('policy that was written on both sides ends up with both versions on both', () => {
  const write = (author: string, hlc: number) =>
    makeRecord({ scope: 'policy', kind: 'config-entry', key: 'a', author, hlc: hlc * 1024 });
  for (const crowd of [2000, 30_000]) {
    const exchange = new Exchange();
    // The winners are the same: what was beaten is part of the digest, and is exchanged for its own sake.
    const a = exchange.side('a', [...many(crowd, 'c', ''), write('alice', 1), write('alice', 9)]);
    const b = exchange.side('b', [...many(crowd, 'c', ''), write('bob', 5), write('alice', 9)]);
    exchange.hear(a, b);
    exchange.run(5000);
    assert.equal(a.replica.root(), b.replica.root());
    for (const { replica } of [a, b])
      assert.deepEqual(
        replica.history('policy/config-entry/a').map(({ hlc }) => hlc / 1024),
        [5, 1],
      );
    assert.equal(a.machine.stats.completed, 1);
  }
});

test('who offers what a peer has collected is told so, with the floor, and nothing comes back', () => {
  const exchange = new Exchange();
  const dead = many(3, 'dead');
  const a = exchange.side('a', many(40));
  const b = exchange.side('b', [...many(40), ...dead]);
  a.replica.raiseDeadFloor(dead[0]!.author, 7);
  exchange.hear(a, b);
  exchange.run(5000);
  assert.equal(a.replica.size, 40);
  assert.deepEqual(
    b.collectedThere.map(({ slot, floor }) => `${floor} ${slot}`).sort(),
    dead.map((record) => `7 ${b.replica.slotDigest(slotOf(record))}`).sort(),
  );
});

test('who asks by parts waits for all that the other side has to give, however many frames that takes', () => {
  const exchange = new Exchange();
  const common = many(15_000, 'common', '');
  const a = exchange.side('a', common);
  const b = exchange.side('b', [...common, ...many(3000, 'more')]);
  exchange.hear(a, b);
  exchange.run(1000);
  assert.equal(a.machine.stats.opened, 1);
  assert.equal(a.replica.root(), b.replica.root());
  assert.ok(b.recordBytesSent > 2 * defaultSyncParameters.window * maxFrameBytes);
});

test('a listing that names a range twice is answered once', () => {
  const exchange = new Exchange();
  const a = exchange.side('a', many(100));
  a.machine.receive('x', { type: 'sync-open', session: 1, buckets: a.replica.bucketDigests() }, exchange.now);
  const range = Array.from({ length: 512 }, (_, bucket) => bucket).find((i) => a.replica.bucketSize(i) > 0)!;
  const ranges = [range, range, range].map((each) => ({ range: each, entries: [] }));
  a.machine.receive('x', { type: 'sync-listing', session: 1, last: true, ranges }, exchange.now);
  const sent = a.outbox.flatMap(({ frame }) => (frame.type === 'sync-records' ? frame.records : []));
  assert.equal(sent.length, a.replica.bucketSize(range));
});

test('an agent that holds little of a large replica gets the rest, though nearly every part differs', () => {
  const exchange = new Exchange();
  const everything = many(40_000, 'crowd', '');
  const a = exchange.side('a', everything.slice(0, 300));
  const b = exchange.side('b', everything);
  exchange.hear(a, b);
  exchange.run(1000);
  assert.equal(a.replica.root(), b.replica.root());
  assert.equal(a.machine.stats.completed, 1);
});

/** Hosts of which `said` records each are known, and who admitted them. */
function flockOf(name: string, hosts: number, said: number): Record[] {
  return Array.from({ length: hosts }, (_, i) => [
    makeRecord({ author: `${name}${i}`, kind: 'admission', key: '' }),
    ...many(said, `${name}${i}`),
  ]).flat();
}

/** Has `side` take nothing of hosts whose admission it has not seen; the result tells how often it had to refuse. */
function admitting(side: Side): () => number {
  let early = 0;
  side.refuses = ({ kind, author }) => {
    const isEarly = kind !== 'admission' && side.replica.get(`host/${author}/admission/`) === undefined;
    if (isEarly) early++;
    return isEarly;
  };
  return () => early;
}

test('halves that each admitted hundreds take in all in one session, each record after what admits its author', () => {
  const exchange = new Exchange();
  const [a, b] = [exchange.side('a', flockOf('a', 300, 12)), exchange.side('b', flockOf('b', 300, 12))];
  const early = [admitting(a), admitting(b)];
  exchange.hear(a, b);
  exchange.run(5000);
  assert.equal(a.machine.stats.opened + b.machine.stats.opened, 1);
  assert.deepEqual(
    early.map((count) => count()),
    [0, 0],
  );
  assert.equal(a.replica.root(), b.replica.root());
  assert.equal([...a.replica.records()].length, 2 * 300 * 13);
});

test('where most hosts are long gone but for their admission, those of the new ones still come before what they said', () => {
  const exchange = new Exchange();
  const old = [...flockOf('gone', 4000, 0), ...flockOf('here', 200, 8)];
  const [a, b] = [exchange.side('a', [...old, ...flockOf('new', 60, 18)]), exchange.side('b', old)];
  const early = admitting(b);
  exchange.hear(a, b);
  exchange.run(5000);
  assert.equal(early(), 0);
  assert.equal(a.machine.stats.opened + b.machine.stats.opened, 1);
  assert.equal(a.replica.root(), b.replica.root());
});
