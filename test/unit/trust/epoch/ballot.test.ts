import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, type HostId, type Signer } from '../../../../src/core.ts';
import { Acceptor, freshAcceptor } from '../../../../src/trust/epoch/acceptor.ts';
import { BallotHeight } from '../../../../src/trust/epoch/ballot-height.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
  maxBallot,
  noHash,
} from '../../../../src/trust/epoch/descriptor.ts';
import { Electorate, type Justification, type Lock } from '../../../../src/trust/epoch/electorate.ts';
import { Holdings } from '../../../../src/trust/epoch/holdings.ts';
import type { Voucher, VoucherRole } from '../../../../src/trust/epoch/voucher.ts';
import { mesh, startedAt } from './net.ts';
import { standInSigner, standInVerify } from './stand-in.ts';

const signers: Signer[] = ['a', 'b', 'c'].map((label) => standInSigner(label));
const trustees = signers.map((signer) => signer.publicKey);
const stranger = standInSigner('stranger');
const timings = { leaseMs: 30_000, roundMs: 5000, holdMs: 400 };
const now = startedAt;

const currentPlan: EpochPlan = {
  mesh,
  epoch: 1,
  previous: noHash,
  generation: 1,
  kind: 'generate',
  threshold: 2,
  trustees,
  dealers: trustees,
  ballot: 1,
  proposedAt: 0,
  cold: null,
  coldDealt: 0,
  formers: [],
  weakest: 2,
};
const current = describeEpoch(currentPlan, 'cd'.repeat(32), new Uint8Array());
const electorate = new Electorate(current, standInVerify);

/** A successor planned in `ballot`; `label` tells two of one ballot apart. */
function successor(ballot: number, label = 0): EpochDescriptor {
  const plan: EpochPlan = {
    ...currentPlan,
    epoch: 2,
    previous: current.hash,
    kind: 'reshare',
    dealers: trustees.slice(0, 2),
    ballot,
  };
  return describeEpoch(plan, current.rootKey, Uint8Array.of(label));
}

function vouch(signer: Signer, role: VoucherRole, ballot: number, of: EpochDescriptor | null): Voucher {
  const value = of === null ? null : { ballot, hash: of.hash };
  return electorate.sign({ role, epoch: 2, ballot, value, voted: 0, holdsShare: role === 'promise' }, signer);
}

function lockOf(ballot: number, descriptor: EpochDescriptor): Lock {
  const votes = signers.slice(0, 2).map((signer) => vouch(signer, 'vote', ballot, descriptor));
  return { ballot, descriptor, votes };
}

function acksOf(descriptor: EpochDescriptor): Voucher[] {
  return signers.map((signer) => vouch(signer, 'ack', descriptor.plan.ballot, descriptor));
}

/** Promises of ballot `ballot` by the trustees of these acceptors. */
function promisesOf(acceptors: readonly Acceptor[], ballot: number, at: number = now): Justification {
  const leader = electorate.leaderOf(ballot);
  const answers = acceptors.map((acceptor) =>
    acceptor.prepare(leader, { type: 'prepare', epoch: 2, ballot }, true, at),
  );
  let lock: Lock | null = null;
  const promises: Voucher[] = [];
  for (const answer of answers) {
    assert.ok(answer.type === 'promise');
    promises.push(answer.voucher);
    if (answer.lock !== null && (lock === null || answer.lock.ballot > lock.ballot)) lock = answer.lock;
  }
  return { promises, lock };
}

function acceptors(): Acceptor[] {
  return signers.map((signer) => new Acceptor(electorate, signer, timings, freshAcceptor(2)));
}

