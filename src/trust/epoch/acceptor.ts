/**
 * A trustee's word in the succession of one epoch: what it promised, voted and accepted.
 *
 * Every answer but a refusal may leave only when the state that it rests on is durable: a trustee that forgets
 * its promise in a crash can help two successors into the world. The caller persists before it sends.
 */
import {
  type ByteReader,
  type ByteWriter,
  Fault,
  type HostId,
  type Millis,
  type Signer,
} from '../../core.ts';
import { maxBallot, maxDescriptorBytes } from './descriptor.ts';
import type { Electorate, Lock } from './electorate.ts';
import { decodeLock, type EpochMessage, encodeLock } from './message.ts';
import type { EpochTimings } from './port.ts';
import { leadersNeeded } from './silence.ts';

type Of<T extends EpochMessage['type']> = Extract<EpochMessage, { type: T }>;
export type Refused = Of<'refused'>;

/** What must survive a crash. */
export interface AcceptorState {
  /** The epoch to be made that it is about. */
  readonly epoch: number;
  /** Follows no ballot below this. */
  readonly promised: number;
  /** The one value it voted for in its last ballot. */
  readonly voted: { readonly ballot: number; readonly hash: string } | null;
  /** What it last accepted. */
  readonly lock: Lock | null;
}

/**
 * Ballots that a leader may skip at once: less than others believe this trustee of what it was made to promise (see
 * `BallotHeight`), or one leader could have it follow nobody else.
 */
export const maxLeapRounds = 512;
const maxLockBytes = maxDescriptorBytes + 4096;

export function freshAcceptor(epoch: number): AcceptorState {
  return { epoch, promised: 0, voted: null, lock: null };
}

export function writeAcceptor(writer: ByteWriter, state: AcceptorState): void {
  writer.varint(state.epoch).varint(state.promised);
  writer.u8(state.voted === null ? 0 : 1);
  if (state.voted !== null) writer.varint(state.voted.ballot).hex(state.voted.hash);
  writer.bytes(encodeLock(state.lock));
}

export function readAcceptor(reader: ByteReader): AcceptorState {
  const epoch = reader.varint();
  const promised = reader.varint(maxBallot);
  const voted = reader.u8() === 0 ? null : { ballot: reader.varint(maxBallot), hash: reader.hex(32) };
  return { epoch, promised, voted, lock: decodeLock(reader.bytes(maxLockBytes)) };
}

export class Acceptor {
  private readonly electorate: Electorate;
  private readonly signer: Signer;
  private readonly timings: Pick<EpochTimings, 'leaseMs' | 'roundMs' | 'holdMs'>;
  private current: AcceptorState;
  /** Who leads, since it showed that a quorum follows. In memory only: forgetting it costs a duel of leaders. */
  private lease: { readonly leader: HostId; readonly ballot: number; readonly since: Millis } | null = null;
  /** Who was promised a ballot last, until when it may show that a quorum follows, and how high it may go. In memory only, too. */
  private hold: { readonly leader: HostId; readonly until: Millis; readonly most: number } | null = null;
  /** When each trustee was last promised a ballot. */
  private readonly promisedAt = new Map<HostId, Millis>();
  /** The last ballot of each trustee that was too high to follow, and when that last let this one reach higher. */
  private readonly asked = new Map<HostId, number>();
  private readonly reachedAt = new Map<HostId, Millis>();
  /** A ballot from which it leaps, where that is above the one it promised. */
  private reach = 0;

  constructor(
    electorate: Electorate,
    signer: Signer,
    timings: Pick<EpochTimings, 'leaseMs' | 'roundMs' | 'holdMs'>,
    state: AcceptorState,
  ) {
    this.electorate = electorate;
    this.signer = signer;
    this.timings = timings;
    this.current = state;
  }

  get state(): AcceptorState {
    return this.current;
  }

  refuse(ballot: number, code: string, retryAfterMs = 0): Refused {
    const { epoch } = this.electorate;
    return { type: 'refused', epoch, ballot, code, promised: this.current.promised, retryAfterMs };
  }

  /** Null if `from` may lead `ballot` and it is not too low; changes nothing. */
  private judgeBallot(from: HostId, ballot: number): Refused | null {
    if (!this.electorate.has(this.signer.publicKey)) return this.refuse(ballot, 'not-a-trustee');
    if (this.electorate.leaderOf(ballot) !== from) return this.refuse(ballot, 'not-the-leader');
    if (ballot < this.current.promised) return this.refuse(ballot, 'superseded');
    return ballot > this.highestLeap ? this.refuse(ballot, 'ballot-too-high') : null;
  }

  private get maxLeap(): number {
    return maxLeapRounds * this.electorate.members.length;
  }

  private get highestLeap(): number {
    return Math.max(this.current.promised, this.reach) + this.maxLeap;
  }

  /**
   * The others are far ahead of one that was away for long. It reaches at once as high as so many leaders ask as may not
   * all lie, and for one alone in steps, not too often. That promises nothing: a ballot within reach waits its turn like
   * every other.
   */
  private catchUp(leader: HostId, ballot: number, now: Millis): void {
    this.asked.set(leader, ballot);
    const heights = [...this.asked.values()].sort((a, b) => b - a);
    const supported = heights[leadersNeeded(this.electorate.current.plan) - 1] ?? 0;
    const last = this.reachedAt.get(leader);
    const mayStep = last === undefined || now >= last + this.timings.roundMs;
    if (mayStep) this.reachedAt.set(leader, now);
    this.reach = Math.max(this.reach, supported, mayStep ? this.highestLeap : 0);
  }

