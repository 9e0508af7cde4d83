import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HybridClock } from '../../src/gossip/replica/hlc.ts';
import { type Record, slotOf } from '../../src/gossip/replica/record.ts';
import { compareRecords, Replica } from '../../src/gossip/replica/replica.ts';
import { idleSigner, makeRecord } from '../unit/gossip/records.ts';

/** Few slots, versions and authors: most pairs compete for a slot, many tie, and policy outgrows its history. */
const records: fc.Arbitrary<Record> = fc
  .record({
    scope: fc.constantFrom('host' as const, 'policy' as const),
    author: fc.constantFrom('alice', 'bob'),
    key: fc.constantFrom('a', 'b'),
    version: fc.integer({ min: 1, max: 3 }),
    hlc: fc.integer({ min: 1, max: 12 }),
    value: fc.integer({ min: 0, max: 2 }),
    deleted: fc.boolean(),
  })
  .map((fields) => makeRecord(fields));

function joined(order: readonly Record[]): Replica {
  const replica = new Replica();
  for (const record of order) replica.join(record);
  return replica;
}

/** Every slot with all its versions, the winner first. */
function contents(replica: Replica): Map<string, readonly Record[]> {
  const slots = [...replica.records()].map((record): [string, readonly Record[]] => {
    const slot = slotOf(record);
    return [slot, [record, ...replica.history(slot)]];
  });
  return new Map(slots.sort());
}

/** Everything a replica holds, as it would be handed to a newcomer. */
function everythingIn(replica: Replica): Record[] {
  return [...replica.foundationFirst()];
}

test('the join commutes and is idempotent: neither order nor repetition of records matters', () => {
  const history = fc.array(records, { maxLength: 90, size: 'max' }).chain((list) =>
    fc.record({
      list: fc.constant(list),
      shuffled: fc.shuffledSubarray([...list, ...list], { minLength: 2 * list.length }),
    }),
  );
  fc.assert(
    fc.property(history, ({ list, shuffled }) => {
      const [a, b] = [joined(list), joined(shuffled)];
      assert.deepEqual(contents(a), contents(b));
      assert.equal(a.root(), b.root());
      assert.deepEqual(a.bucketDigests(), b.bucketDigests());
      assert.equal(a.totalBytes, b.totalBytes);
    }),
  );
});

test('the join associates: replicas that are merged in either grouping are equal', () => {
  const part = fc.array(records, { maxLength: 40, size: 'max' });
  fc.assert(
    fc.property(part, part, part, (x, y, z) => {
      const left = joined([...everythingIn(joined([...x, ...y])), ...z]);
      const right = joined([...x, ...everythingIn(joined([...y, ...z]))]);
      assert.equal(left.root(), right.root());
      assert.deepEqual(contents(left), contents(right));
    }),
  );
});

test('the order of a slot is total and antisymmetric', () => {
  fc.assert(
    fc.property(records, records, (a, b) => {
      if (slotOf(a) !== slotOf(b)) return;
      const order = compareRecords(a, b);
      assert.equal(Math.sign(order) + Math.sign(compareRecords(b, a)), 0);
      assert.equal(order === 0, Buffer.compare(a.bytes, b.bytes) === 0);
    }),
  );
});

test('digests kept step by step are those of a replica built afresh, through collections too', () => {
  const keepMs = 24 * 3_600_000;
  fc.assert(
    fc.property(fc.array(records, { maxLength: 30 }), (list) => {
      const replica = joined(list);
      replica.collect(keepMs + 1000, 100);
      const fresh = joined(everythingIn(replica));
      assert.equal(replica.root(), fresh.root());
      assert.deepEqual(replica.bucketDigests(), fresh.bucketDigests());
      assert.equal(replica.totalBytes, fresh.totalBytes);
    }),
  );
});

test('what was collected is not resurrected by any of its older records', () => {
  const keepMs = 24 * 3_600_000;
  fc.assert(
    fc.property(fc.array(records, { maxLength: 30 }), (list) => {
      const replica = joined(list);
      const before = contents(replica);
      replica.collect(keepMs + 1000, 100);
      const after = contents(replica);
      for (const record of list) replica.join(record);
      assert.deepEqual(contents(replica), after);
      for (const [slot, [record]] of before)
        assert.equal(after.has(slot), !(record!.deleted && record!.scope === 'host'), slot);
    }),
  );
});

test('a slot never goes back, whatever is joined, and the outcome is foretold', () => {
  fc.assert(
    fc.property(fc.array(records, { maxLength: 60 }), (list) => {
      const replica = new Replica();
      for (const record of list) {
        const slot = slotOf(record);
        const [before, foretold] = [replica.get(slot), replica.preview(record)];
        assert.equal(replica.join(record), foretold);
        const after = replica.get(slot)!;
        assert.ok(before === undefined || compareRecords(after, before) >= 0);
        assert.equal(foretold === 'applied', after === record && after !== before);
      }
    }),
  );
});

test('replicas that forgot the dead at different times, and heard of them again, agree in the end', () => {
  const deadGraceMs = 24 * 3_600_000;
  const alice = idleSigner('alice').publicKey;
  const deathOf = (author: string) => (author === alice ? { since: 0, isGone: true } : null);
  const life = fc.array(fc.oneof(records, fc.constant('collect' as const)));
  const lives = fc.array(life, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(records, { maxLength: 30 }), lives, (last, first) => {
      const replicas = first.map((events) => {
        const replica = new Replica();
        for (const event of events)
          if (event === 'collect') replica.collectDead(deathOf, deadGraceMs, 1000);
          else replica.join(event);
        return replica;
      });
      const said = [...first.flat().filter((event) => event !== 'collect'), ...last];
      for (const replica of replicas) {
        for (const record of said) replica.join(record);
        replica.collectDead(deathOf, deadGraceMs, 1000);
        assert.deepEqual([...replica.ofAuthor(alice)], []);
        assert.equal(replica.root(), replicas[0]!.root());
      }
    }),
  );
});

test('what a replica says of its size is what it holds', () => {
  fc.assert(
    fc.property(fc.array(records, { maxLength: 60 }), (list) => {
      const replica = joined(list);
      replica.collect(48 * 3_600_000, 100);
      const everything = everythingIn(replica);
      const bytes = everything.reduce((sum, { text }) => sum + text.length, 0);
      const writers = replica.largestWriters(10);
      assert.equal(replica.totalBytes, bytes);
      assert.equal(replica.size, new Set(everything.map(slotOf)).size);
      assert.equal(
        writers.reduce((sum, writer) => sum + writer.bytes, 0),
        bytes,
      );
      assert.equal(
        writers.reduce((sum, writer) => sum + writer.records, 0),
        everything.length,
      );
    }),
  );
});

test('a hybrid logical clock only ever moves forward, whatever wall clock and peers say', () => {
  const second = 1000 * 1024;
  const action = fc.record({
    now: fc.integer({ min: 100_000, max: 200_000 }),
    seen: fc.option(fc.integer({ min: 0, max: 400 * second })),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 50 }), (actions) => {
      const clock = new HybridClock();
      let last = 0;
      for (const { now, seen } of actions) {
        let observed = 0;
        try {
          if (seen !== null) clock.observe(seen, now);
          observed = seen ?? 0;
        } catch {
          assert.ok(seen! / 1024 >= now + 60_000);
        }
        const next = clock.tick(now);
        assert.ok(next > last && next > observed);
        last = next;
      }
    }),
  );
});
