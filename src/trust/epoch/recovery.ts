/**
 * The way on when too few trustees are left to decide on anything: those that are left, and the holder of the
 * epoch's cold seats, who has dealt beforehand, move the key to hosts that are here. No ballot decides on it; the
 * key of the cold seats does, and each trustee that lends itself looks whether too few are left (`judgeRecovery`).
 *
 * A recovery's epoch has a number that no ballot reaches from where it began, so whatever those who are away decide
 * on is overtaken by it: whoever meets the recovered epoch goes over to it, by the signature of the key that both
 * have. Its record is signed with the new shares, once enough hosts have theirs on disk.
 */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { ColdDealing, CryptoReport, CryptoSession, DealingSession } from './crypto-port.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
  isExtraordinary,
  sessionOf,
  statementOf,
} from './descriptor.ts';
import type { EpochMessage } from './message.ts';
import { type Office, sendTo } from './office.ts';
import { sharesNeeded } from './policy.ts';
import type { EpochEffect } from './port.ts';
import { createRecord, type EpochRecord } from './record.ts';
import { checkSuccession, checkSuccessor, judgeRecovery } from './rules.ts';
import type { Sessions } from './sessions.ts';
import { isAckOf, recoveryStatement, type Voucher, type VoucherContent, voucherMessage } from './voucher.ts';

type Of<T extends EpochMessage['type']> = Extract<EpochMessage, { type: T }>;
type Report<T extends CryptoReport['type']> = Extract<CryptoReport, { type: T }>;

/** What the holder of the cold seats has planned, dealt and signed. */
export interface RecoveryOrder {
  readonly plan: EpochPlan;
  /** By the key of the cold seats, over `recoveryStatement`. */
  readonly signature: Uint8Array;
  /** For everybody who takes part. */
  readonly dealing: Uint8Array;
  /** Sealed, for each new trustee. */
  readonly shares: ReadonlyMap<HostId, Uint8Array>;
}

interface Attempt {
  readonly order: RecoveryOrder;
  readonly session: string;
  readonly acks: Map<HostId, { readonly voucher: Voucher; readonly descriptor: EpochDescriptor }>;
  readonly deadline: Millis;
  resendAt: Millis;
  /** When to go on with the shares there are. */
  enoughAt: Millis | null;
  /** Which epoch it came to, once enough have their shares. */
  descriptor: EpochDescriptor | null;
}

/** Of the signature over the record of a recovered epoch. */
function certifySessionOf(descriptor: EpochDescriptor): string {
  return descriptor.hash;
}

export class Recovery {
  private readonly office: Office;
  private readonly sessions: Sessions;
  /** What this host carries through for the holder of the cold seats. */
  private attempt: Attempt | null = null;
  /** A session that begins once it is durable that this host takes part in it. */
  private awaited: DealingSession | null = null;
  /** Who is to hear of this host's share. */
  private coordinator: { readonly session: string; readonly host: HostId } | null = null;
  /** Why the last attempt here came to nothing, for people. */
  lastFailure: string | null = null;

  constructor(office: Office, sessions: Sessions) {
    this.office = office;
    this.sessions = sessions;
  }

  /** What this host is doing, for people; null for nothing. */
  get phase(): string | null {
    if (this.attempt === null) return null;
    return this.attempt.descriptor === null ? 'recovery: making shares' : 'recovery: signing';
  }

  /** Another epoch is in force: what was begun under the last one is over. */
  entered(): void {
    this.attempt = null;
    this.awaited = null;
    this.coordinator = null;
  }

  nextWake(): Millis | null {
    if (this.attempt === null) return null;
    const { deadline, resendAt, enoughAt } = this.attempt;
    return Math.min(deadline, resendAt, enoughAt ?? deadline);
  }

  // --- Carrying it through ---

  /** Throws a `Fault` for an order that nobody would follow: `not-a-successor`, `unjustified`. */
  begin(order: RecoveryOrder, now: Millis): EpochEffect[] {
    this.checkOrder(order.plan, order.signature);
    const { dealMs, signMs, resendMs } = this.office.options.timings;
    this.lastFailure = null;
    this.attempt = {
      order,
      session: sessionOf(order.plan),
      acks: new Map(),
      deadline: now + dealMs + signMs,
      resendAt: now + resendMs,
      enoughAt: null,
      descriptor: null,
    };
    return this.ask(this.attempt);
  }

