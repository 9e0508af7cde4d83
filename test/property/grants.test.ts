/** A grant that somebody revoked stays revoked, whatever else is written of it, on every host alike. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, type Signer } from '../../src/core.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import { type Record, slotOf } from '../../src/gossip/replica/record.ts';
import { compareRecords, maxOlderVersions, Replica } from '../../src/gossip/replica/replica.ts';
import { encodeGrant, joinGrants, parseGrant } from '../../src/trust/admission/grant.ts';
import { finalityOf } from '../../src/trust/finality.ts';
import { TrustState } from '../../src/trust/state.ts';
import { genesis, hlcOf, makeGrant, operator, signerOf, startedAt } from '../unit/trust/mesh.ts';

const grants = [makeGrant('one'), makeGrant('two', { services: ['api'] })];
const operators: readonly Signer[] = [operator, signerOf('second operator')];

/** One grant written once more, by one of two operators at some time, with a revocation or without. */
const writing: fc.Arbitrary<Record> = fc
  .record({
    grant: fc.constantFrom(...grants),
    by: fc.constantFrom(...operators),
    hlc: fc.integer({ min: 1, max: 40 }),
    revokedAt: fc.option(fc.integer({ min: startedAt, max: startedAt + 3 })),
  })
  .map(({ grant, by, hlc, revokedAt }) =>
    encodeRecord(
      {
        scope: 'policy',
        kind: 'grant',
        key: grant.id,
        version: hlc,
        hlc: hlcOf(startedAt) + hlc,
        value: encodeGrant({ ...grant, revokedAt }),
      },
      by,
    ),
  );
const writings = fc.array(writing, { maxLength: 40 });

/** What one host makes of records that reach it in this order: its replica, and what the winners amount to. */
function heard(order: readonly Record[]) {
  const replica = new Replica({ finality: finalityOf });
  const trust = new TrustState(genesis, ed25519Verify);
  for (const record of order) if (replica.join(record) === 'applied') trust.apply(record);
  return { replica, trust };
}

const shuffled = writings.chain((list) =>
  fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
);

test('two hosts that heard the same of grants, in whatever order, hold the same and judge alike', () => {
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const [one, two] = [heard(list), heard(other)];
      assert.equal(one.replica.root(), two.replica.root());
      assert.deepEqual(one.trust.allGrants(), two.trust.allGrants());
    }),
  );
});

test('a grant is revoked from the earliest revocation on that anybody wrote, whatever was written later', () => {
  fc.assert(
    fc.property(writings, (list) => {
      const { replica, trust } = heard(list);
      for (const { id } of grants) {
        const told = list.filter(({ key }) => key === id).map(({ value, key }) => parseGrant(value, key));
        if (told.length === 0) continue;
        const times = told.flatMap(({ revokedAt }) => (revokedAt === null ? [] : [revokedAt]));
        const revokedAt = times.length === 0 ? null : Math.min(...times);
        assert.equal(trust.grant(id)?.revokedAt, revokedAt);
        const held = replica.get(slotOf({ scope: 'policy', author: '', kind: 'grant', key: id }))!;
        assert.equal(parseGrant(held.value, id).revokedAt, revokedAt);
      }
    }),
  );
});

test('no step of a host that takes records in ever makes a revoked grant valid', () => {
  fc.assert(
    fc.property(writings, (list) => {
      const replica = new Replica({ finality: finalityOf });
      const trust = new TrustState(genesis, ed25519Verify);
      const revoked = new Set<string>();
      for (const record of list) {
        if (replica.join(record) === 'applied') trust.apply(record);
        for (const { id, revokedAt } of trust.allGrants()) {
          assert.ok(revokedAt !== null || !revoked.has(id));
          if (revokedAt !== null) revoked.add(id);
        }
      }
    }),
  );
});

test('a host that starts from another’s replica, history and all, judges as the other does', () => {
  fc.assert(
    fc.property(writings, (list) => {
      const one = heard(list);
      const newcomer = heard([...one.replica.foundationFirst()]);
      assert.equal(newcomer.replica.root(), one.replica.root());
      assert.deepEqual(newcomer.trust.allGrants(), one.trust.allGrants());
    }),
  );
});

test('trust alone, without a replica that orders for it, joins grants in any order', () => {
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const states = [list, other].map((order) => {
        const trust = new TrustState(genesis, ed25519Verify);
        for (const record of order) trust.apply(record);
        return trust.allGrants();
      });
      assert.deepEqual(states[0], states[1]);
    }),
  );
});

test('the order of grants is total and antisymmetric, and a revoked one is above any that is not', () => {
  fc.assert(
    fc.property(writing, writing, (a, b) => {
      const order = compareRecords(a, b, finalityOf);
      assert.equal(Math.sign(order) + Math.sign(compareRecords(b, a, finalityOf)), 0);
      assert.equal(order === 0, a.text === b.text);
      const isRevoked = (record: Record) => parseGrant(record.value, record.key).revokedAt !== null;
      if (isRevoked(a) && !isRevoked(b)) assert.ok(order > 0);
    }),
  );
});

test('a revocation is not pushed out of the history by any number of later writings', () => {
  const grant = grants[0]!;
  const write = (hlc: number, revokedAt: number | null): Record =>
    encodeRecord(
      {
        scope: 'policy',
        kind: 'grant',
        key: grant.id,
        version: hlc,
        hlc,
        value: encodeGrant({ ...grant, revokedAt }),
      },
      operator,
    );
  const revocation = write(1, startedAt);
  const later = Array.from({ length: 3 * maxOlderVersions }, (_, i) => write(i + 2, null));
  for (const order of [
    [revocation, ...later],
    [...later, revocation],
  ]) {
    const { replica, trust } = heard(order);
    assert.equal(replica.get(slotOf(revocation)), revocation);
    assert.equal(trust.grant(grant.id)?.revokedAt, startedAt);
  }
});

test('only a revoked grant is final: no other kind, no other scope, nothing that cannot be read', () => {
  const grant = { ...grants[0]!, revokedAt: startedAt };
  const value = encodeGrant(grant);
  const said = {
    scope: 'policy',
    author: operator.publicKey,
    kind: 'grant',
    key: grant.id,
    hlc: 1,
    deleted: false,
  } as const;
  assert.ok(finalityOf({ ...said, value }) > 0);
  for (const other of [
    { kind: 'config-entry' },
    { scope: 'host' as const },
    { key: 'f'.repeat(16) },
    { deleted: true, value: new Uint8Array(0) },
    { value: new Uint8Array([1, 2, 3]) },
    { value: encodeGrant(grants[0]!) },
  ])
    assert.equal(finalityOf({ ...said, value, ...other }), 0);
});

test('grants join like sets do: in any order and grouping, and twice is once', () => {
  const revokedAt = fc.option(fc.integer({ min: startedAt, max: startedAt + 3 }));
  const grant = revokedAt.map((at) => ({ ...grants[0]!, revokedAt: at }));
  fc.assert(
    fc.property(grant, grant, grant, (a, b, c) => {
      assert.deepEqual(joinGrants(a, b), joinGrants(b, a));
      assert.deepEqual(joinGrants(joinGrants(a, b), c), joinGrants(a, joinGrants(b, c)));
      assert.deepEqual(joinGrants(a, a), a);
    }),
  );
});
