/**
 * The signature over one decision: the run of a trustee that lends its share, and that of the coordinator, who
 * asks those first who said first that they are there.
 */
import { assert, earliest, Fault, type HostId, type Millis } from '../../core.ts';
import type { CryptoSession } from '../epoch/crypto-port.ts';
import { type CoordinatorEffect, type CoordinatorInput, SigningCoordinator } from '../frost/coordinator.ts';
import type { GroupKey } from '../frost/keys.ts';
import { decodeNonceCommitments, nonceEntropyBytes, SigningNonces } from '../frost/nonces.ts';
import type { Seat } from '../frost/polynomial.ts';
import { SigningSession, signShare } from '../frost/signing.ts';
import type { EngineReport } from './engine-port.ts';
import { seatOf } from './epoch-group.ts';
import type { HeldShare } from './held-shares.ts';
import type { EngineOptions, Run } from './run.ts';
import {
  decodeSigningMessage,
  encodeSigningMessage,
  maxAttempts,
  type SigningMessage,
} from './signing-message.ts';

export type SignSession = Extract<CryptoSession, { kind: 'sign' }>;

/** One share's part in one signature: one pair of nonces at a time, for one message. */
class SharePart {
  private readonly held: HeldShare;
  private readonly message: Uint8Array;
  private readonly entropy: EngineOptions['entropy'];
  private attempt = 0;
  private nonces: SigningNonces | null = null;

  constructor(held: HeldShare, message: Uint8Array, entropy: EngineOptions['entropy']) {
    this.held = held;
    this.message = message;
    this.entropy = entropy;
  }

  /** Null where it was done for this attempt or a later one. */
  commit(attempt: number): Uint8Array | null {
    if (attempt <= this.attempt || attempt > maxAttempts) return null;
    this.attempt = attempt;
    this.nonces = SigningNonces.create(this.held.share, this.entropy(nonceEntropyBytes));
    return this.nonces.commitment.wire;
  }

  /** Null where the nonces are not there any more, or not in the commitments. They are gone in any case. */
  sign(attempt: number, commitments: Uint8Array): Uint8Array | null {
    const { nonces } = this;
    if (attempt !== this.attempt || nonces === null) return null;
    this.nonces = null;
    try {
      const list = decodeNonceCommitments(commitments);
      return signShare(new SigningSession(this.held.group, this.message, list), this.held.share, nonces);
    } catch (error) {
      if (error instanceof Fault) return null;
      throw error;
    }
  }
}

