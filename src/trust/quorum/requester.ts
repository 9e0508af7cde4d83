/**
 * Gets signatures from a quorum of trustees for whoever needs them on this host: certificates for its services,
 * now and then a certificate or a statement of a root. Trustees that refuse, are silent or send bad shares are
 * done without; what none of them would sign says why.
 */
import { assert, earliest, Fault, type HostId, type Machine, type Millis, unreachable } from '../../core.ts';
import type { EpochDescriptor } from '../epoch/descriptor.ts';
import { type CoordinatorEffect, type CoordinatorInput, SigningCoordinator } from '../frost/coordinator.ts';
import type { GroupKey } from '../frost/keys.ts';
import type { Seat } from '../frost/polynomial.ts';
import { maxSigningMessageBytes } from '../frost/signing.ts';
import { Boots } from './boots.ts';
import { groupOfEpoch, seatOf } from './epoch-group.ts';
import {
  decodeQuorumMessage,
  encodeQuorumMessage,
  isQuorumRequest,
  maxPurposeBytes,
  maxQuorumRequestId,
  type QuorumAnswer,
  type QuorumRequest,
} from './message.ts';
import { type Refused, Signing, type SigningTask } from './signing.ts';
import { SoleSigner } from './sole-signer.ts';

export type { SigningTask };

export type RequesterInput =
  | { readonly type: 'wake' }
  | { readonly type: 'sign'; readonly task: SigningTask }
  /** A `QuorumAnswer`; `from` is the key that the channel proved. */
  | { readonly type: 'message'; readonly from: HostId; readonly bytes: Uint8Array }
  /** Something sent to this host did not arrive. */
  | { readonly type: 'unreachable'; readonly host: HostId };

export type RequesterEffect =
  /** A `QuorumRequest`. May be lost. `to` may be this host itself. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  /** Verified as plain Ed25519 under the epoch's root key. */
  | { readonly type: 'signed'; readonly requestId: string; readonly signature: Uint8Array }
  /**
   * The code on which all who refused agree, or `quorum-lost`; `timed-out`, `too-many-requests`,
   * `outcome-unsound`.
   */
  | {
      readonly type: 'failed';
      readonly requestId: string;
      readonly code: string;
      readonly message: string;
      /** Not to be asked again before this long; 0 when waiting is not what is needed. */
      readonly retryAfterMs: number;
    }
  /** `bad-share` or `bad-commitment`: shown to be the fault of this trustee, to this host alone. */
  | { readonly type: 'blamed'; readonly host: HostId; readonly reason: string }
  /** `cloned-trustee`: an operator must find out which of two copies of a host is to go. */
  | { readonly type: 'alarm'; readonly code: string; readonly host: HostId; readonly detail: string };

export interface RequesterTimings {
  /** How long a trustee may take for each of its two answers. */
  readonly answerWithinMs: Millis;
  /** How long one signature may take, waiting for its turn included. */
  readonly requestWithinMs: Millis;
}

/** Whoever waits for a certificate waits ten seconds (`SvidKeeper`); three silent trustees fit into it. */
export const defaultRequesterTimings: RequesterTimings = { answerWithinMs: 2000, requestWithinMs: 9000 };

export interface RequesterOptions {
  readonly timings: RequesterTimings;
  /** Where ids on the wire begin: drawn anew at each start, so that no answer to an earlier process fits. */
  readonly firstId: number;
}

/** Under way or waiting for their turn. */
export const maxSignings = 64;
/** At once; each has nonces promised by every trustee asked, who promises eight to one requester. */
const maxActive = 4;
const maxGroups = 4;
const maxDemoted = 64;
/** How long a trustee that failed is asked last. */
const silentPauseMs = 30_000;
const blamedPauseMs = 600_000;

export class QuorumRequester implements Machine<RequesterInput, RequesterEffect> {
  private readonly timings: RequesterTimings;
  /** By their id on the wire, in the order they came. */
  private readonly signings = new Map<number, Signing>();
  private readonly groups = new Map<string, GroupKey>();
  private readonly boots = new Boots();
  /** Who is asked last, and until when. */
  private readonly demoted = new Map<HostId, Millis>();
  private lastId: number;
  private effects: RequesterEffect[] = [];

  constructor(options: RequesterOptions) {
    this.timings = options.timings;
    this.lastId = options.firstId % maxQuorumRequestId;
  }

  nextWake(): Millis | null {
    let wake: Millis | null = null;
    for (const signing of this.signings.values()) wake = earliest(wake, signing.nextWake());
    return wake;
  }

