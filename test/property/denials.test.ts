/** What an operator denied stays denied, whatever else is written of it, on every host alike. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, encodeJson } from '../../src/core.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import { type Record, slotOf } from '../../src/gossip/replica/record.ts';
import { compareRecords, Replica } from '../../src/gossip/replica/replica.ts';
import {
  createDenial,
  type Denied,
  denialKey,
  expiryOf,
  parseDenial,
} from '../../src/trust/admission/denial.ts';
import { finalityOf } from '../../src/trust/finality.ts';
import { TrustState } from '../../src/trust/state.ts';
import { genesis, hlcOf, operator, signerOf, startedAt } from '../unit/trust/mesh.ts';

const operators = [operator, signerOf('second operator')];
const subjects: readonly Denied[] = [
  { type: 'host', host: signerOf('one').publicKey },
  { type: 'host', host: signerOf('two').publicKey },
  { type: 'serial', serial: '40aa' },
  { type: 'serial', serial: '40bb' },
];

/** Somebody denies something at some time, or writes something else in its place. */
const writing: fc.Arbitrary<Record> = fc
  .record({
    subject: fc.constantFrom(...subjects),
    by: fc.constantFrom(...operators),
    at: fc.integer({ min: 0, max: 6 }),
    hlc: fc.integer({ min: 1, max: 40 }),
    reason: fc.constantFrom('a', 'b', ''),
    what: fc.constantFrom('denial', 'denial', 'denial', 'nonsense'),
  })
  .map(({ subject, by, at, hlc, reason, what }) => {
    const { until } = createDenial(subject, reason, startedAt + at);
    const value = what === 'denial' ? { reason, at: startedAt + at, until } : { reason, until: 'never' };
    const key = denialKey(subject);
    const stamp = { version: hlc, hlc: hlcOf(startedAt) + hlc };
    return encodeRecord({ scope: 'policy', kind: 'deny', key, ...stamp, value: encodeJson(value) }, by);
  });
const writings = fc.array(writing, { maxLength: 40 });
const shuffled = writings.chain((list) =>
  fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
);

/** What one host makes of records that reach it in this order. */
function heard(order: readonly Record[]) {
  const replica = new Replica({ finality: finalityOf, expiryOf });
  const trust = new TrustState(genesis, ed25519Verify);
  for (const record of order) if (replica.join(record) === 'applied') trust.apply(record);
  return { replica, trust };
}

test('two hosts that heard the same denials, in whatever order, hold the same and deny the same', () => {
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const [one, two] = [heard(list), heard(other)];
      assert.equal(one.replica.root(), two.replica.root());
      assert.deepEqual(one.trust.denials.all(), two.trust.denials.all());
    }),
  );
});

test('whoever was denied once is denied, from the first time on or for the longest time, whatever came later', () => {
  fc.assert(
    fc.property(writings, (list) => {
      const { trust } = heard(list);
      for (const subject of subjects) {
        const told = list
          .filter(({ key, text }) => key === denialKey(subject) && !text.includes('never'))
          .map(({ value, key }) => parseDenial(value, key));
        const held =
          subject.type === 'host'
            ? trust.denials.ofHost(subject.host)
            : trust.denials.ofSerial(subject.serial);
        assert.equal(held !== undefined, told.length > 0);
        if (held === undefined) continue;
        if (subject.type === 'host') assert.equal(held.at, Math.min(...told.map(({ at }) => at)));
        else assert.equal(held.until, Math.max(...told.map(({ until }) => until!)));
      }
    }),
  );
});

test('no step ever lets anybody in again who was denied, or shortens it', () => {
  fc.assert(
    fc.property(writings, (list) => {
      const replica = new Replica({ finality: finalityOf });
      const trust = new TrustState(genesis, ed25519Verify);
      const held = new Map<string, number>();
      for (const record of list) {
        if (replica.join(record) === 'applied') trust.apply(record);
        for (const { denied, until } of trust.denials.all()) {
          const key = denialKey(denied);
          const end = until ?? Number.POSITIVE_INFINITY;
          assert.ok(end >= (held.get(key) ?? 0));
          held.set(key, end);
        }
        assert.equal(trust.denials.count, held.size);
      }
    }),
  );
});

test('the order of denials is total and antisymmetric, and a denial is above what is none', () => {
  fc.assert(
    fc.property(writing, writing, (a, b) => {
      const order = compareRecords(a, b, finalityOf);
      assert.equal(Math.sign(order) + Math.sign(compareRecords(b, a, finalityOf)), 0);
      assert.equal(order === 0, a.text === b.text);
      const isDenial = ({ text }: Record) => !text.includes('never');
      if (a.key === b.key && isDenial(a) && !isDenial(b)) assert.ok(order > 0);
    }),
  );
});

test('replicas forget just the denials that are over, and are then as if they had never heard of them', () => {
  fc.assert(
    fc.property(writings, fc.integer({ min: -1, max: 7 }), (list, after) => {
      const { replica } = heard(list);
      const { until } = createDenial(subjects[2]!, '', startedAt);
      const now = until! + after;
      const isOver = (record: Record) => (expiryOf(record) ?? Number.POSITIVE_INFINITY) <= now;
      const winners = [...replica.records()];
      const forgotten = replica.collectExpired(now, 1000);
      assert.deepEqual(new Set(forgotten), new Set(winners.filter(isOver)));
      const gone = new Set(forgotten.map(slotOf));
      const rest = heard(list.filter((record) => !gone.has(slotOf(record))));
      assert.equal(replica.root(), rest.replica.root());
      assert.equal(replica.totalBytes, rest.replica.totalBytes);
      assert.deepEqual(replica.largestWriters(8), rest.replica.largestWriters(8));
    }),
  );
});
