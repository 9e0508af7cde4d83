import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, type Verify } from '../../../../src/core.ts';
import { defaultGossipParameters } from '../../../../src/gossip/parameters.ts';
import type { Authority } from '../../../../src/gossip/port.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { HybridClock } from '../../../../src/gossip/replica/hlc.ts';
import { Intake, syncOutcomeOf, type Verdict } from '../../../../src/gossip/replica/intake.ts';
import { defaultReplicaLimits, Replica, type ReplicaLimits } from '../../../../src/gossip/replica/replica.ts';
import { signerOf, verify } from '../mesh.ts';
import { makeRecord } from '../records.ts';

const now = 1_800_000_000_000;

function intakeOf(
  options: { authority?: Authority; verify?: Verify; maxParked?: number; limits?: ReplicaLimits } = {},
) {
  const replica = new Replica({ limits: options.limits ?? defaultReplicaLimits });
  const reports: string[] = [];
  const intake = new Intake({
    vitalKinds: new Set(['ack']),
    replica,
    clock: new HybridClock(),
    verify: options.verify ?? (() => true),
    authority: options.authority ?? { judge: () => null },
    parameters: { ...defaultGossipParameters, maxParked: options.maxParked ?? 1024 },
    onEquivocation: (author) => reports.push(author),
  });
  return { replica, intake, reports };
}

function outcomeOf(verdict: Verdict): string {
  return verdict.outcome === 'refused' ? verdict.code : verdict.outcome;
}

test('a record enters once; again it is known, and its predecessor is stale', () => {
  const { intake } = intakeOf();
  const newer = makeRecord({ version: 2 }).bytes;
  assert.equal(outcomeOf(intake.accept(newer, now)), 'applied');
  assert.equal(outcomeOf(intake.accept(newer, now)), 'known');
  assert.equal(outcomeOf(intake.accept(makeRecord({ version: 1 }).bytes, now)), 'stale');
  assert.deepEqual({ ...intake.stats, refused: 0 }, { applied: 1, kept: 0, known: 1, stale: 1, refused: 0 });
});

test('only what its author signed enters, and what is known or stale costs no verification', () => {
  let verified = 0;
  const { intake } = intakeOf({
    verify: (...given) => {
      verified++;
      return verify(...given);
    },
  });
  const fields = { scope: 'host', kind: 'service', key: 'web', hlc: 1, value: new Uint8Array(0) } as const;
  const signer = signerOf('writer');
  const forged = encodeRecord({ ...fields, version: 3 }, { ...signer, sign: () => new Uint8Array(64) });
  assert.equal(outcomeOf(intake.accept(forged.bytes, now)), 'bad-signature');
  const record = encodeRecord({ ...fields, version: 2 }, signer);
  assert.equal(outcomeOf(intake.accept(record.bytes, now)), 'applied');
  const before = verified;
  intake.accept(record.bytes, now);
  intake.accept(encodeRecord({ ...fields, version: 1 }, signer).bytes, now);
  assert.equal(verified, before);
});

test('a record from the future and bytes that are no record are refused and counted', () => {
  const { intake } = intakeOf();
  assert.equal(
    outcomeOf(intake.accept(makeRecord({ hlc: (now + 61_000) * 1024 }).bytes, now)),
    'clock-ahead',
  );
  assert.equal(outcomeOf(intake.accept(new Uint8Array([1, 2, 3]), now)), 'malformed');
  assert.deepEqual(
    [...intake.stats.refused],
    [
      ['clock-ahead', 1],
      ['malformed', 1],
    ],
  );
});

