/**
 * Those who decide on the successor of one epoch, and what counts as proof among them.
 *
 * A ballot has three rounds, each answered by `threshold` of the trustees: promises, votes, acceptances. The
 * votes are why an acceptance needs no history: whoever votes has checked the promises, so the votes alone
 * prove that the ballot had to have this value. (Promises that carried what justified the last acceptance, and
 * so what justified the one before that, would grow with every ballot that failed; a liar could make them.)
 * Any two sets of `threshold` trustees share an honest one while 2k - n exceeds the number of liars, and an
 * honest one votes once a ballot: Paxos (Lamport, "Paxos Made Simple", 2001), with the certificates of PBFT's
 * view change (Castro and Liskov, 1999, section 4.4).
 */
import { Fault, type HostId, type Signer, type Verify } from '../../core.ts';
import type { EpochDescriptor } from './descriptor.ts';
import { sharesNeeded } from './policy.ts';
import { speaksOf, type Voucher, type VoucherContent, type VoucherRole, voucherMessage } from './voucher.ts';

/** Proof that a value was the one value of its ballot: the votes of a quorum. */
export interface Lock {
  readonly ballot: number;
  readonly descriptor: EpochDescriptor;
  readonly votes: readonly Voucher[];
}

/** Proof of which value a ballot may have: the promises of a quorum, and the highest lock they name. */
export interface Justification {
  readonly promises: readonly Voucher[];
  readonly lock: Lock | null;
}

/**
 * What a quorum of promises says: propose what you like, or this. `voted` is the last ballot in which any of the
 * quorum voted: what was planned in a later one never had a quorum's votes and never will, so it is dead. What
 * was planned in an earlier one may be bound at a trustee outside this quorum, and be decided yet. Where more promise
 * than are needed, those that voted last do not count: who says that it voted, and did not, keeps no shares waiting.
 */
export type Verdict =
  | { readonly free: true; readonly voted: number }
  | { readonly free: false; readonly hash: string };

export class Electorate {
  /** The epoch whose trustees decide. */
  readonly current: EpochDescriptor;
  private readonly verify: Verify;

  constructor(current: EpochDescriptor, verify: Verify) {
    this.current = current;
    this.verify = verify;
  }

  /** The epoch to be made. */
  get epoch(): number {
    return this.current.plan.epoch + 1;
  }

  get members(): readonly HostId[] {
    return this.current.plan.trustees;
  }

  get threshold(): number {
    return this.current.plan.threshold;
  }

  has(host: HostId): boolean {
    return this.members.includes(host);
  }

  /** The one trustee that may lead a ballot. */
  leaderOf(ballot: number): HostId {
    return this.members[ballot % this.members.length]!;
  }

  /** The least ballot above `floor` that `leader` may lead. */
  ballotAbove(floor: number, leader: HostId): number {
    const seats = this.members.length;
    const seat = this.members.indexOf(leader);
    const round = Math.floor(floor / seats) * seats + seat;
    return round > floor ? round : round + seats;
  }

  sign(content: VoucherContent, signer: Signer): Voucher {
    const message = voucherMessage(this.current.plan.mesh, this.current.hash, content);
    return { ...content, by: signer.publicKey, signature: signer.sign(message) };
  }

  /** Whether its signer really said it, about this very succession. */
  isGenuine(voucher: Voucher): boolean {
    if (voucher.epoch !== this.epoch) return false;
    const message = voucherMessage(this.current.plan.mesh, this.current.hash, voucher);
    return this.verify(voucher.by, message, voucher.signature);
  }

  /** Throws unless `vouchers` are of `needed` different hosts of `among`, each of that role and ballot. */
  private checkQuorum(
    vouchers: readonly Voucher[],
    role: VoucherRole,
    ballot: number,
    among: readonly HostId[],
    needed: number,
  ): void {
    const signers = new Set<HostId>();
    for (const voucher of vouchers) {
      if (voucher.role !== role || voucher.ballot !== ballot)
        throw new Fault('unjustified', `a ${voucher.role} of ballot ${voucher.ballot} proves no ${role}`);
      if (!among.includes(voucher.by) || signers.has(voucher.by))
        throw new Fault('unjustified', `a ${role} comes from a stranger, or twice`);
      if (!this.isGenuine(voucher)) throw new Fault('unjustified', `a ${role} is not signed by its author`);
      signers.add(voucher.by);
    }
    if (signers.size < needed)
      throw new Fault('unjustified', `${signers.size} of the ${needed} needed give a ${role}`);
  }

  private checkValue(
    vouchers: readonly Voucher[],
    role: VoucherRole,
    ballot: number,
    hash: string,
    among: readonly HostId[],
    needed: number,
  ): void {
    this.checkQuorum(vouchers, role, ballot, among, needed);
    for (const voucher of vouchers)
      if (!speaksOf(voucher, ballot, hash))
        throw new Fault('unjustified', `a ${role} speaks of something else`);
  }

  /** Throws `Fault('unjustified')` unless a quorum voted for this value in this ballot. */
  checkLock(lock: Lock): void {
    const { ballot, descriptor, votes } = lock;
    this.checkValue(votes, 'vote', ballot, descriptor.hash, this.members, this.threshold);
  }

  /** Throws `Fault('unjustified')` unless a quorum accepted this value in one ballot: it is decided. */
  checkDecision(accepted: readonly Voucher[], hash: string): void {
    const ballot = accepted[0]?.ballot ?? 0;
    this.checkValue(accepted, 'accepted', ballot, hash, this.members, this.threshold);
  }

  /** Throws `Fault('unjustified')` unless enough new trustees hold their share durably. */
  checkAcks(acks: readonly Voucher[], descriptor: EpochDescriptor): void {
    const { trustees, threshold, ballot } = descriptor.plan;
    const needed = sharesNeeded(threshold, trustees.length);
    this.checkValue(acks, 'ack', ballot, descriptor.hash, trustees, needed);
  }

  /**
   * What the promises leave open. A promise that names an acceptance counts with its proof alone: the highest
   * one named must come with the votes for it. Throws `Fault('unjustified')`.
   */
  judge(justification: Justification, ballot: number): Verdict {
    const { promises, lock } = justification;
    this.checkQuorum(promises, 'promise', ballot, this.members, this.threshold);
    let highest: Voucher['value'] = null;
    for (const { value } of promises)
      if (value !== null && (highest === null || value.ballot > highest.ballot)) highest = value;
    if (highest === null) {
      const voted = promises.map((promise) => promise.voted).sort((a, b) => a - b);
      return { free: true, voted: voted[this.threshold - 1]! };
    }
    if (
      lock === null ||
      lock.ballot !== highest.ballot ||
      lock.descriptor.hash !== highest.hash ||
      lock.ballot >= ballot
    )
      throw new Fault('unjustified', 'the highest acceptance that the promises name is not proven');
    this.checkLock(lock);
    return { free: false, hash: highest.hash };
  }
}
