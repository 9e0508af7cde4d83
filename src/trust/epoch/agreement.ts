/**
 * The succession of epochs on one host: follows the chain of epoch records, and, on a trustee, decides with the
 * others who the next trustees are, has the root's key handed to them in new shares, and puts them into force.
 *
 * One epoch never has two successors while more than half of its trustees keep what they wrote to disk; see
 * `Electorate` for the argument, `Acceptor` for what is written when, `Leader` for the course of a ballot.
 */
import { earliest, Fault, type HostId, type Machine, type Millis, randomInt } from '../../core.ts';
import type { Post } from './attempt.ts';
import type { CryptoReport, CryptoSession, ShareName } from './crypto-port.ts';
import { type EpochDescriptor, isExtraordinary } from './descriptor.ts';
import type { HeldShare } from './holdings.ts';
import { Leader } from './leader.ts';
import { decodeMessage, type EpochMessage } from './message.ts';
import { Office, type Reproach, sendTo } from './office.ts';
import { Participant } from './participant.ts';
import { checkPolicy } from './policy.ts';
import type { EpochEffect, EpochInput, EpochOptions } from './port.ts';
import { createRecord, decodeRecord, type EpochRecord } from './record.ts';
import { Recovery, type RecoveryOrder } from './recovery.ts';
import { checkSuccessor } from './rules.ts';
import { Sessions } from './sessions.ts';

type Of<T extends EpochMessage['type']> = Extract<EpochMessage, { type: T }>;
type Question = Of<'prepare' | 'start' | 'propose' | 'accept' | 'sign'>;
type Answer = Of<'promise' | 'ack' | 'vote' | 'accepted' | 'refused'>;

/** Two roots of one generation, each believed by some: an operator's, made anew, and one of trustees he thought lost. */
export interface RootSplit {
  readonly generation: number;
  /** Whether the one here is the operator's, which stays. */
  readonly isOurs: boolean;
  /** Who holds the other. */
  readonly holders: readonly HostId[];
}

/** What people are shown. */
export interface EpochStatus {
  readonly current: EpochDescriptor;
  readonly isTrustee: boolean;
  /** This host's share of the key in force; null where it has none, as a trustee that a dealing missed. */
  readonly share: ShareName | null;
  /** What this host leads now, and why its last attempt came to nothing. */
  readonly leading: string | null;
  readonly lastFailure: string | null;
  readonly split: RootSplit | null;
}

export class EpochAgreement implements Machine<EpochInput, EpochEffect> {
  private readonly office: Office;
  private readonly sessions: Sessions;
  private readonly participant: Participant;
  private readonly recovery: Recovery;
  private leader: Leader;
  private split: RootSplit | null = null;
  private started = false;
  private reviewAt: Millis = 0;
  /** Since when this host has seen something to change; null while it sees nothing. */
  private wantedAt: Millis | null = null;
  /** When to begin a ballot, if something is still to change then. */
  private attemptAt: Millis | null = null;

  /** Throws `Fault('trustee-policy')`, or `Fault('epoch-state-broken')` when what the store held does not fit. */
  constructor(options: EpochOptions) {
    checkPolicy(options.policy);
    this.office = new Office(options);
    this.sessions = new Sessions(options.timings.resendMs);
    this.participant = new Participant(this.office, this.sessions);
    this.recovery = new Recovery(this.office, this.sessions);
    this.leader = this.newLeader();
  }

  private newLeader(): Leader {
    const { electorate, self, options } = this.office;
    return new Leader({
      electorate,
      self,
      mesh: options.genesis.plan.mesh,
      random: options.random,
      timings: options.timings,
      design: (repair, forgiving, now) => this.office.design(repair, forgiving, now),
    });
  }

  /** The epoch in force here. */
  get current(): EpochDescriptor {
    return this.office.current;
  }

  /** The last epoch that held the key of a generation; undefined where the chain here has none. */
  ofGeneration(generation: number): EpochDescriptor | undefined {
    return this.office.chain.ofGeneration(generation);
  }

