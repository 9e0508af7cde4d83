/**
 * The requester's side of one threshold signature. It asks as many trustees as are needed for nonce
 * commitments, has them sign, and adds up. Whoever refuses, is silent or sends a bad share is left out, and
 * the rest are asked anew, with fresh nonces: each round costs a trustee, so it ends, signed or not.
 */
import { assert, Fault, type Machine, type Millis, unreachable } from '../../core.ts';
import type { GroupKey } from './keys.ts';
import { decodeNonceCommitment, encodeNonceCommitments, type NonceCommitment } from './nonces.ts';
import type { Seat } from './polynomial.ts';
import { aggregate, SigningSession } from './signing.ts';

export type CoordinatorInput =
  | { readonly type: 'start' }
  /** The answer to `ask`; `nonceId` is the trustee's name for its nonces. */
  | {
      readonly type: 'commitment';
      readonly seat: Seat;
      readonly attempt: number;
      readonly nonceId: string;
      readonly bytes: Uint8Array;
    }
  /** The answer to `request-share`. */
  | { readonly type: 'share'; readonly seat: Seat; readonly attempt: number; readonly bytes: Uint8Array }
  /** The trustee would not, or could not be reached. */
  | { readonly type: 'refused'; readonly seat: Seat; readonly attempt: number }
  | { readonly type: 'wake' };

/** Why a trustee was left out. Only a bad share was shown to be its fault. */
export type ExclusionReason = 'bad-share' | 'bad-commitment' | 'refused' | 'silent';

export type CoordinatorEffect =
  /** Ask for a nonce commitment. */
  | { readonly type: 'ask'; readonly seat: Seat; readonly attempt: number }
  /** Ask for a share, with everybody's commitments (`decodeNonceCommitments`). */
  | {
      readonly type: 'request-share';
      readonly seat: Seat;
      readonly attempt: number;
      readonly nonceId: string;
      readonly commitments: Uint8Array;
    }
  | { readonly type: 'excluded'; readonly seat: Seat; readonly reason: ExclusionReason }
  /** Verified as plain Ed25519 under the group's key. */
  | { readonly type: 'signed'; readonly signature: Uint8Array }
  /** Code `quorum-lost`: fewer trustees are left than must sign. */
  | { readonly type: 'failed'; readonly fault: Fault };

export interface CoordinatorSetup {
  readonly group: GroupKey;
  readonly message: Uint8Array;
  /** Trustees to ask, whom to ask first in front: seats of the group, each once. */
  readonly candidates: readonly Seat[];
  /** How long a trustee may take for each answer. */
  readonly answerWithinMs: number;
}

interface Committed {
  readonly commitment: NonceCommitment;
  readonly nonceId: string;
}

export class SigningCoordinator implements Machine<CoordinatorInput, CoordinatorEffect> {
  private readonly setup: CoordinatorSetup;
  private candidates: readonly Seat[];
  private attempt = 0;
  /** Who signs in this attempt. */
  private signers: readonly Seat[] = [];
  private committed = new Map<Seat, Committed>();
  private session: SigningSession | null = null;
  private shares = new Map<Seat, Uint8Array>();
  private deadline: Millis | null = null;
  private effects: CoordinatorEffect[] = [];

  /** Throws `Fault('unknown-signer')` for candidates who are no trustees. */
  constructor(setup: CoordinatorSetup) {
    const { group, candidates } = setup;
    if (!candidates.every((seat) => group.seats.includes(seat)))
      throw new Fault('unknown-signer', 'only trustees can be asked to sign');
    this.setup = setup;
    this.candidates = [...new Set(candidates)];
  }

  nextWake(): Millis | null {
    return this.deadline;
  }

  step(input: CoordinatorInput, now: Millis): readonly CoordinatorEffect[] {
    this.effects = [];
    switch (input.type) {
      case 'start':
        assert(this.attempt === 0, 'a signature is coordinated once');
        this.begin(now);
        break;
      case 'commitment':
        if (this.isExpected(input, this.session === null)) this.takeCommitment(input, now);
        break;
      case 'share':
        if (this.isExpected(input, this.session !== null)) this.takeShare(input.seat, input.bytes, now);
        break;
      case 'refused':
        if (this.isExpected(input, true)) this.exclude([input.seat], 'refused', now);
        break;
      case 'wake':
        this.wake(now);
        break;
      default:
        unreachable(input);
    }
    return this.effects;
  }

  /** Answers to what is not asked any more, and second ones, count for nothing. */
  private isExpected(answer: { readonly seat: Seat; readonly attempt: number }, isPhase: boolean): boolean {
    const isOpen = this.deadline !== null && isPhase && answer.attempt === this.attempt;
    return isOpen && this.signers.includes(answer.seat);
  }

  /** Asks the first trustees that are left for new nonces. */
  private begin(now: Millis): void {
    const { threshold } = this.setup.group;
    this.attempt++;
    this.session = null;
    this.committed = new Map();
    this.shares = new Map();
    if (this.candidates.length < threshold) {
      this.deadline = null;
      const message = `${threshold} trustees must sign, and ${this.candidates.length} are left`;
      this.effects.push({ type: 'failed', fault: new Fault('quorum-lost', message) });
      return;
    }
    this.signers = this.candidates.slice(0, threshold);
    this.deadline = now + this.setup.answerWithinMs;
    for (const seat of this.signers) this.effects.push({ type: 'ask', seat, attempt: this.attempt });
  }

  private takeCommitment(input: Extract<CoordinatorInput, { type: 'commitment' }>, now: Millis): void {
    if (this.committed.has(input.seat)) return;
    const commitment = readCommitment(input.seat, input.bytes);
    if (commitment === null) {
      this.exclude([input.seat], 'bad-commitment', now);
      return;
    }
    this.committed.set(input.seat, { commitment, nonceId: input.nonceId });
    if (this.committed.size === this.signers.length) this.requestShares(now);
  }

  private requestShares(now: Millis): void {
    const { group, message, answerWithinMs } = this.setup;
    const list = [...this.committed.values()].map(({ commitment }) => commitment);
    this.session = new SigningSession(group, message, list);
    this.deadline = now + answerWithinMs;
    const commitments = encodeNonceCommitments(list);
    for (const [seat, { nonceId }] of this.committed)
      this.effects.push({ type: 'request-share', seat, attempt: this.attempt, nonceId, commitments });
  }

  private takeShare(seat: Seat, bytes: Uint8Array, now: Millis): void {
    if (this.session === null || this.shares.has(seat)) return;
    this.shares.set(seat, bytes);
    if (this.shares.size < this.signers.length) return;
    const result = aggregate(this.session, this.shares);
    if (result.type === 'blamed') {
      this.exclude(result.seats, 'bad-share', now);
      return;
    }
    this.deadline = null;
    this.effects.push({ type: 'signed', signature: result.signature });
  }

  private exclude(seats: readonly Seat[], reason: ExclusionReason, now: Millis): void {
    this.candidates = this.candidates.filter((seat) => !seats.includes(seat));
    for (const seat of seats) this.effects.push({ type: 'excluded', seat, reason });
    this.begin(now);
  }

  private wake(now: Millis): void {
    if (this.deadline === null || now < this.deadline) return;
    const answered = this.session === null ? this.committed : this.shares;
    this.exclude(
      this.signers.filter((seat) => !answered.has(seat)),
      'silent',
      now,
    );
  }
}

/** Null where it is malformed, or of another seat. */
function readCommitment(seat: Seat, bytes: Uint8Array): NonceCommitment | null {
  try {
    const commitment = decodeNonceCommitment(bytes);
    return commitment.seat === seat ? commitment : null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