test('a record that may enter later is kept and judged again, one refused for good is not', () => {
  const admitted = new Set<string>();
  const { intake, replica } = intakeOf({
    authority: {
      judge: (record) => {
        if (record.key === 'never') return { code: 'not-yours', later: false };
        return admitted.has(record.author) ? null : { code: 'not-admitted', later: true };
      },
    },
  });
  const early = makeRecord({ author: 'bob' });
  assert.equal(outcomeOf(intake.accept(early.bytes, now)), 'not-admitted');
  assert.equal(outcomeOf(intake.accept(early.bytes, now)), 'parked');
  assert.equal(outcomeOf(intake.accept(makeRecord({ key: 'never' }).bytes, now)), 'not-yours');
  assert.equal(intake.parking.size, 1);
  assert.deepEqual(intake.retry(now), []);
  admitted.add(early.author);
  assert.equal(intake.retry(now).length, 1);
  assert.equal(intake.parking.size, 0);
  assert.equal(replica.size, 1);
});

test('the parking lot is bounded: the oldest goes first and is counted', () => {
  const { intake } = intakeOf({
    authority: { judge: () => ({ code: 'not-admitted', later: true }) },
    maxParked: 3,
  });
  for (let i = 0; i < 5; i++) intake.accept(makeRecord({ key: `k${i}` }).bytes, now);
  assert.equal(intake.parking.size, 3);
  assert.equal(intake.parking.dropped, 2);
  assert.deepEqual(
    intake.parking.entries().map(({ key }) => key),
    ['k2', 'k3', 'k4'],
  );
});

test('a writer who signs two records of one version is reported once', () => {
  const { intake, reports } = intakeOf();
  for (const value of [1, 2, 3]) intake.accept(makeRecord({ version: 5, value }).bytes, now);
  assert.deepEqual(reports, [makeRecord({}).author]);
});

test('an equivocation that nobody signed is no reason to report anybody', () => {
  let signed = true;
  const { intake, reports } = intakeOf({ verify: () => signed });
  intake.accept(makeRecord({ version: 5, value: 1 }).bytes, now);
  signed = false;
  for (const value of [2, 3, 4]) intake.accept(makeRecord({ version: 5, value }).bytes, now);
  assert.deepEqual(reports, []);
});

test('an author that writes too fast is heard at its rate, what is over is not verified, others are not touched', () => {
  let verified = 0;
  const limits = { ...defaultReplicaLimits, hostRate: { perSecond: 10, burst: 5 } };
  const { intake } = intakeOf({
    limits,
    verify: () => {
      verified++;
      return true;
    },
  });
  const write = (version: number, at: number, author = 'alice') =>
    outcomeOf(intake.accept(makeRecord({ author, version }).bytes, at));
  for (let version = 1; version <= 10; version++) assert.equal(write(version, now), 'applied');
  assert.equal(write(11, now), 'rate-exceeded');
  assert.equal(verified, 10);
  assert.equal(write(11, now, 'bob'), 'applied');
  assert.equal(write(11, now + 100), 'applied');
  assert.equal(write(12, now + 100), 'rate-exceeded');
  assert.equal(intake.stats.refused.get('rate-exceeded'), 2);
});

test('forgeries in an author’s name use up nothing of its rate', () => {
  let genuine = false;
  const limits = { ...defaultReplicaLimits, hostRate: { perSecond: 1, burst: 1 } };
  const { intake } = intakeOf({ limits, verify: () => genuine });
  for (let version = 1; version <= 50; version++)
    assert.equal(outcomeOf(intake.accept(makeRecord({ version }).bytes, now)), 'bad-signature');
  genuine = true;
  assert.equal(outcomeOf(intake.accept(makeRecord({ version: 60 }).bytes, now)), 'applied');
});

test('what a host must be able to say has room where its share is full, half as much again and no more', () => {
  const { intake, replica } = intakeOf({ limits: { ...defaultReplicaLimits, hostEntries: 4 } });
  const write = (kind: string, key: string) => {
    const record = makeRecord({ kind, key });
    intake.checkOwn(record, now);
    replica.join(record);
  };
  const isFull = (error: unknown) => error instanceof Fault && error.code === 'quota-exceeded';
  for (const key of ['a', 'b', 'c', 'd']) write('note', key);
  assert.throws(() => write('note', 'e'), isFull);
  write('ack', '');
  write('ack', 'more');
  assert.throws(() => write('ack', 'too much'), isFull);
  assert.throws(() => write('note', 'e'), isFull);
});