  /** Whether this epoch is or was in force here, as far as records of it are kept. */
  hasEntered(hash: string): boolean {
    return this.office.chain.has(hash);
  }

  /** Every host that is or was a trustee, as far as the chain here tells. */
  trustees(): Set<HostId> {
    return this.office.chain.trustees();
  }

  /** The root key of every generation that the chain here has proven. */
  rootKeys(): Map<number, HostId> {
    return this.office.chain.keys();
  }

  /** This host's shares, by the epoch whose key each is of: that in force, and the last of earlier keys. */
  shares(): readonly HeldShare[] {
    return this.office.holdings.shares;
  }

  status(): EpochStatus {
    return {
      current: this.current,
      isTrustee: this.office.isTrustee,
      share: this.office.share(),
      leading: this.recovery.phase ?? this.leader.phase,
      lastFailure: this.recovery.lastFailure ?? this.leader.lastFailure,
      split: this.split,
    };
  }

  /** Who cheated or was missed in dealings, as this host saw it. */
  reproached(now: Millis): readonly Reproach[] {
    return this.office.reproached(now);
  }

  /** Throws a `Fault` for an order that nobody would follow: `not-a-successor`, `unjustified`. */
  checkRecovery({ plan, signature }: RecoveryOrder): void {
    this.recovery.checkOrder(plan, signature);
  }

  nextWake(): Millis | null {
    if (!this.started) return 0;
    return earliest(
      this.reviewAt,
      this.attemptAt,
      this.leader.nextWake(),
      this.recovery.nextWake(),
      this.sessions.nextWake(),
    );
  }

  step(input: EpochInput, now: Millis): readonly EpochEffect[] {
    const effects = this.started ? [] : this.start(now);
    switch (input.type) {
      case 'wake':
        return [...effects, ...this.wake(now)];
      case 'view':
        this.office.view = input.view;
        return effects;
      case 'message':
        return [...effects, ...this.guard(input.from, () => this.onMessage(input.from, input.bytes, now))];
      case 'record':
        return [...effects, ...this.guard(this.office.self, () => this.onRecordBytes(input.bytes, null))];
      case 'crypto':
        return [...effects, ...this.guard(this.office.self, () => this.onCrypto(input.report, now))];
      case 'spent':
        return [...effects, ...this.onSpent(input.generations)];
      case 'recover':
        return [...effects, ...this.guard(this.office.self, () => this.recovery.begin(input.order, now))];
    }
  }

