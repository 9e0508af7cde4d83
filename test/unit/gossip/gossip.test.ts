import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, Fault, seededRandom } from '../../../src/core.ts';
import { Gossip } from '../../../src/gossip/gossip.ts';
import type { GossipEffect } from '../../../src/gossip/port.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { parseLifecycle } from '../../../src/gossip/replica/lifecycle.ts';
import { slotOf } from '../../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../../src/gossip/spread/dissemination.ts';
import { admitAll, Mesh, signerOf, verify } from './mesh.ts';

const now = 1_800_000_000_000;
const signer = signerOf('self');
const value = encodeJson({ port: 80 });

function machine(epoch = 1, options: Partial<ConstructorParameters<typeof Gossip>[0]> = {}): Gossip {
  const random = seededRandom(1);
  return new Gossip({
    self: signer.publicKey,
    signer,
    verify,
    authority: admitAll,
    random,
    epoch,
    ...options,
  });
}

function persistOf(effects: readonly GossipEffect[]) {
  const effect = effects.find((found) => found.type === 'persist');
  assert.ok(effect?.type === 'persist');
  return effect;
}

/** Lets what a put asked for become durable. */
function settle(gossip: Gossip, effects: readonly GossipEffect[], at: number): readonly GossipEffect[] {
  return persistOf(effects).then.flatMap((effect) =>
    effect.type === 'commit' ? gossip.step({ type: 'durable', records: effect.records }, at) : [],
  );
}

test('a write is neither seen nor published before it is durable', () => {
  const gossip = machine();
  const { record, effects } = gossip.put('service', 'web', value, now);
  assert.deepEqual(
    effects.map((effect) => effect.type),
    ['persist'],
  );
  assert.equal(persistOf(effects).sync, true);
  assert.equal(gossip.replica.size, 0);
  const after = settle(gossip, effects, now + 2);
  assert.deepEqual(
    after.map((effect) => effect.type),
    ['applied', 'swim'],
    'membership learns of the new digest',
  );
  assert.equal(gossip.replica.get(slotOf(record)), record);
  const published = gossip.step({ type: 'wake' }, gossip.nextWake()!);
  assert.deepEqual(
    published.map((effect) => effect.type),
    ['publish'],
  );
});

test('a delta is applied and persisted; a bad record in it costs no other, a forged one all that follow', () => {
  const gossip = machine();
  const author = signerOf('other');
  const fields = { scope: 'host', kind: 'service', version: 1, hlc: now * 1024, value } as const;
  const good = ['a', 'b', 'd'].map((key) => encodeRecord({ ...fields, key }, author).bytes);
  const forged = encodeRecord({ ...fields, key: 'c' }, { ...author, sign: () => new Uint8Array(64) }).bytes;
  const bytes = encodeDelta([good[0]!, new Uint8Array([9]), good[1]!, forged, forged, good[2]!]);
  const effects = gossip.step({ type: 'delta', bytes }, now);
  assert.deepEqual(
    effects.map((effect) => effect.type),
    ['persist', 'applied', 'swim'],
  );
  assert.equal(persistOf(effects).ops.length, 2);
  assert.deepEqual([...gossip.stats().recordsRefused].sort(), [
    ['bad-signature', 1],
    ['unknown-format', 1],
  ]);
});

test('garbage in place of a frame or a delta is counted and harms nothing', () => {
  const gossip = machine();
  assert.deepEqual(gossip.step({ type: 'delta', bytes: new Uint8Array([7, 7]) }, now), []);
  assert.deepEqual(gossip.step({ type: 'frame', from: 'ab', bytes: new Uint8Array([7]) }, now), []);
  assert.equal(gossip.stats().badFrames, 2);
});

test('what was persisted is restored: records, members and floors, but nothing that is broken', () => {
  const first = machine(1);
  const other = signerOf('other');
  const admission = machine(0, { self: other.publicKey, signer: other }).put(
    'admission',
    '',
    value,
    now,
  ).record;
  const put = first.put('service', 'web', value, now);
  const stored = [...persistOf(put.effects).ops, ...persistOf(first.offer(admission.bytes, now).effects).ops];
  const entries = stored.flatMap((op) => (op.type === 'put' ? [{ key: op.key, value: op.value }] : []));
  entries.push({ key: `record/host/${other.publicKey}/service/x`, value: new Uint8Array(5) });
  entries.push({ key: `record/host/${other.publicKey}/service/y`, value: entries[0]!.value });
  entries.push({ key: `floor/${signer.publicKey}`, value: new Uint8Array([9]) });
  const second = machine(2);
  const { loaded, dropped, effects } = second.load(entries, now);
  assert.deepEqual([loaded, dropped], [2, 2]);
  assert.equal(second.replica.floorOf(signer.publicKey), 9);
  assert.ok(effects.some((effect) => effect.type === 'member' && effect.member.id === other.publicKey));
  assert.equal(second.member(other.publicKey)?.state, 'alive');
  assert.ok(second.put('service', 'web', value, now).record.version > put.record.version);
});