  /** Throws a `Fault`: `not-a-successor`, `unjustified`. */
  checkOrder(plan: EpochPlan, signature: Uint8Array): void {
    const { current, options } = this.office;
    if (!isExtraordinary(plan.kind)) throw new Fault('not-a-successor', 'no recovery', { field: 'kind' });
    checkSuccession(plan, current);
    const key = plan.kind === 'refound' ? options.refounding?.operatorKey : current.plan.cold?.key;
    if (key === undefined || !options.verify(key, recoveryStatement(plan), signature))
      throw new Fault('unjustified', 'the recovery is not signed by whoever decides on it');
  }

  private ask({ order, acks, descriptor }: Attempt): EpochEffect[] {
    const { plan, signature, dealing, shares } = order;
    const { epoch } = plan;
    if (descriptor !== null) {
      const vouchers = agreeing(acks, descriptor.hash);
      const message: EpochMessage = { type: 'certify', epoch, descriptor, acks: vouchers };
      return plan.trustees.map((host) => sendTo(host, message));
    }
    const missing = new Set([...plan.dealers, ...plan.trustees].filter((host) => !acks.has(host)));
    return [...missing].map((host) => {
      const coldDealing: ColdDealing = { dealing, share: shares.get(host) ?? new Uint8Array() };
      return sendTo(host, { type: 'recover', epoch, plan, signature, coldDealing });
    });
  }

  wake(now: Millis): EpochEffect[] {
    const { attempt } = this;
    if (attempt === null) return [];
    if (attempt.enoughAt !== null && now >= attempt.enoughAt) return this.certify(attempt, now);
    if (now >= attempt.deadline) return this.fail('no answer in time');
    if (now < attempt.resendAt) return [];
    attempt.resendAt = now + this.office.options.timings.resendMs;
    return this.ask(attempt);
  }

  private fail(reason: string): EpochEffect[] {
    this.lastFailure = `recovery: ${reason}`;
    this.attempt = null;
    return [];
  }

  onRefused(from: HostId, { epoch, code }: Of<'refused'>): EpochEffect[] {
    const plan = this.attempt?.order.plan;
    if (plan === undefined || plan.epoch !== epoch || this.attempt?.descriptor !== null) return [];
    const needed = sharesNeeded(plan.threshold, plan.trustees.length);
    const isNeeded = plan.dealers.includes(from) || plan.trustees.length === needed;
    return isNeeded && plan.trustees.includes(from) ? this.fail(`${from.slice(0, 8)} refused: ${code}`) : [];
  }

  onRecovered(from: HostId, { voucher, descriptor }: Of<'recovered'>, now: Millis): EpochEffect[] {
    const { attempt } = this;
    if (attempt === null || attempt.descriptor !== null || descriptor.session !== attempt.session) return [];
    if (voucher.by !== from || !this.isAck(voucher, descriptor)) return [];
    attempt.acks.set(from, { voucher, descriptor });
    const { plan } = descriptor;
    const { trustees, threshold } = plan;
    const count = agreeing(attempt.acks, descriptor.hash).length;
    if (count === trustees.length) return this.certify(attempt, now);
    if (plan.kind === 'recover' && count >= sharesNeeded(threshold, trustees.length))
      attempt.enoughAt ??= now + this.office.options.timings.graceMs;
    return [];
  }

  /** Whether a new trustee really says that it has its share of this epoch. */
  private isAck(voucher: Voucher, { plan, hash }: EpochDescriptor): boolean {
    const { options } = this.office;
    const message = voucherMessage(plan.mesh, plan.previous, voucher);
    return isAckOf(voucher, plan, hash) && options.verify(voucher.by, message, voucher.signature);
  }

  private certify(attempt: Attempt, now: Millis): EpochEffect[] {
    attempt.enoughAt = null;
    for (const { descriptor } of attempt.acks.values()) {
      const { threshold, trustees } = descriptor.plan;
      const vouchers = agreeing(attempt.acks, descriptor.hash);
      if (vouchers.length < sharesNeeded(threshold, trustees.length)) continue;
      attempt.descriptor = descriptor;
      if (descriptor.plan.kind === 'refound') return this.toldAll(attempt, descriptor, vouchers);
      attempt.resendAt = now + this.office.options.timings.resendMs;
      return [...this.ask(attempt), ...this.sign(this.office.self, descriptor, now)];
    }
    return [];
  }

