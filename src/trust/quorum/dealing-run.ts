/** A host's part in making shares: a ceremony of FROST, told and asked in the words of the epoch agreement. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { DealingSession } from '../epoch/crypto-port.ts';
import { sharesNeeded } from '../epoch/policy.ts';
import { answerSeedBytes } from '../frost/answer.ts';
import { Ceremony } from '../frost/ceremony.ts';
import type { Absence, CeremonyEffect, CeremonyInput } from '../frost/ceremony-port.ts';
import { dealingEntropyBytes } from '../frost/dealing.ts';
import type { Blame } from '../frost/evidence.ts';
import { openSealed } from '../frost/key-agreement.ts';
import type { GroupKey } from '../frost/keys.ts';
import { CeremonyMachine } from '../frost/machine.ts';
import type { EngineReport } from './engine-port.ts';
import { coldDealerOf, coldSeatsOf, encodeOutcome, groupOfEpoch, partiesOf } from './epoch-group.ts';
import { encodeSecret, type HeldShares } from './held-shares.ts';
import type { EngineOptions, Run } from './run.ts';

/**
 * Of the time until it is told who was missed: when it is claimed what is lacking, and, by who began late, at the
 * soonest; until when that is heeded, for not all begin at once; and until when it is answered. What is left is for those
 * who had to be answered, to keep their shares and say so.
 */
const claimAfterPart = 1 / 2;
const claimLeastPart = 1 / 15;
const heedUntilPart = 3 / 4;
const answerUntilPart = 7 / 8;

/** Hex digits of the agreement's session that name the ceremony: no other plan has them. */
export const ceremonyNameDigits = 32;

/** Throws `Fault('ceremony-unsound')`. `share` of the session is of no account. */
export function ceremonyOf(
  session: DealingSession,
  previous: GroupKey | null,
  trustDomain: string,
): Ceremony {
  const { plan } = session;
  const receivers = partiesOf(plan.trustees);
  const before = session.kind === 'reshare' ? partiesOf(session.from.plan.trustees) : receivers;
  const isNewKey = session.kind === 'generate';
  return new Ceremony({
    trustDomain,
    generation: plan.generation,
    epoch: plan.epoch,
    session: session.id.slice(0, ceremonyNameDigits),
    dealers: before.filter(({ host }) => plan.dealers.includes(host)),
    receivers,
    threshold: plan.threshold,
    quorum: isNewKey ? receivers.length : sharesNeeded(plan.threshold, receivers.length),
    previous,
    cold: coldSeatsOf(plan),
    coldDealer: session.kind === 'reshare' ? coldDealerOf(plan, session.from.plan) : null,
  });
}

export class DealingRun implements Run {
  private readonly session: DealingSession;
  private readonly shares: HeldShares;
  private readonly participants: ReadonlySet<HostId>;
  private readonly machine: CeremonyMachine;
  private readonly options: EngineOptions;

  /** Throws a `Fault` for what cannot be carried out, such as without the share that is to be dealt. */
  constructor(session: DealingSession, options: EngineOptions, shares: HeldShares, now: Millis) {
    const { signer, verify, entropy, trustDomain, timings } = options;
    const self = signer.publicKey;
    const isDealer = session.plan.dealers.includes(self);
    if (!isDealer && !session.plan.trustees.includes(self))
      throw new Fault('not-concerned', 'this host takes no part in the dealing');
    const name = session.kind === 'reshare' && isDealer ? session.share : null;
    if (session.kind === 'reshare' && isDealer && name === null)
      throw new Fault('share-unknown', 'a dealer has no share to deal');
    const held = name === null ? null : shares.share(name);
    const previous = session.kind === 'generate' ? null : groupOfEpoch(session.from, held?.group);
    const ceremony = ceremonyOf(session, previous, trustDomain);
    const dealer = ceremony.terms.dealers.find(({ host }) => host === self);
    if (held !== null && dealer?.seat !== held.share.seat)
      throw new Fault('share-foreign', 'the share is of another seat');
    this.session = session;
    this.options = options;
    this.shares = shares;
    this.participants = new Set(
      [...session.plan.dealers, ...session.plan.trustees].filter((h) => h !== self),
    );
    this.machine = new CeremonyMachine({
      ceremony,
      signer,
      verify,
      share: held?.share ?? null,
      entropy: isDealer ? entropy(dealingEntropyBytes(ceremony)) : new Uint8Array(),
      answerSeed: entropy(answerSeedBytes),
      startedAt: now,
      claimAfterMs: timings.missMs * claimAfterPart,
      claimLeastMs: timings.missMs * claimLeastPart,
      heedUntilMs: timings.missMs * heedUntilPart,
      answerUntilMs: timings.missMs * answerUntilPart,
      tellAfterMs: timings.missMs,
      deadlineMs: timings.dealMs,
    });
  }