test('a restored record whose signature is wrong is dropped when asked to look', () => {
  const forged = encodeRecord(
    { scope: 'host', kind: 'service', key: 'a', version: 1, hlc: 1, value },
    { ...signer, sign: () => new Uint8Array(64) },
  );
  const entries = [{ key: `record/${slotOf(forged)}`, value: forged.bytes }];
  assert.equal(machine().load(entries, now, { reverify: true }).dropped, 1);
  assert.equal(machine().load(entries, now).dropped, 0);
});

test('limits are told as faults, with nothing changed', () => {
  const gossip = machine();
  const code = (expected: string) => (error: unknown) => error instanceof Fault && error.code === expected;
  assert.throws(() => gossip.put('service', 'x', new Uint8Array(40_000), now), code('value-too-large'));
  assert.throws(() => gossip.put('Service', 'x', value, now), code('invalid-kind'));
  assert.throws(() => machine(-1), code('invalid-epoch'));
  assert.equal(gossip.nextWake(), null);
});

test('policy signed by an operator is written like an own record, unless the mesh would refuse it', () => {
  const operator = signerOf('operator');
  const gossip = machine(1, {
    authority: {
      judge: (record) =>
        record.author === operator.publicKey ? null : { code: 'not-an-operator', later: false },
    },
  });
  const fields = { scope: 'policy', kind: 'config-entry', key: 'a', value } as const;
  const record = encodeRecord({ ...fields, ...gossip.nextPolicyFields(operator.publicKey, now) }, operator);
  const { effects } = gossip.putSigned(record, now);
  settle(gossip, effects, now);
  assert.equal(gossip.replica.get('policy/config-entry/a'), record);
  const code = (expected: string) => (error: unknown) => error instanceof Fault && error.code === expected;
  assert.throws(() => gossip.putSigned(record, now), code('known-record'));
  const older = encodeRecord({ ...fields, version: 1, hlc: 1 }, operator);
  assert.throws(() => gossip.putSigned(older, now), code('stale-record'));
  const stranger = encodeRecord(
    { ...fields, ...gossip.nextPolicyFields(signerOf('stranger').publicKey, now) },
    signerOf('stranger'),
  );
  assert.throws(() => gossip.putSigned(stranger, now), code('not-an-operator'));
});

test('of two policies on their way to the disk at once, both are on it in the end', () => {
  const operator = signerOf('operator');
  const gossip = machine();
  const store = new Map<string, Uint8Array>();
  const save = (effects: readonly GossipEffect[]) => {
    for (const effect of effects)
      if (effect.type === 'persist')
        for (const op of effect.ops) if (op.type === 'put') store.set(op.key, op.value);
  };
  const records = ['first', 'second'].map((text) => {
    const fields = { scope: 'policy', kind: 'config-entry', key: 'a', value: encodeJson(text) } as const;
    return encodeRecord({ ...fields, ...gossip.nextPolicyFields(operator.publicKey, now) }, operator);
  });
  assert.deepEqual(
    records.map(({ version }) => version),
    [1, 2],
  );
  for (const record of records) save(gossip.putSigned(record, now).effects);
  for (const record of records) save(gossip.step({ type: 'durable', records: [record] }, now));
  const restored = machine(2);
  restored.load(
    [...store].map(([key, value]) => ({ key, value })),
    now,
  );
  assert.equal(restored.replica.get('policy/config-entry/a')?.text, records[1]!.text);
  assert.deepEqual(
    restored.replica.history('policy/config-entry/a').map(({ text }) => text),
    [records[0]!.text],
  );
});