  /** Nothing signs for a new root but its operator: the record is whole, and waits for the word of the hosts. */
  private toldAll(
    attempt: Attempt,
    descriptor: EpochDescriptor,
    vouchers: readonly Voucher[],
  ): EpochEffect[] {
    const record = createRecord(descriptor, vouchers, attempt.order.signature);
    this.attempt = null;
    const records = [record.bytes];
    const { epoch } = descriptor.plan;
    const told = descriptor.plan.trustees.map((host) => sendTo(host, { type: 'records', epoch, records }));
    return [...told, { type: 'publish', epoch, bytes: record.bytes }];
  }

  /**
   * Says that this host stands by a new root, if it sees itself that too few are left of those who hold the one in
   * force; and passes the record on, so that all hear of it.
   */
  stand(record: EpochRecord): EpochEffect[] {
    const { current, view, options, chain } = this.office;
    const { plan, hash } = record.descriptor;
    if (plan.kind !== 'refound') return [];
    checkSuccession(plan, current);
    chain.checkRefounded(record);
    judgeRecovery(plan, current, view, options.policy);
    const stand: EpochEffect = { type: 'stand', epoch: plan.epoch, hash };
    if (!plan.trustees.includes(this.office.self)) return [stand];
    return [stand, { type: 'publish', epoch: plan.epoch, bytes: record.bytes }];
  }

  // --- Taking part ---

  /** Throws a `Fault` for what no honest holder of cold seats sends; what this host will not have is refused. */
  onRecover(from: HostId, { plan, signature, coldDealing }: Of<'recover'>): EpochEffect[] {
    const { holdings, current, self, isTrustee } = this.office;
    const id = sessionOf(plan);
    this.coordinator = { session: id, host: from };
    const kept = holdings.pending.find((epoch) => epoch.session === id);
    if (kept !== undefined) return [this.acknowledge(kept)];
    if (this.sessions.has(id) || this.awaited?.id === id) return [];
    this.checkOrder(plan, signature);
    const refusal = this.objectionTo(plan);
    if (refusal !== null) return [this.refuse(from, plan, refusal)];
    const share = isTrustee && plan.dealers.includes(self) ? this.office.share() : null;
    this.awaited =
      plan.kind === 'refound'
        ? { kind: 'generate', id, plan }
        : { kind: 'reshare', id, plan, from: current, share, coldDealing };
    holdings.recoveredEpoch = plan.epoch;
    return [this.office.persist([sendTo(self, { type: 'ready', epoch: plan.epoch, session: id })])];
  }

  private objectionTo(plan: EpochPlan): string | null {
    const { holdings, current, self, isTrustee, view, options } = this.office;
    const isDealer = plan.dealers.includes(self);
    if (!isDealer && !plan.trustees.includes(self)) return 'not-concerned';
    // To deal twice in one session is what cheats do, and what comes of an older one is overtaken.
    if (plan.epoch <= holdings.recoveredEpoch) return 'superseded';
    if (plan.kind === 'recover' && isDealer && this.office.share() === null) return 'no-share';
    if (!holdings.canHoldMore(Number.MAX_SAFE_INTEGER)) return 'too-many-pending';
    if (!isTrustee && plan.kind === 'recover') return null;
    try {
      judgeRecovery(plan, current, view, options.policy);
      return null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return error.code;
    }
  }

  private refuse(to: HostId, { epoch, ballot }: EpochPlan, code: string): EpochEffect {
    return sendTo(to, { type: 'refused', epoch, ballot, code, promised: 0, retryAfterMs: 0 });
  }

  /** It is durable that this host takes part: now it may. */
  onReady(from: HostId, { session }: Of<'ready'>, now: Millis): EpochEffect[] {
    const { self, options } = this.office;
    const { awaited } = this;
    if (from !== self || awaited === null || awaited.id !== session) return [];
    this.awaited = null;
    const { plan } = awaited;
    const others = new Set([...plan.dealers, ...plan.trustees]);
    others.delete(self);
    const earlier = this.sessions.endWhere((one) => one.kind !== 'sign' && isExtraordinary(one.plan.kind));
    const deadline = now + 2 * options.timings.dealMs;
    return [...earlier, ...this.sessions.begin(awaited, others, plan.epoch, deadline, now)];
  }

