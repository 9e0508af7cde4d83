import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, type HostId } from '../../../../src/core.ts';
import { EpochChain } from '../../../../src/trust/epoch/chain.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
  genesisEpoch,
  historyAfter,
  statementOf,
} from '../../../../src/trust/epoch/descriptor.ts';
import { Electorate } from '../../../../src/trust/epoch/electorate.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { createRecord, type EpochRecord } from '../../../../src/trust/epoch/record.ts';
import { checkSuccessor, emptyView, judgePlan, type Renewals } from '../../../../src/trust/epoch/rules.ts';
import { type Candidate, selectSeats } from '../../../../src/trust/epoch/selection.ts';
import { mesh, startedAt } from './net.ts';
import { standInSigner, standInVerify } from './stand-in.ts';

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const hosts: HostId[] = names.map((name) => standInSigner(name).publicKey);
const roots = [0, 1, 2].map((generation) => standInSigner(`root-${generation}`));
const genesis = genesisEpoch(mesh, hosts[0]!, roots[0]!.publicKey, startedAt);
const now = startedAt + 3_600_000;

/** A well-formed successor of `current`, with `parts` of its plan replaced. */
function next(current: EpochDescriptor, parts: Partial<EpochPlan> = {}): EpochDescriptor {
  const { plan } = current;
  const isFirst = plan.threshold === 1;
  const kind = parts.kind ?? (isFirst ? 'generate' : 'reshare');
  const trustees = parts.trustees ?? (isFirst ? hosts.slice(0, 3) : plan.trustees);
  const made: EpochPlan = {
    mesh,
    epoch: plan.epoch + 1,
    previous: current.hash,
    generation: plan.generation + (kind === 'generate' ? 1 : 0),
    kind,
    threshold: isFirst ? 2 : plan.threshold,
    trustees,
    dealers: kind === 'generate' ? trustees : plan.trustees.slice(0, plan.threshold),
    ballot: 4,
    proposedAt: 0,
    cold: null,
    coldDealt: 0,
    ...historyAfter(plan, kind, { trustees, threshold: parts.threshold ?? (isFirst ? 2 : plan.threshold) }),
    ...parts,
  };
  return describeEpoch(made, roots[made.generation]!.publicKey, new Uint8Array());
}