/** Null for what cannot be read, which says nothing. */
function readMessage(bytes: Uint8Array): SigningMessage | null {
  try {
    return decodeSigningMessage(bytes);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

/** Signs the message that the session is for, whatever the coordinator would rather have signed. */
export class AnsweringRun implements Run {
  private readonly session: SignSession;
  private readonly part: SharePart;

  constructor(session: SignSession, held: HeldShare, { entropy }: EngineOptions) {
    this.session = session;
    this.part = new SharePart(held, session.message, entropy);
  }

  start(): readonly EngineReport[] {
    return [this.say({ type: 'here' })];
  }

  /** At most one answer to a message, and two in an attempt. */
  deliver(from: HostId, bytes: Uint8Array): readonly EngineReport[] {
    const message = from === this.session.coordinator ? readMessage(bytes) : null;
    if (message?.type === 'ask') {
      const { attempt } = message;
      const commitment = this.part.commit(attempt);
      return commitment === null ? [] : [this.say({ type: 'commitment', attempt, bytes: commitment })];
    }
    if (message?.type !== 'request-share') return [];
    const { attempt } = message;
    const share = this.part.sign(attempt, message.commitments);
    return [
      this.say(share === null ? { type: 'refused', attempt } : { type: 'share', attempt, bytes: share }),
    ];
  }

  private say(message: SigningMessage): EngineReport {
    const { id, coordinator } = this.session;
    return { type: 'send', session: id, to: coordinator, bytes: encodeSigningMessage(message) };
  }

  kept(): readonly EngineReport[] {
    return [];
  }

  wake(): readonly EngineReport[] {
    return [];
  }

  nextWake(): Millis | null {
    return null;
  }
}

export class CoordinatingRun implements Run {
  private readonly session: SignSession;
  private readonly options: EngineOptions;
  private readonly group: GroupKey;
  private readonly ownSeat: Seat | null;
  private readonly ownPart: SharePart | null;
  /** Seats in the order in which they said that they are there. */
  private readonly present: Seat[] = [];
  private coordinator: SigningCoordinator | null = null;
  private gatherUntil: Millis | null = null;
  private readonly blamed: HostId[] = [];
  private isOver = false;

  /** `held` is this host's own share, which then takes part without a message; null where it has none. */
  constructor(session: SignSession, group: GroupKey, held: HeldShare | null, options: EngineOptions) {
    this.session = session;
    this.options = options;
    this.group = group;
    this.ownSeat = held?.share.seat ?? null;
    this.ownPart = held === null ? null : new SharePart(held, session.message, options.entropy);
  }

  start(now: Millis): readonly EngineReport[] {
    this.gatherUntil = now + this.options.timings.gatherMs;
    return this.ownSeat === null ? [] : this.arrive(this.ownSeat, now);
  }

  deliver(from: HostId, bytes: Uint8Array, now: Millis): readonly EngineReport[] {
    const seat = seatOf(this.session.from.plan.trustees, from);
    const message = readMessage(bytes);
    if (seat === null || seat === this.ownSeat || message === null || this.isOver) return [];
    switch (message.type) {
      case 'here':
        return this.arrive(seat, now);
      case 'commitment':
        return this.feed({ ...message, seat, nonceId: '' }, now);
      case 'share':
      case 'refused':
        return this.feed({ ...message, seat }, now);
      // Only coordinators say so.
      case 'ask':
      case 'request-share':
        return [];
    }
  }

  /** Begins once there are enough. */
  private arrive(seat: Seat, now: Millis): EngineReport[] {
    if (this.coordinator !== null || this.present.includes(seat)) return [];
    this.present.push(seat);
    const { group, present } = this;
    if (present.length < group.threshold) return [];
    this.gatherUntil = null;
    this.coordinator = new SigningCoordinator({
      group,
      message: this.session.message,
      candidates: [...present, ...group.seats.filter((other) => !present.includes(other))],
      answerWithinMs: this.options.timings.answerMs,
    });
    return this.feed({ type: 'start' }, now);
  }

  private feed(input: CoordinatorInput, now: Millis): EngineReport[] {
    const { coordinator } = this;
    if (coordinator === null) return [];
    const reports: EngineReport[] = [];
    const inputs = [input];
    for (let next = inputs.shift(); next !== undefined; next = inputs.shift())
      for (const effect of coordinator.step(next, now)) {
        const own = 'seat' in effect && effect.seat === this.ownSeat ? this.answer(effect) : null;
        if (own !== null) inputs.push(own);
        else reports.push(...this.reportsOf(effect));
      }
    return reports;
  }

  /** This host's own answer, in line. */
  private answer(effect: CoordinatorEffect): CoordinatorInput | null {
    assert(this.ownPart !== null && this.ownSeat !== null, 'only who has a share is asked for it');
    const seat = this.ownSeat;
    if (effect.type === 'ask') {
      const { attempt } = effect;
      const bytes = this.ownPart.commit(attempt);
      return bytes === null
        ? { type: 'refused', seat, attempt }
        : { type: 'commitment', seat, attempt, nonceId: '', bytes };
    }
    if (effect.type !== 'request-share') return null;
    const { attempt } = effect;
    const bytes = this.ownPart.sign(attempt, effect.commitments);
    return bytes === null ? { type: 'refused', seat, attempt } : { type: 'share', seat, attempt, bytes };
  }

  private reportsOf(effect: CoordinatorEffect): EngineReport[] {
    switch (effect.type) {
      case 'ask':
        return [this.say(effect.seat, { type: 'ask', attempt: effect.attempt })];
      case 'request-share': {
        const { seat, attempt, commitments } = effect;
        return [this.say(seat, { type: 'request-share', attempt, commitments })];
      }
      case 'excluded':
        if (effect.reason === 'bad-share') this.blamed.push(this.hostOf(effect.seat));
        return [];
      case 'signed':
        this.isOver = true;
        return [{ type: 'signed', session: this.session.id, signature: effect.signature }];
      case 'failed':
        return this.fail(effect.fault.message);
    }
  }

  private fail(detail: string): EngineReport[] {
    this.isOver = true;
    return [{ type: 'failed', session: this.session.id, blamed: this.blamed, detail }];
  }

  private hostOf(seat: Seat): HostId {
    return this.session.from.plan.trustees[seat - 1]!;
  }

  private say(seat: Seat, message: SigningMessage): EngineReport {
    const bytes = encodeSigningMessage(message);
    return { type: 'send', session: this.session.id, to: this.hostOf(seat), bytes };
  }

  kept(): readonly EngineReport[] {
    return [];
  }

  wake(now: Millis): readonly EngineReport[] {
    if (this.gatherUntil === null || now < this.gatherUntil) return this.feed({ type: 'wake' }, now);
    this.gatherUntil = null;
    const { threshold } = this.group;
    return this.fail(`${threshold} trustees must sign, and ${this.present.length} are there`);
  }

  nextWake(): Millis | null {
    return earliest(this.gatherUntil, this.coordinator?.nextWake() ?? null);
  }
}