function propose(
  acceptor: Acceptor,
  descriptor: EpochDescriptor,
  justification: Justification,
  ballot: number,
) {
  const message = {
    type: 'propose',
    epoch: 2,
    ballot,
    descriptor,
    justification,
    acks: acksOf(descriptor),
  } as const;
  return acceptor.propose(electorate.leaderOf(ballot), message, () => {}, now);
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

test('every trustee leads its own ballots and no other', () => {
  for (const host of trustees)
    for (let floor = 0; floor < 20; floor++) {
      const ballot = electorate.ballotAbove(floor, host);
      assert.equal(electorate.leaderOf(ballot), host);
      assert.ok(ballot > floor && ballot <= floor + trustees.length);
    }
});

test('a trustee follows no ballot below the one it promised', () => {
  const [acceptor] = acceptors();
  promisesOf([acceptor!], 7);
  const refused = acceptor!.prepare(
    electorate.leaderOf(5),
    { type: 'prepare', epoch: 2, ballot: 5 },
    true,
    now,
  );
  assert.ok(refused.type === 'refused' && refused.code === 'superseded' && refused.promised === 7);
});

test('a trustee votes for one value a ballot, and says so again when asked again', () => {
  const all = acceptors();
  const justification = promisesOf(all, 4);
  const first = propose(all[0]!, successor(4), justification, 4);
  const again = propose(all[0]!, successor(4), justification, 4);
  assert.ok(first.type === 'vote' && again.type === 'vote');
  assert.deepEqual(first.voucher, again.voucher);
  assert.throws(() => propose(all[0]!, successor(4, 1), justification, 4), hasCode('unjustified'));
});

test('what a minority accepted binds the next ballot that hears of it', () => {
  const all = acceptors();
  promisesOf(all, 4);
  const bound = successor(4);
  all[0]!.accept(electorate.leaderOf(4), { type: 'accept', epoch: 2, lock: lockOf(4, bound) });
  const justification = promisesOf(all.slice(0, 2), 5, now + timings.holdMs);
  assert.deepEqual(electorate.judge(justification, 5), { free: false, hash: bound.hash });
  assert.throws(() => propose(all[1]!, successor(5), justification, 5), hasCode('unjustified'));
  assert.equal(propose(all[1]!, bound, justification, 5).type, 'vote');
});

test('what came to a vote keeps its shares although a quorum accepted nothing, because a minority may have', () => {
  const all = acceptors();
  const voted = successor(4);
  const justification = promisesOf(all, 4);
  for (const acceptor of all) propose(acceptor, voted, justification, 4);
  // The third accepts; a ballot of the first two hears nothing of it.
  all[2]!.accept(electorate.leaderOf(4), { type: 'accept', epoch: 2, lock: lockOf(4, voted) });
  const verdict = electorate.judge(promisesOf(all.slice(0, 2), 8, now + 40_000), 8);
  assert.ok(verdict.free);
  const holdings = new Holdings();
  const onlyDealt = successor(6);
  holdings.pending = [voted, onlyDealt];
  assert.deepEqual(holdings.dropPendingAfter(verdict.voted), [onlyDealt.session]);
  assert.deepEqual(holdings.pending, [voted]);
  // And so the third can still bring it about.
  const later = promisesOf(all.slice(1), 12, now + 60_000);
  assert.deepEqual(electorate.judge(later, 12), { free: false, hash: voted.hash });
});

test('votes, promises and acks prove nothing unless enough different trustees gave them for this very thing', () => {
  const descriptor = successor(4);
  const vote = (signer: Signer): Voucher => vouch(signer, 'vote', 4, descriptor);
  const [a, b, c] = signers.map(vote) as [Voucher, Voucher, Voucher];
  const check = (votes: Voucher[]): void => electorate.checkLock({ ballot: 4, descriptor, votes });
  check([a, b]);
  check([a, b, c]);
  const forged = { ...b, signature: a.signature };
  for (const votes of [
    [],
    [a],
    [a, a],
    [a, vote(stranger)],
    [a, forged],
    [a, vouch(signers[1]!, 'vote', 5, descriptor)],
    [a, vouch(signers[1]!, 'vote', 4, successor(4, 1))],
    [a, vouch(signers[1]!, 'accepted', 4, descriptor)],
  ])
    assert.throws(() => check(votes), hasCode('unjustified'));
  assert.throws(() => electorate.checkDecision([a, b], descriptor.hash), hasCode('unjustified'));
  assert.throws(() => electorate.checkAcks(acksOf(descriptor).slice(1), descriptor), hasCode('unjustified'));
  electorate.checkAcks(acksOf(descriptor), descriptor);
});

test('a promise that names an acceptance without proof spoils the justification', () => {
  const all = acceptors();
  const { promises } = promisesOf(all, 4);
  const lie = electorate.sign(
    {
      role: 'promise',
      epoch: 2,
      ballot: 4,
      value: { ballot: 3, hash: successor(3).hash },
      voted: 3,
      holdsShare: true,
    },
    signers[0]!,
  );
  const justification = { promises: [lie, promises[1]!], lock: null };
  assert.throws(() => electorate.judge(justification, 4), hasCode('unjustified'));
});

test('who says that it voted, and did not, has no shares kept where enough others promise', () => {
  const all = acceptors();
  const { promises } = promisesOf(all, 9);
  const content = { role: 'promise', epoch: 2, ballot: 9, value: null, voted: 9, holdsShare: true } as const;
  const lie = electorate.sign(content, signers[0]!);
  const verdict = electorate.judge({ promises: [lie, ...promises.slice(1)], lock: null }, 9);
  assert.deepEqual(verdict, { free: true, voted: 0 });
  // With one promise less it might be true.
  const fewer = electorate.judge({ promises: [lie, promises[1]!], lock: null }, 9);
  assert.deepEqual(fewer, { free: true, voted: 9 });
});

test('a ballot that a quorum follows is left to finish, and its leader then lets another go first', () => {
  const [acceptor] = acceptors();
  const prepare = (ballot: number, at: number) =>
    acceptor!.prepare(electorate.leaderOf(ballot), { type: 'prepare', epoch: 2, ballot }, true, at);
  assert.equal(prepare(4, now).type, 'promise');
  acceptor!.follow(electorate.leaderOf(4), 4, now);
  const busy = prepare(5, now + 1000);
  assert.ok(busy.type === 'refused' && busy.code === 'busy' && busy.retryAfterMs === 29_000);
  assert.equal(prepare(7, now + 31_000).type, 'refused', 'the same leader once more');
  assert.equal(prepare(8, now + 31_000).type, 'promise');
});

test('a leader that is away is waited for no longer', () => {
  const [acceptor] = acceptors();
  const leader = electorate.leaderOf(4);
  const prepare = (ballot: number, at: number, isAway: (host: string) => boolean) =>
    acceptor!.prepare(electorate.leaderOf(ballot), { type: 'prepare', epoch: 2, ballot }, true, at, isAway);
  prepare(4, now, () => false);
  acceptor!.follow(leader, 4, now);
  assert.equal(prepare(5, now + 1000, (host) => host !== leader).type, 'refused');
  assert.equal(prepare(5, now + 1000, (host) => host === leader).type, 'promise');
});

test('once its leader says that a ballot came to nothing another may go at once, and nobody else can say so', () => {
  const [acceptor] = acceptors();
  const prepare = (ballot: number, at: number) =>
    acceptor!.prepare(electorate.leaderOf(ballot), { type: 'prepare', epoch: 2, ballot }, true, at);
  prepare(4, now);
  acceptor!.follow(electorate.leaderOf(4), 4, now);
  acceptor!.released(electorate.leaderOf(5), 4, now + 1000);
  acceptor!.released(electorate.leaderOf(4), 7, now + 1000);
  assert.equal(prepare(5, now + 1000).type, 'refused', 'neither another leader nor another ballot');
  acceptor!.released(electorate.leaderOf(4), 4, now + 1000);
  assert.equal(prepare(7, now + 7000).type, 'refused', 'the same leader once more');
  assert.equal(prepare(8, now + 1000).type, 'promise');
});

test('whoever was promised a ballot may go higher for a moment, and nobody else', () => {
  const [acceptor] = acceptors();
  const answer = (ballot: number, at: number): string => {
    const leader = electorate.leaderOf(ballot);
    const { type } = acceptor!.prepare(leader, { type: 'prepare', epoch: 2, ballot }, true, at);
    return type;
  };
  assert.equal(answer(3, now), 'promise');
  assert.equal(answer(4, now + 399), 'refused', 'another leader');
  assert.equal(answer(6, now + 399), 'promise', 'the same, higher');
  assert.equal(answer(9, now + 400), 'refused', 'the same, too late');
  assert.equal(answer(7, now + 400), 'promise', 'another, once it had its time');
});

test('whoever goes higher at once goes no higher than all that follow can', () => {
  const [acceptor] = acceptors();
  const leader = trustees[0]!;
  const prepare = (rounds: number, at: number): string =>
    acceptor!.prepare(leader, { type: 'prepare', epoch: 2, ballot: rounds * trustees.length }, true, at).type;
  assert.equal(prepare(500, now), 'promise');
  assert.equal(prepare(513, now + 10), 'refused');
  assert.equal(prepare(512, now + 20), 'promise');
  assert.equal(acceptor!.state.promised, 512 * trustees.length);
});

test('a ballot that is too high moves nothing that was promised, and takes nobody’s turn', () => {
  const [acceptor] = acceptors();
  const prepare = (ballot: number, at: number): string =>
    acceptor!.prepare(electorate.leaderOf(ballot), { type: 'prepare', epoch: 2, ballot }, true, at).type;
  assert.equal(prepare(4, now), 'promise');
  acceptor!.follow(electorate.leaderOf(4), 4, now);
  for (const leader of [trustees[0]!, trustees[2]!])
    for (let i = 0; i < 10; i++)
      assert.equal(prepare(electorate.ballotAbove(3000 * (i + 1), leader), now + 1000 * i), 'refused');
  assert.equal(acceptor!.state.promised, 4);
});

test('whatever one refusal names, the next ballot is one that the others can follow', () => {
  const height = new BallotHeight(electorate);
  const first = height.next(0, trustees[1]!);
  const refusal = (promised: number) =>
    ({
      type: 'refused',
      epoch: 2,
      ballot: first,
      code: 'ballot-too-high',
      promised,
      retryAfterMs: 0,
    }) as const;
  const said = [refusal(3), refusal(maxBallot)] as const;
  for (const [i, { promised }] of said.entries()) height.refused(trustees[i]!, promised);
  assert.ok(height.next(0, trustees[1]!) <= first + (512 + 1) * trustees.length);
  height.comeDown(new Map(said.map((one, i) => [trustees[i]!, one])));
  assert.ok(height.next(0, trustees[1]!) <= 2 * trustees.length);
});

test('no leader can use up the ballots by skipping most of them', () => {
  const [acceptor] = acceptors();
  const ballot = electorate.ballotAbove(2 ** 40, trustees[0]!);
  const refused = acceptor!.prepare(trustees[0]!, { type: 'prepare', epoch: 2, ballot }, true, now);
  assert.ok(refused.type === 'refused' && refused.code === 'ballot-too-high');
  for (let i = 0; i < 1000; i++)
    acceptor!.prepare(trustees[0]!, { type: 'prepare', epoch: 2, ballot }, true, now + i);
  assert.ok(
    acceptor!.state.promised <= 512 * trustees.length,
    'and it is driven up no faster by asking more often',
  );
});

test('a trustee that was away while the ballots climbed follows two leaders at once, and one in steps', () => {
  const ask = (acceptor: Acceptor, leader: HostId, at: number): string => {
    const ballot = electorate.ballotAbove(3000 * trustees.length, leader);
    const answer = acceptor.prepare(leader, { type: 'prepare', epoch: 2, ballot }, true, at);
    return answer.type === 'refused' ? answer.code : answer.type;
  };
  const [slow, quick] = acceptors();
  const steps = Array.from({ length: 7 }, (_, i) => ask(slow!, trustees[0]!, now + i * 6000));
  assert.deepEqual(steps, [...Array(5).fill('ballot-too-high'), 'promise', 'promise']);
  assert.equal(ask(quick!, trustees[1]!, now), 'ballot-too-high');
  assert.equal(ask(quick!, trustees[2]!, now), 'ballot-too-high');
  assert.equal(ask(quick!, trustees[2]!, now + 6000), 'promise');
});

test('only trustees answer, and only the leader of a ballot is answered', () => {
  const outsider = new Acceptor(electorate, stranger, timings, freshAcceptor(2));
  const ask = { type: 'prepare', epoch: 2, ballot: 4 } as const;
  const fromOutside = outsider.prepare(electorate.leaderOf(4), ask, false, now);
  assert.ok(fromOutside.type === 'refused' && fromOutside.code === 'not-a-trustee');
  const toImpostor = acceptors()[0]!.prepare(electorate.leaderOf(5), ask, true, now);
  assert.ok(toImpostor.type === 'refused' && toImpostor.code === 'not-the-leader');
});
