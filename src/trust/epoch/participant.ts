/**
 * A host's part in making shares and signatures: checks that it is asked rightly, hands the work to the
 * cryptography, and says that it has its share only once that is durable.
 */
import { createHash } from 'node:crypto';
import { ByteWriter, Fault, type HostId, type Millis } from '../../core.ts';
import type { CryptoReport, CryptoSession, DealingSession } from './crypto-port.ts';
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
import type { EpochEffect, SecretToKeep } from './port.ts';
import { checkSuccession, checkSuccessor } from './rules.ts';
import type { Sessions } from './sessions.ts';
import { decodeVoucher, encodeVoucher, isAckOf, speaksOf, type Voucher } from './voucher.ts';

type Of<T extends EpochMessage['type']> = Extract<EpochMessage, { type: T }>;
type Report<T extends CryptoReport['type']> = Extract<CryptoReport, { type: T }>;

/** A dealing that this host takes part in. */
interface Dealing {
  readonly leader: HostId;
  /** What came from others with the word that they hold their shares; null for what is no ack. */
  readonly receipts: Map<HostId, Voucher | null>;
}

/** Of the signature over one decision. Another ballot, another leader, another session. */
function signSessionOf(hash: string, ballot: number): string {
  const content = new ByteWriter().string('starling-epoch-signing-1').hex(hash).varint(ballot).done();
  return createHash('sha256').update(content).digest('hex');
}

export class Participant {
  private readonly office: Office;
  private readonly sessions: Sessions;
  /** A session that begins once it is durable that this host takes part in it. */
  private awaited: DealingSession | null = null;
  /** Those that run, by session, also once their epoch is in force. */
  private readonly dealings = new Map<string, Dealing>();

  constructor(office: Office, sessions: Sessions) {
    this.office = office;
    this.sessions = sessions;
  }

  /**
   * Takes part in the making of shares, once a quorum has shown that the ballot is free. Throws a `Fault` for
   * what no honest leader sends; what this host will not have is refused with a code.
   */
  onStart(from: HostId, { plan, justification }: Of<'start'>, now: Millis): EpochEffect[] {
    const { electorate, holdings, current, acceptor } = this.office;
    const id = sessionOf(plan);
    if (electorate.leaderOf(plan.ballot) !== from) return this.refuse(from, plan, 'not-the-leader');
    const kept = holdings.pending.find((epoch) => epoch.session === id);
    if (kept !== undefined) return [this.acknowledge(from, kept), ...this.tellReceipts(from, kept)];
    if (this.sessions.has(id) || this.awaited?.id === id) return [];
    if (plan.ballot <= holdings.dealtBallot) return this.refuse(from, plan, 'superseded');
    checkSuccession(plan, current);
    const verdict = electorate.judge(justification, plan.ballot);
    if (!verdict.free) throw new Fault('unjustified', 'the promises call for an epoch that has its shares');
    const objection = this.objectionTo(plan, justification, now);
    if (objection !== null) return this.refuse(from, plan, objection);
    if (!holdings.canHoldMore(verdict.voted)) return this.refuse(from, plan, 'too-many-pending');
    // Whoever has it promise higher may have many such ballots in store: they do not follow on each other.
    if (plan.ballot >= acceptor.state.promised) acceptor.follow(from, plan.ballot, now);
    return this.deal(plan, id, verdict.voted);
  }

  private refuse(to: HostId, plan: EpochPlan, code: string): EpochEffect[] {
    return [sendTo(to, this.office.acceptor.refuse(plan.ballot, code))];
  }

  /**
   * The code of what this host has against the plan, or null. That it promised a higher ballot is nothing against it: that
   * binds its vote, and one that is made to promise whatever comes shall not be kept from dealing by it.
   */
  private objectionTo(
    plan: EpochPlan,
    justification: Of<'start'>['justification'],
    now: Millis,
  ): string | null {
    const { self, isTrustee } = this.office;
    const isDealer = plan.dealers.includes(self);
    if (!isDealer && !plan.trustees.includes(self)) return 'not-concerned';
    if (plan.kind === 'reshare' && isDealer && this.office.share() === null) return 'no-share';
    if (!isTrustee) return null;
    try {
      this.office.approve(plan, justification, now);
      return null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return error.code;
    }
  }

