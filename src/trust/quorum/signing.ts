/** One signature under way: what was asked of whom, what was answered, and what is left over for another attempt. */
import { earliest, type HostId, type Machine, type Millis } from '../../core.ts';
import type { EpochDescriptor } from '../epoch/descriptor.ts';
import type { CoordinatorEffect, CoordinatorInput } from '../frost/coordinator.ts';
import { nonceLifetimeMs } from '../frost/nonce-pool.ts';
import type { Seat } from '../frost/polynomial.ts';
import type { QuorumAnswer, QuorumRequest } from './message.ts';

/** One signature to get. */
export interface SigningTask {
  /** The caller's name for it; only one of a name is under way. */
  readonly requestId: string;
  readonly epoch: EpochDescriptor;
  readonly purpose: Uint8Array;
  /** What is to be signed, rebuilt here: what trustees think they should sign is not asked. */
  readonly message: Uint8Array;
  /** Trustees to ask, the likeliest to answer first. Others are not asked. */
  readonly order: readonly HostId[];
}

/** Why a trustee does not sign, or why nobody does. */
export interface Refused {
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number;
}

/** Nonces that a trustee promised. */
interface Offer {
  readonly nonceId: string;
  readonly bytes: Uint8Array;
  readonly at: Millis;
}

/** A request that was sent and not answered. */
interface Asked {
  readonly type: QuorumRequest['type'];
  readonly attempt: number;
  readonly at: Millis;
}

/** Promised nonces are not used any more when they are this old: the trustee may be about to drop them. */
const offerLifetimeMs: Millis = nonceLifetimeMs / 2;
/** Whatever trustees say: what they wait for is over after a few seconds. */
const longestPauseMs: Millis = 60_000;

export class Signing {
  readonly id: number;
  readonly task: SigningTask;
  /** When it is given up. */
  readonly deadline: Millis;
  /** Null until it has begun. */
  coordinator: Machine<CoordinatorInput, CoordinatorEffect> | null = null;
  /** The coordinator's. */
  attempt = 0;
  /** Why who was left out was left out. */
  readonly refusals = new Map<HostId, Refused>();
  private readonly asked = new Map<Seat, Asked>();
  /** Not signed with so far: an attempt that ends early wastes no nonces. */
  private readonly offers = new Map<Seat, Offer>();

  constructor(id: number, task: SigningTask, deadline: Millis) {
    this.id = id;
    this.task = task;
    this.deadline = deadline;
  }

  get isActive(): boolean {
    return this.coordinator !== null;
  }

  nextWake(): Millis {
    return earliest(this.deadline, this.coordinator?.nextWake() ?? null)!;
  }

  isDue(now: Millis): boolean {
    const wake = this.coordinator?.nextWake() ?? null;
    return wake !== null && now >= wake;
  }

  hostOf(seat: Seat): HostId {
    return this.task.epoch.plan.trustees[seat - 1]!;
  }

  isWaitingFor(seat: Seat): boolean {
    return this.asked.has(seat);
  }

  /** The request that this answers; null where nothing of the kind is waited for. */
  answered(seat: Seat, answer: QuorumAnswer): Asked | null {
    const asked = this.asked.get(seat);
    if (asked === undefined || asked.attempt !== answer.attempt) return null;
    if (answer.type === 'commitment' && asked.type !== 'ask') return null;
    if (answer.type === 'share' && asked.type !== 'contribute') return null;
    this.asked.delete(seat);
    return asked;
  }

  keepOffer(seat: Seat, offer: Offer): void {
    this.offers.set(seat, offer);
  }

  /** What the trustee promised before, if that may still be used. */
  offerOf(seat: Seat, now: Millis): Offer | null {
    const offer = this.offers.get(seat);
    return offer !== undefined && now - offer.at < offerLifetimeMs ? offer : null;
  }

  /** Null where this was asked in an earlier attempt and the answer is still on its way. */
  ask(seat: Seat, now: Millis): QuorumRequest | null {
    if (this.asked.get(seat)?.type === 'ask') return null;
    return this.note(seat, { type: 'ask', ...this.head() }, now);
  }

  /** The nonces are spent with it, whatever comes of it. */
  requestShare(effect: Extract<CoordinatorEffect, { type: 'request-share' }>, now: Millis): QuorumRequest {
    const { seat, nonceId, commitments } = effect;
    this.offers.delete(seat);
    return this.note(seat, { type: 'contribute', ...this.head(), nonceId, commitments }, now);
  }

  private head(): { requestId: number; attempt: number; epoch: number; purpose: Uint8Array } {
    const { epoch, purpose } = this.task;
    return { requestId: this.id, attempt: this.attempt, epoch: epoch.plan.epoch, purpose };
  }

  private note(seat: Seat, request: QuorumRequest, now: Millis): QuorumRequest {
    this.asked.set(seat, { type: request.type, attempt: request.attempt, at: now });
    return request;
  }

  /** What became of it: of a lost quorum what all say who refused, else `code` and how many said what. */
  failure(code: string, message: string): Refused {
    const refusals = [...this.refusals.values()];
    const retryAfterMs = this.retryAfterMs(refusals);
    const [first] = refusals;
    const isUnanimous = first !== undefined && refusals.every((refused) => refused.code === first.code);
    if (code === 'quorum-lost' && isUnanimous && first.message !== '')
      return { code: first.code, message: first.message, retryAfterMs };
    const counts = new Map<string, number>();
    for (const refused of refusals) counts.set(refused.code, (counts.get(refused.code) ?? 0) + 1);
    const said = [...counts].map(([reason, count]) => `${count} ${reason}`).join(', ');
    return { code, message: said === '' ? message : `${message} (${said})`, retryAfterMs };
  }

  /** When as many may be willing as must sign, by their own word: one that asks for an hour makes nobody wait. */
  private retryAfterMs(refusals: readonly Refused[]): number {
    const { order, epoch } = this.task;
    const asked = new Set(order.filter((host) => epoch.plan.trustees.includes(host)));
    const missing = epoch.plan.threshold - (asked.size - refusals.length);
    const waits = refusals.map((refused) => refused.retryAfterMs).sort((a, b) => a - b);
    return Math.min(waits[missing - 1] ?? 0, longestPauseMs);
  }
}
