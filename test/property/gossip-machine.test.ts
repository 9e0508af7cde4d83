import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeJson, seededRandom } from '../../src/core.ts';
import { encodeFrame } from '../../src/gossip/framecodec.ts';
import { Gossip } from '../../src/gossip/gossip.ts';
import type { GossipInput } from '../../src/gossip/port.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { frames } from '../unit/gossip/arbitraries.ts';
import { idleSigner, makeRecord } from '../unit/gossip/records.ts';

const now = 1_800_000_000_000;
const peers = ['alice', 'bob', 'carol'].map((name) => idleSigner(name).publicKey);
const peer = fc.constantFrom(...peers);
const records = fc
  .array(
    fc.record({
      author: fc.constantFrom('alice', 'bob'),
      kind: fc.constantFrom('admission', 'lifecycle', 'service'),
      key: fc.constantFrom('', 'web'),
      version: fc.integer({ min: 1, max: 4 }),
      value: fc.constantFrom<unknown>(
        { state: 'left', incarnation: 3 },
        { state: 'active', incarnation: 4 },
        'x',
        null,
      ),
      deleted: fc.boolean(),
    }),
    { maxLength: 4 },
  )
  .map((list) => list.map((fields) => makeRecord(fields).bytes));
const session = fc.integer({ min: 0, max: 2 });
const inputs: fc.Arbitrary<GossipInput> = fc.oneof(
  fc.record({ type: fc.constant('frame' as const), from: peer, bytes: frames.map(encodeFrame) }),
  fc.record({
    type: fc.constant('frame' as const),
    from: peer,
    bytes: fc
      .record({ session, last: fc.boolean(), records })
      .map((fields) => encodeFrame({ type: 'sync-records', ...fields })),
  }),
  fc.record({
    type: fc.constant('frame' as const),
    from: peer,
    bytes: session.map((id) => encodeFrame({ type: 'sync-open', session: id, buckets: null })),
  }),
  fc.record({ type: fc.constant('frame' as const), from: peer, bytes: fc.uint8Array({ maxLength: 100 }) }),
  fc.record({
    type: fc.constant('delta' as const),
    bytes: fc.oneof(records.map(encodeDelta), fc.uint8Array()),
  }),
  fc.record({ type: fc.constantFrom('connected', 'disconnected', 'unreachable' as const), peer }),
  fc.record({ type: fc.constant('wake' as const) }),
);

function machine(): Gossip {
  const signer = idleSigner('self');
  return new Gossip({
    self: signer.publicKey,
    signer,
    verify: () => true,
    authority: { judge: (record) => (record.version === 4 ? { code: 'not-yet', later: true } : null) },
    random: seededRandom(1),
    epoch: 1,
  });
}

test('whatever peers send, in whatever order and at whatever time, the machine neither throws nor runs away', () => {
  const step = fc.record({ input: inputs, afterMs: fc.integer({ min: 0, max: 2000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const gossip = machine();
      gossip.put('service', 'own', encodeJson({}), now);
      let at = now;
      for (const { input, afterMs } of steps) {
        const end = at + afterMs;
        for (let due = gossip.nextWake(), wakes = 0; due !== null && due <= end; due = gossip.nextWake()) {
          at = Math.max(at, due);
          gossip.step({ type: 'wake' }, at);
          assert.ok(++wakes < 2000, 'wakes without end');
        }
        at = end;
        const effects = gossip.step(input, at);
        assert.ok(effects.length < 100, `${effects.length} effects of one input`);
      }
      assert.ok(gossip.stats().syncSessions <= 5);
    }),
    { numRuns: 200 },
  );
});

test('what was applied is what is persisted, and loading it restores the very same replica', () => {
  fc.assert(
    fc.property(fc.array(records, { maxLength: 12 }), (deltas) => {
      const store = new Map<string, Uint8Array>();
      const gossip = machine();
      for (const delta of deltas)
        for (const effect of gossip.step({ type: 'delta', bytes: encodeDelta(delta) }, now))
          if (effect.type === 'persist')
            for (const op of effect.ops)
              if (op.type === 'put') store.set(op.key, op.value);
              else store.delete(op.key);
      const restored = machine();
      restored.load(
        [...store].map(([key, value]) => ({ key, value })),
        now,
      );
      assert.equal(restored.replica.root(), gossip.replica.root());
      assert.deepEqual(
        [...restored.members()].map(({ id }) => id).sort(),
        [...gossip.members()].map(({ id }) => id).sort(),
      );
    }),
  );
});