/** The record by which the trustees of `current` put `descriptor` into force. */
function recordOf(
  current: EpochDescriptor,
  descriptor: EpochDescriptor,
  signedBy = current.plan.generation,
): EpochRecord {
  const electorate = new Electorate(current, standInVerify);
  const value = { ballot: 4, hash: descriptor.hash };
  const content = {
    role: 'accepted',
    epoch: electorate.epoch,
    ballot: 4,
    value,
    voted: 0,
    holdsShare: false,
  } as const;
  const accepted = names
    .map((name) => standInSigner(name))
    .filter((signer) => electorate.has(signer.publicKey))
    .slice(0, electorate.threshold)
    .map((signer) => electorate.sign(content, signer));
  return createRecord(descriptor, accepted, roots[signedBy]!.sign(statementOf(descriptor)));
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

/** Epochs 0 to 5: the key changes with 1 and 4. */
function history(): { readonly epochs: EpochDescriptor[]; readonly records: EpochRecord[] } {
  const epochs = [genesis];
  const records: EpochRecord[] = [];
  for (const kind of ['generate', 'reshare', 'reshare', 'generate', 'reshare'] as const) {
    const current = epochs.at(-1)!;
    const descriptor = next(current, { kind });
    records.push(recordOf(current, descriptor));
    epochs.push(descriptor);
  }
  return { epochs, records };
}

function chainOf(records: readonly EpochRecord[]): EpochChain {
  const chain = new EpochChain(genesis, standInVerify);
  for (const record of records) {
    const verdict = chain.judge(record);
    if (verdict === 'next' || verdict === 'leap') chain.add(record);
  }
  return chain;
}

test('a late member needs the first and the last record of each key only', () => {
  const { epochs, records } = history();
  const chain = chainOf(records);
  assert.equal(chain.latest.hash, epochs[5]!.hash);
  const needed = chain.after(0);
  assert.deepEqual(
    needed.map((record) => record.descriptor.plan.epoch),
    [1, 3, 4, 5],
  );
  assert.equal(chainOf(needed).latest.hash, epochs[5]!.hash);
  assert.ok(chain.isLastOfItsKey(3) && !chain.isLastOfItsKey(2));
});

test('records that come in any order are asked for, taken or passed over, never believed unproven', () => {
  const { records } = history();
  const chain = new EpochChain(genesis, standInVerify);
  assert.throws(() => chain.judge(records[4]!), hasCode('epoch-unproven'));
  assert.throws(() => chain.judge(records[1]!), hasCode('epoch-unproven'), 'not by the key of the genesis');
  chain.add(records[0]!);
  assert.throws(() => chain.judge(records[4]!), hasCode('epoch-unproven'));
  assert.equal(chain.judge(records[2]!), 'leap');
  chain.add(records[2]!);
  assert.equal(chain.judge(records[1]!), 'past');
  assert.equal(chain.judge(records[2]!), 'known');
});

test('a record without the signature of the key before it, or without the trustees, is refused', () => {
  const chain = new EpochChain(genesis, standInVerify);
  const first = next(genesis);
  assert.throws(() => chain.judge(recordOf(genesis, first, 1)), hasCode('epoch-forged'));
  const { signature } = recordOf(genesis, first);
  assert.throws(() => chain.judge(createRecord(first, [], signature)), hasCode('unjustified'));
  const foreign = genesisEpoch('cd'.repeat(32), hosts[0]!, roots[0]!.publicKey, startedAt);
  const other = describeEpoch({ ...first.plan, mesh: foreign.plan.mesh }, first.rootKey, new Uint8Array());
  assert.throws(() => chain.judge(recordOf(foreign, other)), hasCode('epoch-forged'));
});

test('two successors signed by the root prove that a quorum was compromised', () => {
  const { records } = history();
  const chain = chainOf(records.slice(0, 1));
  const other = recordOf(genesis, next(genesis, { ballot: 5 }));
  assert.throws(() => chain.judge(other), hasCode('epoch-forked'));
});

test('what can follow an epoch', () => {
  const first = next(genesis);
  checkSuccessor(next(first), first);
  const five = next(first, { trustees: hosts.slice(0, 5), threshold: 3 });
  checkSuccessor(five, first);
  for (const parts of [
    { epoch: 3 },
    { previous: genesis.hash },
    { generation: 2 },
    { kind: 'genesis' },
    { dealers: hosts.slice(0, 3) },
    { dealers: hosts.slice(4, 6) },
    { kind: 'generate', dealers: hosts.slice(0, 2) },
    { trustees: [hosts[0]!, hosts[5]!, hosts[6]!] },
  ] satisfies Partial<EpochPlan>[])
    assert.throws(() => checkSuccessor(next(first, parts), first), hasCode('not-a-successor'));
  const shared = next(genesis, { kind: 'reshare', dealers: [hosts[0]!], generation: 0 });
  assert.throws(
    () => checkSuccessor(shared, genesis),
    hasCode('not-a-successor'),
    'the founder key is not shared',
  );
  const otherKey = describeEpoch(next(first).plan, roots[2]!.publicKey, new Uint8Array());
  assert.throws(() => checkSuccessor(otherKey, first), hasCode('not-a-successor'));
});

function candidate(index: number, parts: Partial<Candidate> = {}): Candidate {
  return {
    host: hosts[index]!,
    admittedAt: startedAt + index,
    zone: `zone-${index}`,
    eligible: true,
    aliveSince: startedAt,
    absentSince: null,
    gone: false,
    ...parts,
  };
}

const absent = { aliveSince: null, absentSince: startedAt };

function seatsOf(current: { trustees: HostId[]; threshold: number }, candidates: Candidate[]): string[] {
  const seats = selectSeats(current, candidates, standardPolicy, now);
  return [...seats.trustees.map((host) => names[hosts.indexOf(host)]!), String(seats.threshold)];
}

test('the senior hosts are seated, from zones that cannot take a quorum with them', () => {
  const all = names.map((_, i) => candidate(i));
  const founder = { trustees: [hosts[0]!], threshold: 1 };
  assert.deepEqual(seatsOf(founder, all.slice(0, 2)), ['a', '1']);
  assert.deepEqual(seatsOf(founder, all.slice(0, 4)), ['a', 'b', 'c', '2']);
  assert.deepEqual(seatsOf(founder, all), ['a', 'b', 'c', 'd', 'e', 'f', 'g', '4']);
  const crowded = all.slice(0, 5).map((of, i) => ({ ...of, zone: i < 3 ? 'crowd' : of.zone }));
  assert.deepEqual(seatsOf(founder, crowded.slice(0, 4)), ['a', 'b', 'd', '2']);
  const oneZone = all.slice(0, 3).map((of) => ({ ...of, zone: 'only' }));
  assert.deepEqual(seatsOf(founder, oneZone), ['a', 'b', 'c', '2'], 'rather in one zone than not at all');
  const unfit = [
    all[0]!,
    candidate(1, { eligible: false }),
    candidate(2, { aliveSince: now - 1000 }),
    candidate(3, absent),
    candidate(4, { gone: true }),
    all[5]!,
    all[6]!,
  ];
  assert.deepEqual(seatsOf(founder, unfit), ['a', 'f', 'g', '2']);
});

test('seats are sticky: the absent keep theirs until somebody can take it, the gone do not', () => {
  const three = { trustees: hosts.slice(0, 3), threshold: 2 };
  const seated = [candidate(0), candidate(1, absent), candidate(2)];
  assert.deepEqual(seatsOf(three, seated), ['a', 'b', 'c', '2']);
  assert.deepEqual(seatsOf(three, [...seated, candidate(3)]), ['a', 'c', 'd', '2']);
  const brief = candidate(1, { aliveSince: null, absentSince: now - 60_000 });
  assert.deepEqual(seatsOf(three, [candidate(0), brief, candidate(2), candidate(3)]), ['a', 'b', 'c', '2']);
  const gone = candidate(1, { gone: true });
  assert.deepEqual(seatsOf(three, [candidate(0), gone, candidate(2)]), ['a', 'c', '2']);
  const twoGone = [candidate(0), gone, candidate(2, { gone: true }), candidate(3), candidate(4)];
  assert.equal(seatsOf(three, twoGone).length, 4, 'one leaves at a time');
});

test('trustees refuse a plan that their own eyes contradict', () => {
  const current = next(genesis);
  const replaced: Partial<EpochPlan> = { trustees: [hosts[0]!, hosts[2]!, hosts[3]!] };
  const judge = (parts: Partial<EpochPlan>, candidates: Candidate[], allowed: Partial<Renewals> = {}): void =>
    judgePlan(
      next(current, parts).plan,
      current,
      { ...emptyView, candidates, allowed: { ...emptyView.allowed, ...allowed } },
      standardPolicy,
      false,
      now,
    );
  const seen = [candidate(0), candidate(1, absent), candidate(2), candidate(3), candidate(4)];
  judge(replaced, seen);
  const with3 = (parts: Partial<Candidate>): Candidate[] => seen.with(3, candidate(3, parts));
  assert.throws(() => judge(replaced, seen.with(1, candidate(1))), hasCode('seat-in-use'));
  assert.throws(() => judge(replaced, with3({ eligible: false })), hasCode('newcomer-unknown'));
  judge(replaced, with3({ silent: true }));
  judge(replaced, seen.with(1, candidate(1, { silent: true })));
  assert.throws(() => judge(replaced, with3(absent)), hasCode('newcomer-absent'));
  assert.throws(() => judge({ trustees: [hosts[0]!, hosts[2]!, hosts[4]!] }, seen), hasCode('seniority'));
  assert.throws(() => judge({}, seen), hasCode('nothing-to-change'));
  judge({}, seen, { refreshEpoch: 1 });
  assert.throws(() => judge({ kind: 'generate' }, seen), hasCode('rotation-not-asked'));
  judge({ kind: 'generate' }, seen, { rotateGeneration: 1 });
  assert.throws(() => judge({ threshold: 3 }, seen, { refreshEpoch: 1 }), hasCode('quorum-not-allowed'));
  const crowd = seen.map((of) => ({ ...of, zone: of.host === hosts[1] ? 'other' : 'crowd' }));
  const spread = [...crowd, candidate(5, { zone: 'third' }), candidate(6, { zone: 'fourth' })];
  assert.throws(() => judge(replaced, spread), hasCode('zone-cap'));
});