test('a host that writes too much or too fast itself is told so, well before others would refuse it', () => {
  const limits = {
    ...defaultReplicaLimits,
    hostEntries: 3,
    hostRate: { perSecond: 1000, burst: 4 },
  };
  const { intake, replica } = intakeOf({ limits });
  const write = (key: string, version: number) => {
    const record = makeRecord({ key, version });
    intake.checkOwn(record, now);
    replica.join(record);
  };
  const code = (expected: string) => (error: unknown) =>
    error instanceof Fault && error.code === expected && !error.changed;
  for (const [i, key] of ['a', 'b', 'c'].entries()) write(key, i + 1);
  assert.throws(() => write('d', 4), code('quota-exceeded'));
  write('a', 5);
  assert.throws(() => write('a', 6), code('rate-exceeded'));
  assert.throws(() => write('b', 1), code('stale-record'));
  const remote = intakeOf({ limits }).intake;
  for (const version of [1, 2, 3, 4, 5, 6, 7, 8])
    assert.equal(outcomeOf(remote.accept(makeRecord({ version }).bytes, now)), 'applied');
});

test('keys without end by one signer cost bounded memory and a bounded number of verifications', () => {
  let verified = 0;
  const limits = {
    ...defaultReplicaLimits,
    hostEntries: 100,
    hostRate: { perSecond: 100, burst: 100 },
  };
  const { intake, replica } = intakeOf({
    limits,
    verify: () => {
      verified++;
      return true;
    },
  });
  for (let i = 0; i < 20_000; i++)
    intake.accept(makeRecord({ key: `key ${i}`, version: i + 1 }).bytes, now + i);
  assert.equal(replica.size, 200);
  assert.equal(verified, 200);
  assert.deepEqual(replica.largestWriters(3), [
    { author: makeRecord({}).author, scope: 'host', records: 200, bytes: replica.totalBytes },
  ]);
});

test('a policy that lost its slot is kept, and told apart from one that came too late', () => {
  const { intake, replica } = intakeOf();
  const slot = { scope: 'policy', kind: 'config-entry', key: 'a' } as const;
  assert.equal(outcomeOf(intake.accept(makeRecord({ ...slot, hlc: 2048 }).bytes, now)), 'applied');
  const loser = intake.accept(makeRecord({ ...slot, hlc: 1024 }).bytes, now);
  assert.equal(outcomeOf(loser), 'kept');
  assert.deepEqual(syncOutcomeOf(loser, replica), { outcome: 'kept' });
  assert.equal(intake.stats.kept, 1);
});

test('anti-entropy learns which slot a refusal is about', () => {
  const { intake, replica } = intakeOf();
  const newer = makeRecord({ version: 9 });
  intake.accept(newer.bytes, now);
  const slot = replica.slotDigest(`host/${newer.author}/service/web`);
  const stale = intake.accept(makeRecord({ version: 8 }).bytes, now);
  assert.deepEqual(syncOutcomeOf(stale, replica), { outcome: 'stale', slot });
  replica.raiseFloor(newer.author, 20);
  const collected = intake.accept(makeRecord({ key: 'gone', version: 7 }).bytes, now);
  assert.deepEqual(syncOutcomeOf(collected, replica), {
    outcome: 'collected',
    slot: replica.slotDigest(`host/${newer.author}/service/gone`),
    floor: 20,
  });
  const early = intake.accept(makeRecord({ hlc: (now + 70_000) * 1024 }).bytes, now);
  assert.deepEqual(syncOutcomeOf(early, replica), { outcome: 'refused' });
});
