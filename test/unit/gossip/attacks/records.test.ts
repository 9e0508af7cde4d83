/** Records that are forged, replayed, contradictory, from the future or without end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, seededRandom, type Verify } from '../../../../src/core.ts';
import { encodeFrame } from '../../../../src/gossip/framecodec.ts';
import type { SyncFrame } from '../../../../src/gossip/frames.ts';
import { Gossip } from '../../../../src/gossip/gossip.ts';
import { defaultGossipParameters } from '../../../../src/gossip/parameters.ts';
import type { Authority } from '../../../../src/gossip/port.ts';
import { encodeRecord, type RecordFields } from '../../../../src/gossip/replica/codec.ts';
import { HybridClock } from '../../../../src/gossip/replica/hlc.ts';
import { Intake } from '../../../../src/gossip/replica/intake.ts';
import { defaultReplicaLimits, othersSlack, Replica } from '../../../../src/gossip/replica/replica.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { Mesh, type MeshHost } from '../mesh.ts';
import { idleSigner, makeRecord } from '../records.ts';

const now = 1_800_000_000_000;

function intakeOf(options: { authority?: Authority; verify?: Verify } = {}) {
  const replica = new Replica();
  let verified = 0;
  const reports: string[] = [];
  const intake = new Intake({
    vitalKinds: new Set(),
    replica,
    clock: new HybridClock(),
    verify: (...given) => {
      verified++;
      return options.verify?.(...given) ?? true;
    },
    authority: options.authority ?? { judge: () => null },
    parameters: defaultGossipParameters,
    onEquivocation: (author) => reports.push(author),
  });
  return { replica, intake, reports, verified: () => verified };
}

function fieldsOf(mesh: Mesh, some: Partial<RecordFields>): RecordFields {
  const value = encodeJson({ port: 80 });
  return {
    scope: 'host',
    kind: 'service',
    key: 'web',
    version: 2 ** 33,
    hlc: mesh.now * 1024,
    value,
    ...some,
  };
}

function hand(mesh: Mesh, to: MeshHost, ...records: readonly Uint8Array[]): void {
  mesh.feed(to, { type: 'delta', bytes: encodeDelta(records) });
}

test('two truths of one writer: everybody settles on the same one, and names the writer', () => {
  for (const seed of [1, 2, 3]) {
    const mesh = new Mesh({ seed, size: 9 });
    mesh.run(3000);
    const writer = mesh.host(8);
    const faces = [1, 2].map((port) =>
      encodeRecord(fieldsOf(mesh, { value: encodeJson({ port }) }), writer.signer),
    );
    for (const [i, host] of mesh.hosts.slice(0, 8).entries()) hand(mesh, host, faces[(i + seed) % 2]!.bytes);
    assert.notEqual(
      mesh.until(() => mesh.converged(), 60_000),
      null,
    );
    const held = new Set(
      mesh.hosts.map((host) => host.gossip.replica.get(`host/${writer.id}/service/web`)?.text),
    );
    const winner = faces[0]!.text > faces[1]!.text ? faces[0]! : faces[1]!;
    assert.deepEqual([...held], [winner.text], 'the winner does not depend on who heard what first');
    assert.ok(mesh.alarms.length > 0);
    for (const { code, subject } of mesh.alarms)
      assert.deepEqual([code, subject], ['equivocation', writer.id]);
  }
});

test('a known equivocator’s further truths cost no verification, unless they win', () => {
  const { intake, reports, verified } = intakeOf();
  const texts = Array.from({ length: 50 }, (_, value) => makeRecord({ version: 5, value }));
  const inOrder = texts.toSorted((a, b) => (a.text < b.text ? 1 : -1));
  for (const { bytes } of [...inOrder, ...inOrder]) intake.accept(bytes, now);
  assert.equal(verified(), 2);
  assert.equal(reports.length, 1);
});

test('replayed records, newest last or first, change nothing and cost no verification', () => {
  const { intake, replica, verified } = intakeOf();
  const history = Array.from({ length: 100 }, (_, i) => makeRecord({ version: i + 1, value: i }).bytes);
  for (const bytes of history) intake.accept(bytes, now);
  const root = replica.root();
  for (const bytes of [...history, ...history.toReversed(), ...history]) intake.accept(bytes, now);
  assert.equal(verified(), 100);
  assert.equal(replica.root(), root);
});

test('a deleted record that is replayed after its tombstone was collected stays away', () => {
  const replica = { ...defaultReplicaLimits, tombstoneKeepMs: 60_000 };
  const mesh = new Mesh({ seed: 4, size: 3, parameters: { ...defaultGossipParameters, replica } });
  mesh.run(3000);
  const writer = mesh.host(0);
  const slot = `host/${writer.id}/service/web`;
  mesh.put(writer, 'service', 'web', { port: 80 });
  mesh.run(1000);
  const old = mesh.host(1).gossip.replica.get(slot)!.bytes;
  mesh.put(writer, 'service', 'web', null);
  mesh.run(65 * 60_000);
  assert.equal(mesh.host(1).gossip.replica.get(slot), undefined, 'the tombstone was collected');
  for (const host of mesh.hosts) hand(mesh, host, old);
  mesh.run(10_000);
  for (const host of mesh.hosts) assert.ok(host.gossip.replica.get(slot)?.deleted ?? true);
});

test('records from the future are refused, and those from as far ahead as is believed move no clock past it', () => {
  const mesh = new Mesh({ seed: 7, size: 4 });
  mesh.run(3000);
  const [victim, liar] = mesh.hosts as [MeshHost, MeshHost];
  const ahead = (key: string, hlc: number) => encodeRecord(fieldsOf(mesh, { key, hlc }), liar.signer).bytes;
  const near = (mesh.now + 59_000) * 1024;
  hand(mesh, victim, ahead('far', (mesh.now + 61_000) * 1024), ahead('last', Number.MAX_SAFE_INTEGER));
  assert.equal(victim.gossip.stats().recordsRefused.get('clock-ahead'), 2);
  for (let i = 0; i < 100; i++) hand(mesh, victim, ahead(`near ${i}`, near));
  mesh.put(victim, 'service', 'mine', { port: 1 });
  mesh.run(1000);
  const mine = `host/${victim.id}/service/mine`;
  for (const host of mesh.hosts)
    assert.ok(host.gossip.replica.get(mine), 'an honest write is taken everywhere');
  assert.ok(victim.gossip.replica.get(mine)!.hlc < near + 1024);
});

test('keys without end by one signer fill its share, in time and in bytes, and nobody else’s', () => {
  const { intake, replica, verified } = intakeOf();
  const { hostEntries, hostBytes } = defaultReplicaLimits;
  let version = 0;
  for (let i = 0; i < 20_000; i++) {
    version++;
    intake.accept(makeRecord({ key: `key ${i}`, version }).bytes, now + i * 100);
  }
  assert.equal(replica.size, othersSlack * hostEntries);
  assert.equal(verified(), replica.size);
  const large = 'x'.repeat(30_000);
  for (let i = 0; i < 2000; i++) {
    version++;
    const record = makeRecord({ author: 'bob', key: `key ${i}`, version, value: large });
    intake.accept(record.bytes, now + i * 100);
  }
  const [most] = replica.largestWriters(1);
  assert.ok(most!.bytes <= othersSlack * hostBytes && most!.bytes > othersSlack * hostBytes - 40_000);
  const honest = makeRecord({ author: 'carol' });
  assert.equal(intake.accept(honest.bytes, now).outcome, 'applied');
});

test('records of keys made up by the thousand cost a bounded number of verifications and places', () => {
  const admitted = new Set([makeRecord({ author: 'bob' }).author]);
  const authority: Authority = {
    judge: ({ author }) => (admitted.has(author) ? null : { code: 'not-admitted', later: true }),
  };
  const { intake, verified } = intakeOf({ authority });
  for (let i = 0; i < 10_000; i++) intake.accept(makeRecord({ author: `nobody ${i}` }).bytes, now);
  assert.equal(verified(), 4096);
  assert.ok(intake.parking.size <= defaultGossipParameters.maxParked);
  const later = now + 1000;
  for (let i = 0; i < 10_000; i++) intake.accept(makeRecord({ author: `nothing ${i}` }).bytes, later);
  assert.equal(verified(), 4096 + 200);
  admitted.add(makeRecord({ author: 'carol' }).author);
  assert.equal(intake.accept(makeRecord({ author: 'carol' }).bytes, later + 5).outcome, 'applied');
});

/** Nobody is admitted but who is in `admitted`. */
function closed(admitted: ReadonlySet<string>): Authority {
  return {
    judge: ({ author }) => (admitted.has(author) ? null : { code: 'not-admitted', later: true }),
  };
}

