import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verify } from '../../../src/core.ts';
import { encodeRecord } from '../../../src/gossip/codec.ts';
import { HybridClock } from '../../../src/gossip/hlc.ts';
import { Intake, type Verdict } from '../../../src/gossip/intake.ts';
import { defaultGossipParameters } from '../../../src/gossip/parameters.ts';
import type { Authority } from '../../../src/gossip/port.ts';
import { Replica } from '../../../src/gossip/replica.ts';
import { signerOf, verify } from './mesh.ts';
import { makeRecord } from './records.ts';

const now = 1_800_000_000_000;

function intakeOf(options: { authority?: Authority; verify?: Verify; maxParked?: number } = {}) {
  const replica = new Replica();
  const reports: string[] = [];
  const intake = new Intake({
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
  assert.equal(outcomeOf(intake.accept(newer, null, now)), 'applied');
  assert.equal(outcomeOf(intake.accept(newer, null, now)), 'known');
  assert.equal(outcomeOf(intake.accept(makeRecord({ version: 1 }).bytes, null, now)), 'stale');
  assert.deepEqual({ ...intake.stats, refused: 0 }, { applied: 1, known: 1, stale: 1, refused: 0 });
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
  assert.equal(outcomeOf(intake.accept(forged.bytes, null, now)), 'bad-signature');
  const record = encodeRecord({ ...fields, version: 2 }, signer);
  assert.equal(outcomeOf(intake.accept(record.bytes, null, now)), 'applied');
  const before = verified;
  intake.accept(record.bytes, null, now);
  intake.accept(encodeRecord({ ...fields, version: 1 }, signer).bytes, null, now);
  assert.equal(verified, before);
});

test('a record from the future and bytes that are no record are refused and counted', () => {
  const { intake } = intakeOf();
  assert.equal(
    outcomeOf(intake.accept(makeRecord({ hlc: (now + 61_000) * 1024 }).bytes, null, now)),
    'clock-ahead',
  );
  assert.equal(outcomeOf(intake.accept(new Uint8Array([1, 2, 3]), null, now)), 'malformed');
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
  assert.equal(outcomeOf(intake.accept(early.bytes, null, now)), 'not-admitted');
  assert.equal(outcomeOf(intake.accept(early.bytes, null, now)), 'parked');
  assert.equal(outcomeOf(intake.accept(makeRecord({ key: 'never' }).bytes, null, now)), 'not-yours');
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
  for (let i = 0; i < 5; i++) intake.accept(makeRecord({ key: `k${i}` }).bytes, null, now);
  assert.equal(intake.parking.size, 3);
  assert.equal(intake.parking.dropped, 2);
  assert.deepEqual(
    intake.parking.entries().map(([, record]) => record.key),
    ['k2', 'k3', 'k4'],
  );
});

test('a writer who signs two records of one version is reported once', () => {
  const { intake, reports } = intakeOf();
  for (const value of [1, 2, 3]) intake.accept(makeRecord({ version: 5, value }).bytes, null, now);
  assert.deepEqual(reports, [makeRecord({}).author]);
});

test('an equivocation that nobody signed is no reason to report anybody', () => {
  let signed = true;
  const { intake, reports } = intakeOf({ verify: () => signed });
  intake.accept(makeRecord({ version: 5, value: 1 }).bytes, null, now);
  signed = false;
  for (const value of [2, 3, 4]) intake.accept(makeRecord({ version: 5, value }).bytes, null, now);
  assert.deepEqual(reports, []);
});