  /** What another sent may be wrong in any way; then it changes nothing, and an operator can read of it. */
  private guard(from: HostId, act: () => EpochEffect[]): EpochEffect[] {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ type: 'alarm', code: error.code, subject: from, detail: error.message }];
    }
  }

  /** Says again what a crash may have cut off after it was durable. */
  private start(now: Millis): EpochEffect[] {
    this.started = true;
    this.reviewAt = now;
    const { orphans, lost, electorate, isTrustee, self } = this.office;
    const effects = [this.office.entered(), ...this.office.publication()];
    // It may have slept through the end of its office, and nobody owes a past trustee a word.
    if (isTrustee)
      for (const host of electorate.members)
        if (host !== self) effects.push(sendTo(host, { type: 'ask', epoch: this.current.plan.epoch }));
    effects.push(...this.office.giveUpLost());
    if (orphans.length > 0) effects.push({ type: 'shred', names: orphans });
    for (const name of lost)
      effects.push({
        type: 'alarm',
        code: 'share-lost',
        subject: self,
        detail: `share ${name} is not there`,
      });
    return effects;
  }

  private mail(posts: readonly Post[]): EpochEffect[] {
    return posts.map(({ to, message }) => sendTo(to, message));
  }

  // --- What is to be done, and when ---

  private wake(now: Millis): EpochEffect[] {
    const effects = [
      ...this.sessions.wake(now),
      ...this.mail(this.leader.wake(now)),
      ...this.recovery.wake(now),
    ];
    if (now >= this.reviewAt) {
      this.reviewAt = now + this.office.options.timings.reviewMs;
      return [...effects, ...this.writeAgain(), ...this.askAround(), ...this.consider(now)];
    }
    return this.attemptAt !== null && now >= this.attemptAt ? [...effects, ...this.consider(now)] : effects;
  }

  /** A write has failed, or takes its time: nothing may come that writes what it held, or says what it released. */
  private writeAgain(): EpochEffect[] {
    if (this.office.backlog.isEmpty) return [];
    return [this.office.persist([this.office.entered(), ...this.office.publication()])];
  }

  /** Whoever expects an epoch asks for its record: the one that made it may have died before it told anybody. */
  private askAround(): EpochEffect[] {
    const { holdings, acceptor, electorate, self } = this.office;
    if (holdings.pending.length === 0 && acceptor.state.lock === null && !this.office.lacksShare()) return [];
    const hosts = new Set(electorate.members);
    for (const { plan } of holdings.pending) for (const host of plan.trustees) hosts.add(host);
    hosts.delete(self);
    return this.askOneOf([...hosts]);
  }

  private askOneOf(hosts: readonly HostId[]): EpochEffect[] {
    if (hosts.length === 0) return [];
    const host = hosts[randomInt(this.office.options.random, hosts.length)]!;
    return [sendTo(host, { type: 'ask', epoch: this.current.plan.epoch })];
  }

  /** Begins a ballot when something has been to change for long enough that those before it had their turn. */
  private consider(now: Millis): EpochEffect[] {
    const { electorate, acceptor, self, options } = this.office;
    this.attemptAt = null;
    if (!this.office.isTrustee || this.leader.isLeading) return [];
    const { lock, promised } = acceptor.state;
    if (lock === null && this.office.design(this.office.lacksShare(), false, now) === null) {
      this.wantedAt = null;
      return [];
    }
    this.wantedAt ??= now;
    const turn = this.wantedAt + electorate.members.indexOf(self) * options.timings.staggerMs;
    const readyAt = Math.max(turn, this.leader.readyAt);
    if (now < readyAt) {
      // Not with the next review: those of all hosts may well fall together.
      this.attemptAt = readyAt;
      return [];
    }
    return this.mail(this.leader.begin(promised, now));
  }

  // --- Messages ---

  private onMessage(from: HostId, bytes: Uint8Array, now: Millis): EpochEffect[] {
    const message = decodeMessage(bytes);
    const here = this.current.plan.epoch;
    switch (message.type) {
      case 'records':
        // Each on its own: what a good one changed is to be written, whatever follows it.
        return message.records.flatMap((record) => this.guard(from, () => this.onRecordBytes(record, from)));
      case 'ask':
        return this.answerAsk(from, message.epoch);
      case 'relay':
        // Of an epoch that is in force here only what ends late is of use.
        if (message.epoch <= here && !this.sessions.has(message.session)) return [];
        return this.sessions.onRelay(from, message);
      case 'relayed':
        this.sessions.onRelayed(from, message);
        return [];
      case 'ready':
        return [
          ...this.participant.onReady(from, message, now),
          ...this.recovery.onReady(from, message, now),
        ];
      case 'recover':
      case 'recovered':
      case 'certify':
        return message.epoch <= here
          ? this.answerAsk(from, this.office.chain.before(message.epoch))
          : this.onRecovery(from, message, now);
      case 'written':
        return this.participant.onWritten(from, message);
      case 'released':
        if (message.epoch === here + 1) this.office.acceptor.released(from, message.ballot, now);
        return [];
      case 'prepare':
      case 'start':
      case 'propose':
      case 'accept':
      case 'sign':
        if (message.epoch <= here) return this.answerAsk(from, message.epoch - 1);
        if (message.epoch > here + 1) return [sendTo(from, { type: 'ask', epoch: here })];
        return this.onQuestion(from, message, now);
      case 'refused':
        if (message.epoch > here + 1) return this.recovery.onRefused(from, message);
        return message.epoch === here + 1 ? this.onAnswer(from, message, now) : [];
      default:
        return message.epoch === here + 1 ? this.onAnswer(from, message, now) : [];
    }
  }

  private onRecovery(
    from: HostId,
    message: Of<'recover' | 'recovered' | 'certify'>,
    now: Millis,
  ): EpochEffect[] {
    if (message.type === 'recovered') return this.recovery.onRecovered(from, message, now);
    if (this.office.isWithdrawn) return [];
    return message.type === 'recover'
      ? this.recovery.onRecover(from, message)
      : this.recovery.onCertify(from, message, now);
  }

  private answerAsk(from: HostId, epoch: number): EpochEffect[] {
    const records = this.office.chain.after(epoch).map((record) => record.bytes);
    if (records.length === 0) return [];
    return [sendTo(from, { type: 'records', epoch: this.current.plan.epoch + 1, records })];
  }

  private onQuestion(from: HostId, message: Question, now: Millis): EpochEffect[] {
    const { acceptor } = this.office;
    if (this.office.isWithdrawn) return this.decline(from, message);
    switch (message.type) {
      case 'prepare':
        return this.office.reply(from, this.promise(from, message, now));
      case 'propose':
        return this.office.reply(from, this.propose(from, message, now));
      case 'accept':
        return this.office.reply(from, acceptor.accept(from, message));
      case 'start':
        return this.participant.onStart(from, message, now);
      case 'sign':
        return this.participant.onSign(from, message, now);
    }
  }

  private promise(from: HostId, message: Of<'prepare'>, now: Millis): EpochMessage {
    const holdsShare = this.office.share() !== null;
    return this.office.acceptor.prepare(from, message, holdsShare, now, (host) => this.office.isAway(host));
  }

  /** Binds nobody to anything, and lets the leader count on others. */
  private decline(from: HostId, message: Question): EpochEffect[] {
    if (message.type === 'sign') return [];
    const { ballot } =
      message.type === 'start' ? message.plan : message.type === 'accept' ? message.lock : message;
    return [sendTo(from, this.office.acceptor.refuse(ballot, 'withdrawn'))];
  }

  private propose(from: HostId, message: Of<'propose'>, now: Millis): EpochMessage {
    const { descriptor, justification } = message;
    const approve = (): void => {
      checkSuccessor(descriptor, this.current);
      this.office.approve(descriptor.plan, justification, now);
    };
    try {
      return this.office.acceptor.propose(from, message, approve, now);
    } catch (error) {
      if (!(error instanceof Fault) || error.code === 'unjustified') throw error;
      return this.office.acceptor.refuse(message.ballot, error.code);
    }
  }

  private onAnswer(from: HostId, message: Answer, now: Millis): EpochEffect[] {
    switch (message.type) {
      case 'promise':
        return this.mail(this.leader.onPromise(from, message, now));
      case 'ack':
        return this.mail(this.leader.onAck(message, now));
      case 'vote':
        return this.mail(this.leader.onVote(from, message, now));
      case 'accepted':
        return this.mail(this.leader.onAccepted(from, message, now));
      case 'refused':
        return this.onRefused(from, message, now);
    }
  }

  /** Whoever stands back for another tries again in its own time: reviews of all hosts may well fall together. */
  private onRefused(from: HostId, message: Of<'refused'>, now: Millis): EpochEffect[] {
    const posts = this.leader.onRefused(from, message, now);
    if (!this.leader.isLeading) this.attemptAt ??= this.leader.readyAt;
    return this.mail(posts);
  }

  // --- The cryptography ---

  private onCrypto(report: CryptoReport, now: Millis): EpochEffect[] {
    const session = this.sessions.get(report.session);
    // A report that was under way when its session ended is of no use any more.
    if (session === undefined) return [];
    switch (report.type) {
      case 'send':
        return this.sessions.send(report.session, report.to, report.bytes);
      case 'established':
        if (session.kind === 'sign') return [];
        return isExtraordinary(session.plan.kind)
          ? this.recovery.onEstablished(session.plan, report)
          : this.participant.onEstablished(session.plan, report);
      case 'signed':
        return this.onSigned(session, report.signature);
      case 'failed': {
        if (session.kind !== 'sign' && isExtraordinary(session.plan.kind))
          return [...this.sessions.end(session.id), ...this.recovery.onFailed(session.plan, report)];
        const isOwn = session.kind === 'sign' && session.coordinator === this.office.self;
        const posts = isOwn ? this.leader.fail(`signature: ${report.detail}`, now) : [];
        return [...this.mail(posts), ...this.participant.onFailed(session, report, now)];
      }
      default:
        return session.kind === 'sign' ? [] : this.participant.onHeard(session, report, now);
    }
  }

  private onSigned(session: CryptoSession, signature: Uint8Array): EpochEffect[] {
    const recovered = this.recovery.recordOf(session, signature);
    if (recovered !== null) return this.onRecord(recovered);
    const { decided } = this.leader;
    if (decided === null || session.kind !== 'sign' || session.coordinator !== this.office.self) return [];
    return this.onRecord(createRecord(decided.descriptor, decided.accepted, signature));
  }

  private onSpent(generations: readonly number[]): EpochEffect[] {
    const names = this.office.holdings.dropSpent(generations, this.current);
    return names.length === 0 ? [] : [this.office.persist([{ type: 'shred', names }])];
  }

  // --- Entering an epoch ---

  /** A record from `from`, or from the replica. One that comes too early makes this host ask for those before. */
  private onRecordBytes(bytes: Uint8Array, from: HostId | null): EpochEffect[] {
    const record = decodeRecord(bytes);
    try {
      return this.onRecord(record);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'epoch-unproven') throw error;
      if (record.descriptor.plan.previous === this.current.hash) return this.recovery.stand(record);
      const others = record.descriptor.plan.trustees.filter((host) => host !== this.office.self);
      return this.askOneOf(from === null ? others : [from]);
    }
  }

  /** Neither root can vouch for the other: hosts that hold the one do not believe those that hold the other. */
  private onSplit({ plan, rootKey }: EpochDescriptor): EpochEffect[] {
    const isOurs = plan.kind !== 'refound';
    this.split = { generation: plan.generation, isOurs, holders: plan.trustees };
    const whose = isOurs
      ? 'by trustees that were cut off'
      : 'by the operator and more than half of all hosts';
    const detail = `there is another root g${plan.generation} (${rootKey.slice(0, 8)}), made ${whose}`;
    return [{ type: 'alarm', code: 'root-split', subject: this.office.self, detail }];
  }

  /** Of what led to an epoch that has no place here. */
  private askAside({ plan }: EpochDescriptor): EpochEffect[] {
    const from = this.office.chain.before(plan.epoch);
    const host = plan.trustees.find((one) => one !== this.office.self);
    return host === undefined ? [] : [sendTo(host, { type: 'ask', epoch: from })];
  }

  private onRecord(record: EpochRecord): EpochEffect[] {
    const { chain } = this.office;
    const { descriptor, bytes } = record;
    const verdict = chain.judge(record);
    if (verdict === 'split') return this.onSplit(descriptor);
    if (verdict === 'past' && chain.isOfUnknownRoot(descriptor)) return this.askAside(descriptor);
    if (verdict === 'known' || verdict === 'past') return [];
    const concerned = new Set([...this.office.electorate.members, ...descriptor.plan.trustees]);
    const isOwnWork =
      this.leader.decided?.descriptor.hash === descriptor.hash || this.recovery.isFor(descriptor);
    const { ops, shredded } = this.office.enter(record);
    this.leader = this.newLeader();
    this.recovery.entered();
    this.wantedAt = null;
    this.attemptAt = null;
    // The dealing stays for a while: others may be waiting for their part of it.
    const ended = this.sessions.endWhere((s) => s.kind === 'sign' || s.id !== descriptor.session);
    const then = [this.office.entered(), ...this.office.publication()];
    concerned.delete(this.office.self);
    if (isOwnWork)
      for (const to of concerned)
        then.push(sendTo(to, { type: 'records', epoch: descriptor.plan.epoch, records: [bytes] }));
    if (shredded.length > 0) then.push({ type: 'shred', names: shredded });
    return [...ended, this.office.persist(then, { ops })];
  }
}