test('records of made-up keys keep nobody who joins from being heard of', () => {
  const joiner = makeRecord({ author: 'joiner', kind: 'admission', key: '' });
  const { intake, verified } = intakeOf({ authority: closed(new Set([joiner.author])) });
  for (let i = 0; i < 10_000; i++) intake.accept(makeRecord({ author: `nobody ${i}` }).bytes, now);
  assert.equal(intake.accept(joiner.bytes, now).outcome, 'applied');
  assert.equal(verified(), 4096 + 1);
});

test('admissions of made-up keys by the thousand keep none out that a joiner hands over, or an honest peer holds', () => {
  const [asks, synced] = ['asks', 'synced'].map((author) =>
    makeRecord({ author, kind: 'admission', key: '' }),
  );
  const { intake, verified } = intakeOf({ authority: closed(new Set([asks!.author, synced!.author])) });
  for (let i = 0; i < 10_000; i++)
    intake.accept(makeRecord({ author: `nobody ${i}`, kind: 'admission', key: '' }).bytes, now);
  assert.equal(verified(), 4096);
  assert.equal(intake.accept(asks!.bytes, now, 'offer').outcome, 'applied');
  assert.equal(intake.accept(synced!.bytes, now, { peer: 'honest' }).outcome, 'applied');
});

