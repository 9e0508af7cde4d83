/**
 * The succession of epochs in the agent: the agreement of trustees tied to the agent's frames, store, engine
 * and records, and what this host sees of the mesh as the agreement needs it. Pure.
 */
import { Fault, type HostId, type Millis, type Random, type Signer, type Verify } from '../../core.ts';
import type { Genesis } from '../../trust/admission/genesis.ts';
import { EpochAgreement } from '../../trust/epoch/agreement.ts';
import type { CryptoReport, ShareName } from '../../trust/epoch/crypto-port.ts';
import { genesisEpoch } from '../../trust/epoch/descriptor.ts';
import { asksForView } from '../../trust/epoch/message.ts';
import type { TrusteePolicy } from '../../trust/epoch/policy.ts';
import type { EpochEffect, EpochTimings } from '../../trust/epoch/port.ts';
import type { RecoveryOrder } from '../../trust/epoch/recovery.ts';
import { emptyView, type TrusteeView } from '../../trust/epoch/rules.ts';
import { RateLimiter } from '../../trust/issuance/rate.ts';
import type { AgentEffect } from '../effects.ts';
import { seal } from '../envelope.ts';
import { shortId } from '../kinds.ts';

export interface SuccessionOptions {
  readonly self: HostId;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  readonly genesis: Genesis;
  readonly policy: TrusteePolicy;
  readonly timings: EpochTimings;
  /** What the store held under `epochPrefix`. */
  readonly saved: readonly (readonly [key: string, value: Uint8Array])[];
  readonly secrets: readonly ShareName[];
  /** What this host sees of the mesh now. */
  readonly view: (now: Millis) => TrusteeView;
  /** Whether more than half of all hosts stand by the new root that this is the hash of. */
  readonly isEndorsed: (hash: string) => boolean;
  /** The record of a later epoch than this that some host tells of; null where none does. */
  readonly laterRecord: (epoch: number, now: Millis) => Uint8Array | null;
}

/** Any host can send what is wrong as often as it likes: of one fault by one host the log has a line this often. */
const alarmEveryMs = 60_000;
/** Faults by host that had a line within that time; any other is not logged while there are so many. */
const maxAlarms = 256;

interface Alarmed {
  readonly at: Millis;
  /** How often it came again since, for the next line to tell. */
  held: number;
}

/**
 * Messages of one host. A dealing among thirteen takes each some dozens, sent again each second while they are not
 * confirmed; to look at the mesh for one costs up to a millisecond.
 */
const rateLimits = { burst: 512, perSecond: 64, maxRequesters: 4096 };

type Alarm = Pick<Extract<EpochEffect, { type: 'alarm' }>, 'subject' | 'detail'> & { readonly code: string };

export class Succession {
  readonly agreement: EpochAgreement;
  /** Why this host takes no part but to follow: what it promised cannot be read any more. Null where it does. */
  readonly damage: Fault | null;
  private readonly options: SuccessionOptions;
  private readonly limiter = new RateLimiter(rateLimits);
  /** By code and subject, the oldest first. */
  private readonly alarmed = new Map<string, Alarmed>();

  /** Throws `Fault('trustee-policy')`. */
  constructor(options: SuccessionOptions) {
    this.options = options;
    const { agreement, damage } = agree(options);
    this.agreement = agreement;
    this.damage = damage;
  }

  nextWake(): Millis | null {
    return this.agreement.nextWake();
  }

  wake(now: Millis): AgentEffect[] {
    const due = this.nextWake();
    if (due === null || now < due) return [];
    return [...this.look(now), ...this.step({ type: 'wake' }, now), ...this.catchUp(now)];
  }

  /** What leads to a later epoch was asked for when its record came, and the question or the answer was lost. */
  private catchUp(now: Millis): AgentEffect[] {
    const record = this.options.laterRecord(this.agreement.current.plan.epoch, now);
    return record === null ? [] : this.record(record, now);
  }

  /** Only a trustee judges who else should be one. */
  private look(now: Millis): AgentEffect[] {
    const view = this.agreement.status().isTrustee ? this.options.view(now) : emptyView;
    return this.step({ type: 'view', view }, now);
  }

  /** But every host judges whether it needs a new root. */
  private lookAnyway(now: Millis): AgentEffect[] {
    return this.step({ type: 'view', view: this.options.view(now) }, now);
  }