  /** One dealing a ballot, even across a crash: to deal twice in one session is what cheats do. */
  private deal(plan: EpochPlan, id: string, voted: number): EpochEffect[] {
    const { self, current, electorate, holdings } = this.office;
    const share = plan.dealers.includes(self) ? this.office.share() : null;
    this.awaited =
      plan.kind === 'generate'
        ? { kind: 'generate', id, plan }
        : { kind: 'reshare', id, plan, from: current, share, coldDealing: null };
    holdings.dealtBallot = plan.ballot;
    const dropped = holdings.dropPendingAfter(voted);
    const then = [sendTo(self, { type: 'ready', epoch: electorate.epoch, session: id })];
    if (dropped.length > 0) then.push({ type: 'shred', names: dropped });
    const earlier = this.sessions.endWhere((s) => s.kind !== 'sign' && s.plan.epoch === plan.epoch);
    return [...earlier, this.office.persist(then)];
  }

  /** It is durable that this host takes part: now it may. */
  onReady(from: HostId, { session }: Of<'ready'>, now: Millis): EpochEffect[] {
    const { self, electorate, options } = this.office;
    const { awaited } = this;
    if (from !== self || awaited === null || awaited.id !== session) return [];
    this.awaited = null;
    const { plan } = awaited;
    if (plan.epoch !== electorate.epoch) return [];
    const participants = new Set([...plan.dealers, ...plan.trustees]);
    participants.delete(self);
    const deadline = now + 2 * options.timings.dealMs;
    for (const id of this.dealings.keys()) if (!this.sessions.has(id)) this.dealings.delete(id);
    this.dealings.set(session, { leader: electorate.leaderOf(plan.ballot), receipts: new Map() });
    return this.sessions.begin(awaited, participants, plan.epoch, deadline, now);
  }

  /** Says that the share is durable, once it is: until it is known to be, it is written again with this. */
  private acknowledge(
    to: HostId,
    descriptor: EpochDescriptor,
    secrets: readonly SecretToKeep[] = [],
  ): EpochEffect {
    const { epoch } = this.office.electorate;
    const ack = sendTo(to, { type: 'ack', epoch, voucher: this.ackOf(descriptor), descriptor });
    const isDurable = secrets.length === 0 && this.office.backlog.isEmpty;
    return isDurable ? ack : this.office.persist([ack], { secrets });
  }

  private ackOf({ plan: { ballot }, hash }: EpochDescriptor): Voucher {
    const { electorate, options } = this.office;
    const value = { ballot, hash };
    return electorate.sign(
      { role: 'ack', epoch: electorate.epoch, ballot, value, voted: 0, holdsShare: false },
      options.signer,
    );
  }

  /** What goes with the word that this host holds its share: its ack, where anybody is to count it. */
  private receiptFor(session: string): Uint8Array {
    const { holdings, electorate } = this.office;
    const kept = holdings.pending.find((epoch) => epoch.session === session);
    if (kept === undefined || kept.plan.epoch !== electorate.epoch || isExtraordinary(kept.plan.kind))
      return new Uint8Array();
    return encodeVoucher(this.ackOf(kept));
  }

  /** What was heard in a dealing, or not. */
  onHeard(
    { plan }: DealingSession,
    report: Report<'accepted' | 'blamed' | 'unheard'>,
    now: Millis,
  ): EpochEffect[] {
    const dealing = this.dealings.get(report.session);
    if (dealing === undefined) return [];
    if (report.type === 'unheard') return this.onUnheard(plan, dealing, report, now);
    if (report.type === 'blamed') return [this.blame(report.host, report.detail, now)];
    const { host, receipt } = report;
    if (plan.epoch === this.office.electorate.epoch)
      dealing.receipts.set(host, this.ackIn(receipt, host, plan));
    return [];
  }

  private ackIn(receipt: Uint8Array, host: HostId, plan: EpochPlan): Voucher | null {
    try {
      const voucher = decodeVoucher(receipt);
      const hash = voucher.value?.hash ?? '';
      const isOfPlan = isAckOf(voucher, plan, hash) && speaksOf(voucher, plan.ballot, hash);
      return isOfPlan && voucher.by === host && this.office.electorate.isGenuine(voucher) ? voucher : null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return null;
    }
  }

  /** A leader that asks again lacks some: all that this host has been given, it may have from here. */
  private tellReceipts(to: HostId, descriptor: EpochDescriptor): EpochEffect[] {
    const { epoch } = this.office.electorate;
    const vouchers = [...(this.dealings.get(descriptor.session)?.receipts.values() ?? [])];
    return vouchers
      .filter((voucher) => voucher !== null && voucher.by !== to && voucher.value?.hash === descriptor.hash)
      .map((voucher) => sendTo(to, { type: 'ack', epoch, voucher: voucher!, descriptor }));
  }