  /**
   * How long `leader` has to wait. A ballot that a quorum follows is given a while to finish, and its leader
   * then lets another go first; and nobody may begin ballot after ballot, but to go somewhat higher at once where it finds
   * that others promised more. So no single trustee keeps the others from deciding: what it made some promise they outdo,
   * and while a leader is held for it cannot make that one promise more. (Giving all the time at the promise already let
   * leaders that had half a quorum each block all.) A leader that is away, as far as is seen here, is waited for no longer.
   */
  private waitFor(leader: HostId, isAway: (host: HostId) => boolean, now: Millis): Millis {
    if (this.electorate.members.length === 1) return 0;
    const { leaseMs, roundMs } = this.timings;
    const { lease, hold } = this;
    const isHeld = hold !== null && now < hold.until;
    const lastPromise = this.promisedAt.get(leader);
    let until = lastPromise === undefined || (isHeld && hold.leader === leader) ? now : lastPromise + roundMs;
    if (isHeld && hold.leader !== leader && !isAway(hold.leader)) until = Math.max(until, hold.until);
    if (lease !== null && !isAway(lease.leader))
      until = Math.max(until, lease.since + (lease.leader === leader ? 2 : 1) * leaseMs);
    return Math.max(0, until - now);
  }

  /** A quorum of promises for this ballot was seen: its leader is given time. */
  follow(leader: HostId, ballot: number, now: Millis): void {
    if (this.lease?.ballot !== ballot) this.lease = { leader, ballot, since: now };
  }

  /** Its leader gave up: another may go at once, and it only after a while, as if its time had run out. */
  released(leader: HostId, ballot: number, now: Millis): void {
    if (this.hold?.leader === leader) this.hold = null;
    if (this.lease?.leader !== leader || this.lease.ballot !== ballot) return;
    const since = Math.min(this.lease.since, now - this.timings.leaseMs);
    this.lease = { leader, ballot, since };
  }

  prepare(
    from: HostId,
    { ballot }: Of<'prepare'>,
    holdsShare: boolean,
    now: Millis,
    isAway: (host: HostId) => boolean = () => false,
  ): Of<'promise'> | Refused {
    const refusal = this.judgeBallot(from, ballot);
    if (refusal?.code === 'ballot-too-high') this.catchUp(from, ballot, now);
    if (refusal !== null) return refusal;
    if (ballot > this.current.promised) {
      const retryAfterMs = this.waitFor(from, isAway, now);
      if (retryAfterMs > 0) return this.refuse(ballot, 'busy', Math.ceil(retryAfterMs));
      const held =
        this.hold !== null && now < this.hold.until && this.hold.leader === from ? this.hold : null;
      if (held !== null && ballot > held.most) return this.refuse(ballot, 'ballot-too-high');
      if (held === null) {
        this.promisedAt.set(from, now);
        this.hold = { leader: from, until: now + this.timings.holdMs, most: this.highestLeap };
      }
      this.current = { ...this.current, promised: ballot };
    }
    const { lock } = this.current;
    // A promise repeated after its own ballot was accepted would name a lock that is not older than it.
    if (lock !== null && lock.ballot >= ballot) return this.refuse(ballot, 'superseded');
    const { epoch } = this.electorate;
    const value = lock === null ? null : { ballot: lock.ballot, hash: lock.descriptor.hash };
    const voted = this.current.voted?.ballot ?? 0;
    const content = { role: 'promise', epoch, ballot, value, voted, holdsShare } as const;
    const voucher = this.electorate.sign(content, this.signer);
    return { type: 'promise', epoch, voucher, lock };
  }

  /**
   * Votes for a value that the promises call for; where they leave the choice free, `approve` throws a `Fault`
   * unless this host would have it so. Throws `Fault('unjustified')` for what no honest leader sends.
   */
  propose(from: HostId, message: Of<'propose'>, approve: () => void, now: Millis): Of<'vote'> | Refused {
    const { ballot, descriptor } = message;
    const refusal = this.judgeBallot(from, ballot);
    if (refusal !== null) return refusal;
    const { voted } = this.current;
    if (voted?.ballot === ballot && voted.hash !== descriptor.hash)
      throw new Fault('unjustified', `a second value for ballot ${ballot}`);
    if (voted?.ballot !== ballot) {
      const verdict = this.electorate.judge(message.justification, ballot);
      this.follow(from, ballot, now);
      if (!verdict.free && verdict.hash !== descriptor.hash)
        throw new Fault('unjustified', 'the promises call for another value');
      if (verdict.free) {
        if (descriptor.plan.ballot !== ballot) throw new Fault('unjustified', 'planned in another ballot');
        this.electorate.checkAcks(message.acks, descriptor);
        approve();
      }
      this.current = { ...this.current, promised: ballot, voted: { ballot, hash: descriptor.hash } };
    }
    return {
      type: 'vote',
      epoch: this.electorate.epoch,
      voucher: this.vouch('vote', ballot, descriptor.hash),
    };
  }

  /** Accepts what a quorum voted for. Throws `Fault('unjustified')`. */
  accept(from: HostId, { lock }: Of<'accept'>): Of<'accepted'> | Refused {
    const refusal = this.judgeBallot(from, lock.ballot);
    if (refusal !== null) return refusal;
    if (this.current.lock?.ballot !== lock.ballot) {
      this.electorate.checkLock(lock);
      this.current = { ...this.current, promised: lock.ballot, lock };
    }
    const { ballot, descriptor } = this.current.lock!;
    const voucher = this.vouch('accepted', ballot, descriptor.hash);
    return { type: 'accepted', epoch: this.electorate.epoch, voucher };
  }

  private vouch(role: 'vote' | 'accepted', ballot: number, hash: string): ReturnType<Electorate['sign']> {
    const { epoch } = this.electorate;
    return this.electorate.sign(
      { role, epoch, ballot, value: { ballot, hash }, voted: 0, holdsShare: false },
      this.signer,
    );
  }
}