test('a peer that passes made-up keys on in sessions uses up its own allowance, and no other peer’s', () => {
  const admitted = ['one', 'two', 'three'].map((author) => makeRecord({ author }));
  const { intake, verified } = intakeOf({ authority: closed(new Set(admitted.map(({ author }) => author))) });
  const [first, second, third] = admitted;
  for (let i = 0; i < 10_000; i++)
    intake.accept(makeRecord({ author: `nobody ${i}` }).bytes, now, { peer: 'liar' });
  assert.equal(verified(), 4096);
  assert.equal(intake.accept(first!.bytes, now, { peer: 'liar' }).outcome, 'refused');
  assert.equal(intake.accept(first!.bytes, now, { peer: 'honest' }).outcome, 'applied');
  assert.equal(intake.accept(second!.bytes, now).outcome, 'applied');
  assert.equal(intake.accept(third!.bytes, now + 10, { peer: 'liar' }).outcome, 'applied', 'at its rate');
});

test('what a known author may not sign is charged to the peer that replays it in sessions, not to the author', () => {
  const authority: Authority = {
    judge: ({ scope }) => (scope === 'policy' ? { code: 'operator-expired', later: false } : null),
  };
  const { intake } = intakeOf({ authority });
  intake.accept(makeRecord({}).bytes, now);
  for (let i = 0; i < 10_000; i++)
    intake.accept(makeRecord({ scope: 'policy', kind: 'config-entry', key: `${i}` }).bytes, now, {
      peer: 'liar',
    });
  assert.equal(intake.accept(makeRecord({ version: 2 }).bytes, now).outcome, 'applied');
});

test('sessions charge the peer that they are with', () => {
  const admitted = new Set([idleSigner('self').publicKey, makeRecord({ author: 'carol' }).author]);
  const gossip = new Gossip({
    self: idleSigner('self').publicKey,
    signer: idleSigner('self'),
    verify: () => true,
    authority: closed(admitted),
    random: seededRandom(1),
    epoch: 1,
  });
  const say = (from: string, frame: SyncFrame) =>
    gossip.step({ type: 'frame', from, bytes: encodeFrame(frame) }, now);
  const [liar, honest] = ['a'.repeat(64), 'b'.repeat(64)];
  for (const from of [liar!, honest!]) say(from, { type: 'sync-open', session: 1, buckets: null });
  for (let i = 0; i < 50; i++) {
    const records = Array.from({ length: 100 }, (_, n) => makeRecord({ author: `nobody ${i} ${n}` }).bytes);
    say(liar!, { type: 'sync-records', session: 1, last: false, records });
  }
  assert.ok(gossip.stats().recordsRefused.get('rate-exceeded')! > 0);
  const carol = makeRecord({ author: 'carol' });
  say(liar!, { type: 'sync-records', session: 1, last: false, records: [carol.bytes] });
  assert.equal(gossip.replica.size, 0);
  say(honest!, { type: 'sync-records', session: 1, last: false, records: [carol.bytes] });
  assert.equal(gossip.replica.size, 1);
});

test('an admitted author that signs what it may not is heard at a rate, then not verified', () => {
  const authority: Authority = {
    judge: ({ scope }) => (scope === 'policy' ? { code: 'not-an-operator', later: false } : null),
  };
  const { intake, verified } = intakeOf({ authority });
  intake.accept(makeRecord({}).bytes, now);
  for (let i = 0; i < 10_000; i++)
    intake.accept(makeRecord({ scope: 'policy', kind: 'config-entry', key: `${i}` }).bytes, now);
  assert.ok(verified() <= 1 + 4096);
  assert.equal(intake.accept(makeRecord({ author: 'bob' }).bytes, now).outcome, 'applied');
});

test('a message of forgeries costs one verification', () => {
  const { intake, verified } = intakeOf({ verify: () => false });
  const forged = Array.from({ length: 512 }, (_, i) => makeRecord({ key: `${i}` }).bytes);
  const verdicts = intake.acceptAll(forged, now);
  assert.equal(verified(), 1);
  assert.equal(verdicts.length, 512);
  assert.ok(verdicts.every(({ outcome }) => outcome === 'refused'));
});