  onEstablished(plan: EpochPlan, report: Report<'established'>): EpochEffect[] {
    const { self, current, holdings } = this.office;
    if (!plan.trustees.includes(self)) return [];
    const descriptor = describeEpoch(plan, report.rootKey, report.outcome);
    const secrets = [{ name: descriptor.session, bytes: report.secret }];
    if (descriptor.hash === current.hash) {
      if (this.office.share() !== null) return [];
      holdings.hold(descriptor);
      return [this.office.persist([this.office.entered()], { secrets })];
    }
    if (plan.previous !== current.hash) return this.sessions.end(report.session);
    checkSuccessor(descriptor, current);
    if (holdings.pending.some((epoch) => epoch.session === descriptor.session)) return [];
    holdings.pending.push(descriptor);
    return [this.acknowledge(descriptor, secrets)];
  }

  private acknowledge(
    descriptor: EpochDescriptor,
    secrets: readonly { readonly name: string; readonly bytes: Uint8Array }[] = [],
  ): EpochEffect {
    const { plan, hash } = descriptor;
    const { signer } = this.office.options;
    const content: VoucherContent = {
      role: 'ack',
      epoch: plan.epoch,
      ballot: plan.ballot,
      value: { ballot: plan.ballot, hash },
      voted: 0,
      holdsShare: false,
    };
    const signature = signer.sign(voucherMessage(plan.mesh, plan.previous, content));
    const voucher: Voucher = { ...content, by: signer.publicKey, signature };
    const to = this.coordinator?.session === descriptor.session ? this.coordinator.host : null;
    const message: EpochMessage = { type: 'recovered', epoch: plan.epoch, voucher, descriptor };
    return this.office.persist(to === null ? [] : [sendTo(to, message)], { secrets });
  }

  onFailed(plan: EpochPlan, { detail }: Report<'failed'>): EpochEffect[] {
    const { coordinator } = this;
    if (coordinator === null || coordinator.session !== sessionOf(plan)) return [];
    if (coordinator.host === this.office.self) return this.fail(detail);
    return [this.refuse(coordinator.host, plan, 'dealing-failed')];
  }

  /** Lends the new share, which is durable here, once enough others have theirs. Throws `Fault('unjustified')`. */
  onCertify(from: HostId, { descriptor, acks }: Of<'certify'>, now: Millis): EpochEffect[] {
    const { holdings } = this.office;
    if (from === this.office.self || !holdings.pending.some(({ hash }) => hash === descriptor.hash))
      return [];
    const { trustees, threshold } = descriptor.plan;
    const holders = new Set(acks.filter((voucher) => this.isAck(voucher, descriptor)).map(({ by }) => by));
    if (descriptor.plan.kind !== 'recover' || holders.size < sharesNeeded(threshold, trustees.length))
      throw new Fault('unjustified', 'too few have their shares of the recovered epoch');
    return this.sign(from, descriptor, now);
  }

  private sign(coordinator: HostId, descriptor: EpochDescriptor, now: Millis): EpochEffect[] {
    const { self, holdings, options } = this.office;
    const id = certifySessionOf(descriptor);
    const isHeld = holdings.pending.some(({ hash }) => hash === descriptor.hash);
    if (this.sessions.has(id) || (!isHeld && coordinator !== self)) return [];
    const share = isHeld ? descriptor.session : null;
    const message = statementOf(descriptor);
    const session: CryptoSession = { kind: 'sign', id, from: descriptor, share, coordinator, message };
    const others = descriptor.plan.trustees.filter((host) => host !== self);
    const participants = new Set([...others, ...(coordinator === self ? [] : [coordinator])]);
    const deadline = now + 2 * options.timings.signMs;
    return this.sessions.begin(session, participants, descriptor.plan.epoch, deadline, now);
  }

  /** Whether this host carries through the recovery that this epoch comes from. */
  isFor({ hash }: EpochDescriptor): boolean {
    return this.attempt?.descriptor?.hash === hash;
  }

  /** The record, where the signature is the one that this host's recovery waited for; null else. */
  recordOf(session: CryptoSession, signature: Uint8Array): EpochRecord | null {
    const descriptor = this.attempt?.descriptor ?? null;
    if (descriptor === null || session.id !== certifySessionOf(descriptor)) return null;
    return createRecord(descriptor, [], signature);
  }
}

function agreeing(acks: Attempt['acks'], hash: string): Voucher[] {
  return [...acks.values()].filter((ack) => ack.descriptor.hash === hash).map(({ voucher }) => voucher);
}