  /** This host's share is made: kept, and then acknowledged; or, if its epoch is in force already, used. */
  onEstablished(plan: EpochPlan, report: Report<'established'>): EpochEffect[] {
    const { self, current, electorate, holdings } = this.office;
    if (!plan.trustees.includes(self)) return [];
    const descriptor = describeEpoch(plan, report.rootKey, report.outcome);
    const secrets = [{ name: descriptor.session, bytes: report.secret }];
    if (descriptor.hash === current.hash) {
      if (this.office.share() !== null) return [];
      holdings.hold(descriptor);
      return [this.office.persist([this.office.entered()], { secrets })];
    }
    if (plan.epoch !== electorate.epoch) return this.sessions.end(report.session);
    checkSuccessor(descriptor, current);
    if (holdings.pending.some((epoch) => epoch.session === descriptor.session)) return [];
    holdings.pending.push(descriptor);
    return [this.acknowledge(electorate.leaderOf(plan.ballot), descriptor, secrets)];
  }

  /** What was to be kept is durable: the cryptography may tell others to count on the shares among it. */
  onWritten(from: HostId, { write }: Of<'written'>): EpochEffect[] {
    if (from !== this.office.self) return [];
    const kept = this.office.backlog.confirm(write).filter((name) => this.sessions.has(name));
    return kept.map((session) => ({
      type: 'crypto',
      order: { type: 'kept', session, receipt: this.receiptFor(session) },
    }));
  }

  /** A dealing has taken as long as it should, and these were missed in it; and those whose ack is none. */
  private onUnheard(
    plan: EpochPlan,
    dealing: Dealing,
    { session, hosts }: Report<'unheard'>,
    now: Millis,
  ): EpochEffect[] {
    const missed = new Set([...hosts, ...this.withoutAck(plan, session, dealing)]);
    return [...missed].flatMap((host) => this.office.missed(host, dealing.leader, now));
  }

  /** Once the epoch is in force whoever is late gives none any more. */
  private withoutAck(plan: EpochPlan, session: string, { receipts }: Dealing): HostId[] {
    const { holdings, electorate } = this.office;
    if (plan.epoch !== electorate.epoch) return [];
    const kept = holdings.pending.find((epoch) => epoch.session === session);
    const isAck = (voucher: Voucher | null): boolean =>
      voucher !== null && (kept === undefined || voucher.value?.hash === kept.hash);
    return [...receipts].filter(([, voucher]) => !isAck(voucher)).map(([host]) => host);
  }

  /** It was proven to all who took part in a dealing. */
  private blame(subject: HostId, detail: string, now: Millis): EpochEffect {
    this.office.distrust(subject, now);
    return { type: 'alarm', code: 'blamed', subject, detail };
  }

  /** The cryptography gave up here; whoever broke its protocol is named, and the leader told. */
  onFailed(session: CryptoSession, report: Report<'failed'>, now: Millis): EpochEffect[] {
    const effects: EpochEffect[] = this.sessions.end(session.id);
    if (session.kind === 'sign') {
      for (const subject of report.blamed)
        effects.push({ type: 'alarm', code: 'blamed', subject, detail: report.detail });
    } else {
      for (const host of report.blamed) effects.push(this.blame(host, report.detail, now));
      const leader = this.office.electorate.leaderOf(session.plan.ballot);
      effects.push(...this.refuse(leader, session.plan, 'dealing-failed'));
    }
    return effects;
  }

  /** Lends this host's share to the root's signature, on proof that the epoch is decided. */
  onSign(from: HostId, { descriptor, accepted }: Of<'sign'>, now: Millis): EpochEffect[] {
    const { self, electorate, current, options, isTrustee } = this.office;
    const ballot = accepted[0]?.ballot ?? 0;
    const id = signSessionOf(descriptor.hash, ballot);
    const share = this.office.share();
    if (this.sessions.has(id) || !isTrustee || electorate.leaderOf(ballot) !== from) return [];
    if (share === null && from !== self) return [];
    electorate.checkDecision(accepted, descriptor.hash);
    checkSuccessor(descriptor, current);
    const message = statementOf(descriptor);
    const session: CryptoSession = { kind: 'sign', id, from: current, share, coordinator: from, message };
    const others = electorate.members.filter((host) => host !== self);
    const earlier = this.sessions.endWhere((s) => s.kind === 'sign' && s.coordinator === from);
    const deadline = now + 2 * options.timings.signMs;
    return [...earlier, ...this.sessions.begin(session, others, electorate.epoch, deadline, now)];
  }
}