  step(input: RequesterInput, now: Millis): readonly RequesterEffect[] {
    this.effects = [];
    switch (input.type) {
      case 'wake':
        this.wake(now);
        break;
      case 'sign':
        this.add(input.task, now);
        break;
      case 'message':
        this.take(input.from, input.bytes, now);
        break;
      case 'unreachable':
        this.unreachable(input.host, now);
        break;
      default:
        unreachable(input);
    }
    this.startNext(now);
    return this.effects;
  }

  private add(task: SigningTask, now: Millis): void {
    assert(task.purpose.length <= maxPurposeBytes, 'a purpose fits into a message');
    assert(task.message.length <= maxSigningMessageBytes, 'what is signed has at most 64 KB');
    const { requestId } = task;
    if (this.signings.size >= maxSignings) {
      const message = `${maxSignings} signatures are waited for already`;
      this.effects.push({
        type: 'failed',
        requestId,
        code: 'too-many-requests',
        message,
        retryAfterMs: 1000,
      });
      return;
    }
    for (const other of this.signings.values())
      assert(other.task.requestId !== requestId, 'one signature of a name is under way');
    this.lastId = (this.lastId % maxQuorumRequestId) + 1;
    this.signings.set(this.lastId, new Signing(this.lastId, task, now + this.timings.requestWithinMs));
  }

  private startNext(now: Millis): void {
    let active = 0;
    for (const signing of this.signings.values()) {
      if (active >= maxActive) return;
      if (!signing.isActive) this.start(signing, now);
      if (this.signings.has(signing.id)) active++;
    }
  }