  start(now: Millis): readonly EngineReport[] {
    const cold = this.coldMessages();
    const reports = this.feed({ type: 'start' }, now);
    return [...reports, ...cold.flatMap((bytes) => this.feed({ type: 'message', bytes }, now))];
  }

  /** What the holder of the cold seats dealt, which takes no part in the exchange of messages. Throws a `Fault`. */
  private coldMessages(): Uint8Array[] {
    const { session, options } = this;
    if (session.kind !== 'reshare' || session.coldDealing === null) return [];
    const { dealing, share } = session.coldDealing;
    if (share.length === 0) return [dealing];
    if (options.agree === undefined) throw new Fault('secret-unreadable', 'nothing is sealed for this host');
    return [dealing, openSealed(options.signer.publicKey, options.agree, share)];
  }

  deliver(_from: HostId, bytes: Uint8Array, now: Millis): readonly EngineReport[] {
    return this.feed({ type: 'message', bytes }, now);
  }

  kept(receipt: Uint8Array, now: Millis): readonly EngineReport[] {
    return this.feed({ type: 'persisted', receipt }, now);
  }

  wake(now: Millis): readonly EngineReport[] {
    return this.feed({ type: 'wake' }, now);
  }

  end(now: Millis): void {
    this.feed({ type: 'end' }, now);
  }

  nextWake(): Millis | null {
    return this.machine.nextWake();
  }

  private feed(input: CeremonyInput, now: Millis): EngineReport[] {
    return this.machine.step(input, now).flatMap((effect) => this.reportsOf(effect));
  }

  private reportsOf(effect: CeremonyEffect): EngineReport[] {
    const { id } = this.session;
    switch (effect.type) {
      case 'broadcast':
        return [...this.participants].map((to) => ({ type: 'send', session: id, to, bytes: effect.bytes }));
      case 'send':
        return [{ type: 'send', session: id, to: effect.to, bytes: effect.bytes }];
      case 'persist':
        return [this.established(effect)];
      case 'failed':
        return [this.failed(effect.blame, effect.absences)];
      case 'unheard':
        return [this.unheard(effect.absences)];
      // A quorum has its shares, and that somebody cheated one more does not undo them.
      case 'blamed': {
        const { host, reason: detail } = effect.blame;
        return [{ type: 'blamed', session: id, host, detail }];
      }
      case 'accepted':
        return [{ type: 'accepted', session: id, host: effect.host, receipt: effect.receipt }];
      // The agreement counts for itself who has a share.
      case 'done':
      // It proves nothing against anybody.
      case 'dropped':
        return [];
    }
  }

  private established({ group, share, cold }: Extract<CeremonyEffect, { type: 'persist' }>): EngineReport {
    const { session } = this;
    this.shares.establish(session.id, group, share);
    return {
      type: 'established',
      session: session.id,
      rootKey: group.publicKey,
      outcome: encodeOutcome(group, cold),
      secret: encodeSecret(group, share),
    };
  }

  /** The holder of cold seats, who takes no part, is left out. */
  private unheard(absences: readonly Absence[]): EngineReport {
    const missed = new Set(absences.map(({ host }) => host).filter((host) => this.participants.has(host)));
    return { type: 'unheard', session: this.session.id, hosts: [...missed] };
  }

  private failed(blame: Blame | null, absences: readonly Absence[]): EngineReport {
    const missing = absences.map(({ host, of }) => `${of} of ${host.slice(0, 8)}`);
    const detail = blame === null ? `not heard: ${missing.join(', ')}` : blame.reason;
    return { type: 'failed', session: this.session.id, blamed: blame === null ? [] : [blame.host], detail };
  }
}
