/** Versions as high as there are, signed with a host's own key: by its cloned disk, or by who stole the key. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, Fault, seededRandom } from '../../../../src/core.ts';
import { Gossip } from '../../../../src/gossip/gossip.ts';
import type { GossipEffect } from '../../../../src/gossip/port.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { slotOf } from '../../../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { admitAll, signerOf, verify } from '../mesh.ts';

const now = 1_800_000_000_000;
const signer = signerOf('self');
const value = encodeJson({ port: 80 });
const lastVersion = Number.MAX_SAFE_INTEGER;

function machine(epoch = 2): Gossip {
  const self = signer.publicKey;
  return new Gossip({ self, signer, verify, authority: admitAll, random: seededRandom(1), epoch });
}

function signed(kind: string, key: string, version: number, as = signer, scope: 'host' | 'policy' = 'host') {
  return encodeRecord({ scope, kind, key, version, hlc: now * 1024, value }, as);
}

/** Makes a write durable. */
function commit(gossip: Gossip, effects: readonly GossipEffect[]): void {
  for (const effect of effects)
    if (effect.type === 'persist' && effect.sync)
      for (const then of effect.then)
        if (then.type === 'commit') gossip.step({ type: 'durable', records: then.records }, now);
}

const alarmsIn = (effects: readonly GossipEffect[]) => effects.filter((effect) => effect.type === 'alarm');
const isStale = (error: unknown) => error instanceof Fault && error.code === 'stale-record' && !error.changed;

test('an own record of the last version there is costs its slot, is told of, and stops nothing else', () => {
  const gossip = machine();
  const poison = signed('service', 'web', lastVersion);
  const effects = gossip.step({ type: 'delta', bytes: encodeDelta([poison.bytes]) }, now);
  assert.deepEqual(alarmsIn(effects), [
    { type: 'alarm', code: 'version-exhausted', subject: signer.publicKey, detail: slotOf(poison) },
  ]);
  assert.throws(() => gossip.put('service', 'web', value, now), isStale);
  for (const key of ['mail', 'mail', 'api']) {
    const written = gossip.put('service', key, value, now);
    commit(gossip, written.effects);
    assert.equal(gossip.replica.get(slotOf(written.record)), written.record);
    assert.ok(written.record.version < 2 ** 52, 'versions go on where they were');
  }
});

test('a restart on top of such a record says so again, and goes on', () => {
  const poison = signed('service', 'web', lastVersion);
  const gossip = machine(3);
  const first = machine();
  const stored = first
    .step({ type: 'delta', bytes: encodeDelta([poison.bytes]) }, now)
    .flatMap((effect) => (effect.type === 'persist' ? effect.ops : []))
    .flatMap((op) => (op.type === 'put' ? [{ key: op.key, value: op.value }] : []));
  const { loaded, effects } = gossip.load(stored, now);
  assert.equal(loaded, 1);
  assert.equal(alarmsIn(effects).length, 1);
  gossip.start(now);
  assert.equal(gossip.put('service', 'mail', value, now).record.version, 3 * 2 ** 32 + 1);
});

test('a host that left, and whose lifecycle slot is lost, starts and leaves without a crash', () => {
  const gossip = machine();
  const said = encodeJson({ state: 'left', incarnation: 99 });
  const fields = {
    scope: 'host',
    kind: 'lifecycle',
    key: '',
    version: lastVersion,
    hlc: 1,
    value: said,
  } as const;
  gossip.step({ type: 'delta', bytes: encodeDelta([encodeRecord(fields, signer).bytes]) }, now);
  const rejoined = gossip
    .start(now)
    .some((effect) => effect.type === 'swim' && effect.order.type === 'rejoin');
  assert.ok(rejoined, 'membership climbs above the goodbye all the same');
  assert.throws(() => gossip.leave(now), isStale);
});

test('versions that a set-back store lacks are climbed over, up to the reserve and never into it', () => {
  const gossip = machine();
  const forgotten = signed('service', 'web', 900 * 2 ** 32);
  gossip.step({ type: 'delta', bytes: encodeDelta([forgotten.bytes]) }, now);
  assert.equal(gossip.put('service', 'web', value, now).record.version, forgotten.version + 1);
  const edge = signed('service', 'api', lastVersion - 2 ** 42);
  const beyond = signed('service', 'beyond', edge.version + 2);
  gossip.step({ type: 'delta', bytes: encodeDelta([edge.bytes, beyond.bytes]) }, now);
  assert.equal(gossip.put('service', 'api', value, now).record.version, edge.version + 1);
});

test('an operator whose numbers are used up may still write: the clock decides, not the number', () => {
  const gossip = machine();
  const operator = signerOf('operator');
  const last = signed('config-entry', 'a', lastVersion, operator, 'policy');
  gossip.step({ type: 'delta', bytes: encodeDelta([last.bytes]) }, now);
  for (let i = 0; i < 3; i++) {
    const fields = gossip.nextPolicyFields(operator.publicKey, now + 1 + i);
    assert.equal(fields.version, lastVersion);
    const next = encodeRecord(
      { scope: 'policy', kind: 'config-entry', key: 'a', ...fields, value },
      operator,
    );
    commit(gossip, gossip.putSigned(next, now + 1 + i).effects);
    assert.equal(gossip.replica.get('policy/config-entry/a'), next);
  }
});
