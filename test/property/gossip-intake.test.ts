import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeJson, seededRandom } from '../../src/core.ts';
import { decodeFrame, encodeFrame } from '../../src/gossip/framecodec.ts';
import { Gossip } from '../../src/gossip/gossip.ts';
import type { GossipEffect } from '../../src/gossip/port.ts';
import { decodeRecord, encodeRecord, type RecordFields } from '../../src/gossip/replica/codec.ts';
import { slotOf } from '../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { idleSigner, makeRecord } from '../unit/gossip/records.ts';

const now = 1_800_000_000_000;
const peer = idleSigner('peer').publicKey;

function machine(): Gossip {
  const signer = idleSigner('self');
  return new Gossip({
    self: signer.publicKey,
    signer,
    verify: () => true,
    authority: { judge: () => null },
    random: seededRandom(1),
    epoch: 1,
  });
}

/** A record as a later release writes it: kinds and fields that this one has never heard of. */
const tomorrow = fc
  .record({
    fields: fc.record<RecordFields>({
      scope: fc.constantFrom('host' as const, 'policy' as const),
      kind: fc.constantFrom('service', 'quota', 'kind-of-tomorrow', 'constructor'),
      key: fc.string({ maxLength: 20, unit: 'binary' }).filter((key) => key.isWellFormed()),
      version: fc.integer({ min: 1, max: 2 ** 40 }),
      hlc: fc.integer({ min: 1, max: now * 1024 }),
      value: fc.option(fc.uint8Array({ maxLength: 40 })),
    }),
    tail: fc.uint8Array({ maxLength: 60 }),
    author: fc.constantFrom('alice', 'bob'),
  })
  .map(({ fields, tail, author }) => encodeRecord(fields, idleSigner(author), tail));

/** The records that a machine gives a newcomer which asks for everything. */
function snapshotOf(gossip: Gossip): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const take = (effects: readonly GossipEffect[]) => {
    for (const effect of effects) if (effect.type === 'send') frames.push(effect.bytes);
  };
  take(gossip.step({ type: 'frame', from: peer, bytes: open }, now));
  return frames.flatMap((bytes) => {
    const frame = decodeFrame(bytes);
    return frame.type === 'sync-records' ? frame.records : [];
  });
}
const open = encodeFrame({ type: 'sync-open', session: 1, buckets: null });

function persisted(effects: readonly GossipEffect[], store: Map<string, Uint8Array>): void {
  for (const effect of effects)
    if (effect.type === 'persist')
      for (const op of effect.ops)
        if (op.type === 'put') store.set(op.key, op.value);
        else store.delete(op.key);
}

const inHex = (records: Iterable<Uint8Array>) =>
  [...records].map((bytes) => Buffer.from(bytes).toString('hex')).sort();

test('records of a later release cross this one byte for byte, over its disk and from peer to peer', () => {
  fc.assert(
    fc.property(fc.array(tomorrow, { minLength: 1, maxLength: 12 }), (records) => {
      const [first, second, restored] = [machine(), machine(), machine()];
      const store = new Map<string, Uint8Array>();
      for (const { bytes } of records)
        persisted(first.step({ type: 'delta', bytes: encodeDelta([bytes]) }, now), store);
      const given = snapshotOf(first);
      const originals = new Set(inHex(records.map(({ bytes }) => bytes)));
      for (const bytes of inHex(given)) assert.ok(originals.has(bytes));
      second.step({ type: 'delta', bytes: encodeDelta(given) }, now);
      assert.deepEqual(inHex(snapshotOf(second)), inHex(given));
      restored.load(
        [...store].map(([key, value]) => ({ key, value })),
        now,
      );
      assert.deepEqual(inHex(snapshotOf(restored)), inHex(given));
      assert.equal(restored.replica.root(), first.replica.root());
    }),
  );
});

test('of two records of one version every replica keeps the same, and each that saw both names the writer', () => {
  const pair = fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(pair, fc.integer({ min: 1, max: 1000 }), (values, version) => {
      const records = values.map((value) => makeRecord({ version, value }));
      const slot = slotOf(records[0]!);
      const winners = [records, records.toReversed()].map((order) => {
        const gossip = machine();
        const alarms = order.flatMap(({ bytes }) =>
          gossip
            .step({ type: 'delta', bytes: encodeDelta([bytes]) }, now)
            .filter((effect) => effect.type === 'alarm'),
        );
        assert.deepEqual(
          alarms.map(({ code, subject, detail }) => ({ code, subject, detail })),
          [{ code: 'equivocation', subject: records[0]!.author, detail: slot }],
        );
        return gossip.replica.get(slot)!.text;
      });
      assert.equal(winners[0], winners[1]);
    }),
  );
});

test('a record from the future is refused, and drags neither the clock nor a slot along', () => {
  const ahead = fc.integer({ min: 60_001, max: 10 ** 12 });
  fc.assert(
    fc.property(ahead, fc.boolean(), (aheadMs, policy) => {
      const gossip = machine();
      const scope = policy ? 'policy' : 'host';
      const record = makeRecord({ scope, hlc: (now + aheadMs) * 1024 });
      gossip.step({ type: 'delta', bytes: encodeDelta([record.bytes]) }, now);
      assert.equal(gossip.replica.size, 0);
      assert.equal(gossip.stats().recordsRefused.get('clock-ahead'), 1);
      assert.ok(gossip.nextPolicyFields(peer, now).hlc < (now + 1) * 1024);
    }),
  );
});

test('an author that is told what the mesh has forgotten of it says it again, above the floor', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 41 }), (leap) => {
      const gossip = machine();
      const { record, effects } = gossip.put('service', 'web', encodeJson({ port: 1 }), now);
      for (const effect of effects)
        if (effect.type === 'persist') gossip.step({ type: 'durable', records: [record] }, now);
      const later = now + 3_600_000;
      gossip.step({ type: 'frame', from: peer, bytes: open }, later);
      const slot = gossip.replica.slotDigest(slotOf(record));
      const floor = record.version + leap;
      const told = encodeFrame({ type: 'sync-collected', session: 1, slots: [{ slot, floor }] });
      const answer = gossip.step({ type: 'frame', from: peer, bytes: told }, later);
      const persist = answer.find((effect) => effect.type === 'persist');
      assert.ok(persist?.type === 'persist' && persist.sync);
      const [op] = persist.ops;
      assert.ok(op?.type === 'put');
      const again = decodeRecord(op.value);
      assert.ok(again.version > floor);
      assert.deepEqual(again.value, record.value);
      assert.equal(slotOf(again), slotOf(record));
    }),
  );
});