  /**
   * Others are judged by what is seen now: what they act on may have come only just, here as there. What one host
   * sends beyond its rate is dropped, as if the network had lost it.
   */
  frame(from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    if (from !== this.options.self && this.limiter.take(from, now) > 0)
      return this.alarm(
        { code: 'flooded', subject: from, detail: 'sends more than a trustee has to say' },
        now,
      );
    const looked = asksForView(bytes) ? this.lookAnyway(now) : [];
    return [...looked, ...this.step({ type: 'message', from, bytes }, now)];
  }

  /**
   * Who was missed in a dealing may only be out of reach of this host, on a connection that stays stuck long after the
   * path is whole again (RFC 6298, 5.5): it is hung up, and what is said next goes over another.
   */
  crypto(report: CryptoReport, now: Millis): AgentEffect[] {
    const missed = report.type === 'unheard' ? report.hosts : [];
    const hungUp = missed.map((peer): AgentEffect => ({ type: 'disconnect', peer }));
    return [...hungUp, ...this.step({ type: 'crypto', report }, now)];
  }

  /** An epoch record that somebody told of. */
  record(bytes: Uint8Array, now: Millis): AgentEffect[] {
    return [...this.lookAnyway(now), ...this.step({ type: 'record', bytes }, now)];
  }

  /** The keys of these generations have nothing left to sign. */
  spent(generations: readonly number[], now: Millis): AgentEffect[] {
    return this.step({ type: 'spent', generations }, now);
  }

  /** Throws a `Fault` for an order that nobody would follow. */
  recover(order: RecoveryOrder, now: Millis): AgentEffect[] {
    this.agreement.checkRecovery(order);
    return [...this.lookAnyway(now), ...this.step({ type: 'recover', order }, now)];
  }

  private step(input: Parameters<EpochAgreement['step']>[0], now: Millis): AgentEffect[] {
    return this.agreement.step(input, now).flatMap((effect) => this.outward(effect, now));
  }

  private outward(effect: EpochEffect, now: Millis): AgentEffect[] {
    switch (effect.type) {
      case 'send': {
        const bytes = seal('epoch', effect.bytes);
        if (effect.to === this.options.self)
          return [{ type: 'input', input: { type: 'frame', from: effect.to, bytes } }];
        return [{ type: 'send', to: effect.to, bytes }];
      }
      case 'persist':
        return [{ ...effect, then: effect.then.flatMap((released) => this.outward(released, now)) }];
      case 'crypto':
        return [{ type: 'engine', order: effect.order }];
      case 'publish':
      case 'stand':
        return [{ type: 'input', input: { type: 'epoch', event: effect } }];
      case 'entered':
        return [{ type: 'input', input: { type: 'epoch', event: { type: 'entered' } } }];
      case 'alarm':
        return this.alarm(effect, now);
      case 'shred':
        return [effect];
    }
  }

  private alarm({ code, subject, detail }: Alarm, now: Millis): AgentEffect[] {
    // Of this host's own shares, each is another matter.
    const key = code === 'share-lost' ? `${code} ${detail}` : `${code} ${subject}`;
    const last = this.alarmed.get(key);
    if (last !== undefined && now < last.at + alarmEveryMs) {
      last.held++;
      return [];
    }
    this.alarmed.delete(key);
    for (const [oldest, { at }] of this.alarmed) {
      if (now < at + alarmEveryMs) break;
      this.alarmed.delete(oldest);
    }
    if (this.alarmed.size >= maxAlarms) return [];
    this.alarmed.set(key, { at: now, held: 0 });
    const fields = { subject: shortId(subject), detail, heldBack: last?.held ?? 0 };
    return [{ type: 'log', level: 'warn', event: `epoch-${code}`, fields }];
  }
}

/** With what was saved; withdrawn, where that does not fit together. */
function agree(options: SuccessionOptions): Pick<Succession, 'agreement' | 'damage'> {
  const { hash, founder, root, createdAt } = options.genesis;
  const { operatorKey } = options.genesis;
  const whole = {
    ...options,
    genesis: genesisEpoch(hash, founder, root.publicKey, createdAt),
    refounding: { operatorKey, isEndorsed: options.isEndorsed },
  };
  try {
    return { agreement: new EpochAgreement(whole), damage: null };
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'epoch-state-broken') throw error;
    const agreement = new EpochAgreement({ ...whole, secrets: [], withdrawn: true });
    return { agreement, damage: error };
  }
}