test('a parked record enters in the step after the one that admitted its author', () => {
  const admitted = new Set<string>();
  const gossip = machine(1, {
    authority: {
      judge: (record) =>
        record.kind === 'admission' || admitted.has(record.author)
          ? null
          : { code: 'not-admitted', later: true },
    },
  });
  const other = signerOf('other');
  const fields = { scope: 'host', hlc: 1, value } as const;
  const service = encodeRecord({ ...fields, kind: 'service', key: 'web', version: 2 }, other);
  const admission = encodeRecord({ ...fields, kind: 'admission', key: '', version: 1 }, other);
  const effects = gossip.step({ type: 'delta', bytes: encodeDelta([service.bytes, admission.bytes]) }, now);
  assert.equal(gossip.stats().parked, 1);
  for (const effect of effects)
    if (effect.type === 'applied') for (const record of effect.records) admitted.add(record.author);
  assert.equal(gossip.nextWake(), now);
  gossip.step({ type: 'wake' }, now);
  assert.equal(gossip.replica.get(slotOf(service))?.version, 2);
  assert.equal(gossip.stats().parked, 0);
});

test('an equivocating writer is named in an alarm', () => {
  const gossip = machine();
  const other = signerOf('other');
  const fields = { scope: 'host', kind: 'service', key: 'web', version: 1, hlc: 1 } as const;
  const bytes = [1, 2].map((n) => encodeRecord({ ...fields, value: encodeJson(n) }, other).bytes);
  const alarms = gossip
    .step({ type: 'delta', bytes: encodeDelta(bytes) }, now)
    .filter(({ type }) => type === 'alarm');
  assert.deepEqual(alarms, [
    {
      type: 'alarm',
      code: 'equivocation',
      subject: other.publicKey,
      detail: `host/${other.publicKey}/service/web`,
    },
  ]);
});

test('a goodbye is published the moment it is durable', () => {
  const gossip = machine();
  const { record, effects } = gossip.leave(now);
  const after = settle(gossip, effects, now + 1);
  assert.deepEqual(
    after.map((effect) => effect.type),
    ['applied', 'publish', 'swim', 'swim'],
  );
  assert.deepEqual(parseLifecycle(record), { state: 'left', incarnation: gossip.incarnation + 16 });
});

test('thirty hosts agree on what all of them wrote, by publication', () => {
  const mesh = new Mesh({ seed: 1, size: 30 });
  mesh.run(2000);
  for (const host of mesh.hosts) mesh.put(host, 'service', 'web', { host: host.id });
  mesh.run(100);
  assert.ok(mesh.converged());
  assert.equal(
    [...mesh.host(7).gossip.replica.records()].filter(({ kind }) => kind === 'service').length,
    30,
  );
});

test('thirty hosts agree by anti-entropy alone when nothing that is published arrives', () => {
  const mesh = new Mesh({ seed: 2, size: 30, publishing: false });
  mesh.run(2000);
  for (const host of mesh.hosts) mesh.put(host, 'service', 'web', { host: host.id });
  mesh.run(5);
  const took = mesh.until(() => mesh.converged(), 20_000);
  assert.ok(took !== null && took < 10_000, `${took} ms`);
});

test('a killed process is known down by all in about a second, and back as soon as it is', () => {
  for (const [seed, size] of [
    [1, 3],
    [2, 10],
    [3, 30],
  ] as const) {
    const mesh = new Mesh({ seed, size });
    mesh.run(5000);
    const victim = mesh.host(1);
    const others = mesh.hosts.filter((host) => host !== victim);
    mesh.kill(victim);
    const took = mesh.until(() => others.every((host) => mesh.stateOf(host, victim) === 'down'), 10_000);
    assert.ok(took !== null && took <= 1500, `${size} hosts took ${took} ms`);
    mesh.restart(victim);
    const back = mesh.until(() => others.every((host) => mesh.stateOf(host, victim) === 'alive'), 10_000);
    assert.ok(back !== null && back <= 1500, `${size} hosts took ${back} ms to see it back`);
  }
});

test('an unplugged host is found down in seconds, and found again when it is plugged in', () => {
  const mesh = new Mesh({ seed: 4, size: 20 });
  mesh.run(5000);
  const lost = mesh.host(0);
  const others = mesh.hosts.filter((host) => host !== lost);
  mesh.passes = (from, to) => from !== lost.id && to !== lost.id;
  const took = mesh.until(() => others.every((host) => mesh.stateOf(host, lost) === 'down'), 20_000);
  assert.ok(took !== null && took <= 5000, `${took} ms`);
  mesh.run(20_000);
  mesh.passes = () => true;
  const healed = () =>
    mesh.hosts.every((host) =>
      others.every((other) => other === host || mesh.stateOf(host, other) === 'alive'),
    );
  assert.notEqual(mesh.until(healed, 30_000), null);
});

test('a tenth of all datagrams lost makes nobody’s death in ten minutes', () => {
  const mesh = new Mesh({ seed: 5, size: 10, loss: 0.1 });
  mesh.run(600_000);
  assert.deepEqual(
    mesh.observations.filter(({ state }) => state === 'down'),
    [],
  );
});