  private start(signing: Signing, now: Millis): void {
    try {
      signing.coordinator = this.coordinatorFor(signing.task, now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.fail(signing, { code: error.code, message: error.message, retryAfterMs: 0 });
      return;
    }
    this.feed(signing, { type: 'start' }, now);
  }

  /** Throws `Fault('outcome-unsound')`. */
  private coordinatorFor(
    { epoch, message, order }: SigningTask,
    now: Millis,
  ): Machine<CoordinatorInput, CoordinatorEffect> {
    const { answerWithinMs } = this.timings;
    if (epoch.plan.threshold === 1) return new SoleSigner(epoch.rootKey, message, answerWithinMs);
    const isDemoted = (host: HostId): boolean => (this.demoted.get(host) ?? 0) > now;
    const candidates = [...new Set([...order.filter((host) => !isDemoted(host)), ...order])]
      .map((host) => seatOf(epoch.plan.trustees, host))
      .filter((seat) => seat !== null);
    return new SigningCoordinator({ group: this.groupOf(epoch), message, candidates, answerWithinMs });
  }

  /** Reading a group takes milliseconds, and one serves for as long as its epoch. */
  private groupOf(epoch: EpochDescriptor): GroupKey {
    let group = this.groups.get(epoch.hash);
    if (group === undefined) {
      group = groupOfEpoch(epoch);
      putBounded(this.groups, epoch.hash, group, maxGroups);
    }
    return group;
  }

  private wake(now: Millis): void {
    for (const signing of [...this.signings.values()])
      if (now >= signing.deadline)
        this.fail(signing, signing.failure('timed-out', 'there was no signature in time'));
      else if (signing.isDue(now)) this.feed(signing, { type: 'wake' }, now);
  }

  /** What is late, repeated, malformed or from nobody who was asked finds nobody waiting and changes nothing. */
  private take(from: HostId, bytes: Uint8Array, now: Millis): void {
    let message: QuorumRequest | QuorumAnswer;
    try {
      message = decodeQuorumMessage(bytes);
    } catch (error) {
      if (error instanceof Fault) return;
      throw error;
    }
    if (isQuorumRequest(message)) return;
    const signing = this.signings.get(message.requestId);
    const seat = signing === undefined ? null : seatOf(signing.task.epoch.plan.trustees, from);
    if (signing === undefined || seat === null) return;
    const asked = signing.answered(seat, message);
    if (asked === null) return;
    switch (message.type) {
      case 'commitment':
        this.takeCommitment(signing, from, seat, { ...message, askedAt: asked.at }, now);
        break;
      case 'share':
        this.feed(signing, { type: 'share', seat, attempt: asked.attempt, bytes: message.bytes }, now);
        break;
      case 'refused': {
        const { code, message: text, retryAfterMs } = message;
        this.refuse(signing, from, seat, { code, message: text, retryAfterMs }, now);
        break;
      }
    }
  }

  private takeCommitment(
    signing: Signing,
    from: HostId,
    seat: Seat,
    offer: { readonly nonceId: string; readonly bytes: Uint8Array; readonly askedAt: Millis },
    now: Millis,
  ): void {
    const { nonceId, bytes } = offer;
    // A key that is held whole needs no nonces, and its offers have one name.
    const isThreshold = signing.task.epoch.plan.threshold > 1;
    const proof = isThreshold ? this.boots.observe(from, nonceId, offer.askedAt, now) : null;
    if (proof !== null) {
      this.effects.push({ type: 'alarm', code: 'cloned-trustee', host: from, detail: proof });
      this.demote(from, now + blamedPauseMs, now);
      this.refuse(signing, from, seat, { code: 'cloned-trustee', message: proof, retryAfterMs: 0 }, now);
      return;
    }
    signing.keepOffer(seat, { nonceId, bytes, at: now });
    this.feed(signing, { type: 'commitment', seat, attempt: signing.attempt, nonceId, bytes }, now);
  }

  private refuse(signing: Signing, host: HostId, seat: Seat, refused: Refused, now: Millis): void {
    signing.refusals.set(host, refused);
    if (refused.retryAfterMs > 0) this.demote(host, now + Math.min(refused.retryAfterMs, silentPauseMs), now);
    this.feed(signing, { type: 'refused', seat, attempt: signing.attempt }, now);
  }

  private unreachable(host: HostId, now: Millis): void {
    const refused: Refused = { code: 'unreachable', message: '', retryAfterMs: 0 };
    for (const signing of [...this.signings.values()]) {
      const seat = seatOf(signing.task.epoch.plan.trustees, host);
      if (seat === null || !signing.isWaitingFor(seat)) continue;
      this.demote(host, now + silentPauseMs, now);
      this.refuse(signing, host, seat, refused, now);
    }
  }

  private demote(host: HostId, until: Millis, now: Millis): void {
    for (const [other, end] of this.demoted) if (end <= now) this.demoted.delete(other);
    putBounded(this.demoted, host, Math.max(until, this.demoted.get(host) ?? 0), maxDemoted);
  }

  private feed(signing: Signing, first: CoordinatorInput, now: Millis): void {
    const inputs = [first];
    for (let input = inputs.shift(); input !== undefined; input = inputs.shift()) {
      assert(signing.coordinator !== null, 'what is fed has begun');
      for (const effect of signing.coordinator.step(input, now)) {
        const known = this.carryOut(signing, effect, now);
        if (known !== null) inputs.push(known);
      }
    }
  }

  /** Gives the answer to `ask` where it is known already. */
  private carryOut(signing: Signing, effect: CoordinatorEffect, now: Millis): CoordinatorInput | null {
    const { requestId } = signing.task;
    switch (effect.type) {
      case 'ask': {
        const { seat, attempt } = effect;
        signing.attempt = attempt;
        const offer = signing.offerOf(seat, now);
        if (offer !== null)
          return { type: 'commitment', seat, attempt, nonceId: offer.nonceId, bytes: offer.bytes };
        const request = signing.ask(seat, now);
        if (request !== null) this.send(signing, seat, request);
        return null;
      }
      case 'request-share':
        this.send(signing, effect.seat, signing.requestShare(effect, now));
        return null;
      case 'excluded':
        this.exclude(signing, effect, now);
        return null;
      case 'signed':
        this.signings.delete(signing.id);
        this.effects.push({ type: 'signed', requestId, signature: effect.signature });
        return null;
      case 'failed':
        this.fail(signing, signing.failure(effect.fault.code, effect.fault.message));
        return null;
    }
  }

  private exclude(
    signing: Signing,
    { seat, reason }: Extract<CoordinatorEffect, { type: 'excluded' }>,
    now: Millis,
  ): void {
    if (reason === 'refused') return;
    const host = signing.hostOf(seat);
    signing.refusals.set(host, { code: reason, message: '', retryAfterMs: 0 });
    this.demote(host, now + (reason === 'silent' ? silentPauseMs : blamedPauseMs), now);
    if (reason !== 'silent') this.effects.push({ type: 'blamed', host, reason });
  }

  private send(signing: Signing, seat: Seat, request: QuorumRequest): void {
    this.effects.push({ type: 'send', to: signing.hostOf(seat), bytes: encodeQuorumMessage(request) });
  }

  private fail(signing: Signing, failure: Refused): void {
    this.signings.delete(signing.id);
    this.effects.push({ type: 'failed', requestId: signing.task.requestId, ...failure });
  }
}

/** Adds to a map that forgets what was put there longest ago. */
function putBounded<K, V>(map: Map<K, V>, key: K, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > limit)
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
}