test('a partition heals: both halves find each other again and agree on what both wrote', () => {
  const mesh = new Mesh({ seed: 6, size: 16 });
  mesh.run(5000);
  const left = new Set(mesh.hosts.slice(0, 8).map((host) => host.id));
  mesh.passes = (from, to) => left.has(from) === left.has(to);
  mesh.run(30_000);
  assert.equal(mesh.stateOf(mesh.host(0), mesh.host(12)), 'down');
  mesh.put(mesh.host(0), 'service', 'left', {});
  mesh.put(mesh.host(12), 'service', 'right', {});
  mesh.run(1000);
  mesh.passes = () => true;
  const whole = () =>
    mesh.converged() &&
    mesh.hosts.every((a) => mesh.hosts.every((b) => a === b || mesh.stateOf(a, b) === 'alive'));
  const took = mesh.until(whole, 60_000);
  assert.ok(took !== null && took < 30_000, `${took} ms`);
});

test('hosts that freeze again and again accuse no healthy one', () => {
  const mesh = new Mesh({ seed: 7, size: 20 });
  mesh.run(5000);
  const frozen = mesh.hosts.slice(0, 5);
  for (let round = 0; round < 6; round++) {
    for (const host of frozen) host.frozen = true;
    mesh.run(8000);
    for (const host of frozen) mesh.thaw(host);
    mesh.run(200);
  }
  const sick = new Set(frozen.map((host) => host.id));
  const wronged = mesh.observations.filter(({ state, member }) => state === 'down' && !sick.has(member));
  assert.deepEqual(wronged, []);
});

test('a host that leaves is known to have left, not to be down, and comes back when it starts again', () => {
  const mesh = new Mesh({ seed: 8, size: 8 });
  mesh.run(3000);
  const leaver = mesh.host(2);
  const others = mesh.hosts.filter((host) => host !== leaver);
  mesh.perform(leaver, leaver.gossip.leave(mesh.now).effects);
  assert.notEqual(
    mesh.until(() => others.every((host) => mesh.stateOf(host, leaver) === 'left'), 1000),
    null,
  );
  mesh.kill(leaver);
  mesh.run(20_000);
  assert.ok(others.every((host) => mesh.stateOf(host, leaver) === 'left'));
  mesh.restart(leaver);
  assert.notEqual(
    mesh.until(() => others.every((host) => mesh.stateOf(host, leaver) === 'alive'), 3000),
    null,
  );
});

test('a deletion that a straggler slept through is repeated by its author, and wins', () => {
  const mesh = new Mesh({ seed: 9, size: 4 });
  mesh.run(3000);
  const [author, straggler] = [mesh.host(0), mesh.host(3)];
  mesh.put(author, 'service', 'old', {});
  mesh.run(500);
  const slot = slotOf({ scope: 'host', author: author.id, kind: 'service', key: 'old' });
  assert.ok(straggler.gossip.replica.get(slot));
  mesh.kill(straggler);
  mesh.run(2000);
  mesh.put(author, 'service', 'old', null);
  mesh.run(500);
  mesh.now += 26 * 3_600_000;
  mesh.run(5000);
  assert.equal(author.gossip.replica.get(slot), undefined, 'the tombstone was collected');
  mesh.restart(straggler);
  const gone = () =>
    mesh.hosts.every((host) => host.gossip.replica.get(slot)?.deleted !== false) && mesh.converged();
  assert.notEqual(mesh.until(gone, 60_000), null);
  assert.equal(straggler.gossip.replica.get(slot)?.deleted, true);
});

test('two runs of one seed are the same run', () => {
  const trace = () => {
    const mesh = new Mesh({ seed: 11, size: 12, loss: 0.1 });
    mesh.run(20_000);
    mesh.kill(mesh.host(3));
    mesh.run(5000);
    return { frames: mesh.framesSent, observations: mesh.observations };
  };
  assert.deepEqual(trace(), trace());
});

test('every agent can tell the round trip between any two others', () => {
  const mesh = new Mesh({ seed: 11, size: 5, delayMs: 20 });
  mesh.run(60_000);
  const [first, second, third] = mesh.hosts.map(({ id }) => id);
  for (const { gossip } of mesh.hosts) {
    const estimateMs = gossip.estimateMs(second!, third!);
    assert.ok(estimateMs !== null && estimateMs > 20 && estimateMs < 60, `${estimateMs} ms`);
    assert.equal(gossip.estimateMs(first!, first!), 0);
  }
});
