/**
 * Leads ballots: gathers promises, has shares made, gathers votes and acceptances, and has the decision signed.
 * Keeps nothing across a crash: whatever it had reached, the next ballot, anybody's, finds it with the others.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import { type Attempt, type Design, type Phase, type PhaseOf, type Post, questionsOf } from './attempt.ts';
import { BallotHeight } from './ballot-height.ts';
import { type EpochPlan, historyAfter, sessionOf } from './descriptor.ts';
import type { Electorate, Justification, Lock } from './electorate.ts';
import type { EpochMessage } from './message.ts';
import { sharesNeeded } from './policy.ts';
import type { EpochTimings } from './port.ts';
import { leadersNeeded } from './silence.ts';
import { speaksOf, type Voucher } from './voucher.ts';

type Of<T extends EpochMessage['type']> = Extract<EpochMessage, { type: T }>;

/** What keeps somebody from promising this ballot, and not a higher one by the same leader. */
const raisable: readonly string[] = ['superseded', 'ballot-too-high', 'busy'];
/** So that refusals that come together are answered together, milliseconds; and never twice the same. */
const raiseAfterMs = 20;
/** One for each that may have been made to promise more, at two heights. */
const maxRaises = 4;
/** Of the time that others hold for a leader: the rest is for what it says then to arrive. */
const heldPart = 3 / 4;

export interface LeaderOptions {
  readonly electorate: Electorate;
  readonly self: HostId;
  readonly mesh: string;
  readonly random: Random;
  readonly timings: EpochTimings;
  /**
   * Null when nothing is to change any more. `repair`: somebody lacks its share. `forgiving`: as if this host had
   * nothing against anybody.
   */
  readonly design: (repair: boolean, forgiving: boolean, now: Millis) => Design | null;
}

export class Leader {
  private readonly options: LeaderOptions;
  private readonly electorate: Electorate;
  private attempt: Attempt | null = null;
  private failures = 0;
  private readonly height: BallotHeight;
  private notBefore: Millis = 0;
  /** Dealers that refused, or with whom a dealing came to nothing; asked last. */
  private readonly unreliable = new Set<HostId>();
  /** Who refused its part in a new key. */
  private readonly reluctant = new Set<HostId>();
  /** Others would keep whom this host would pass over: they are to see for themselves, in a dealing with it. */
  private isForgiving = false;
  /** Why the last attempt came to nothing, for people. */
  lastFailure: string | null = null;

  constructor(options: LeaderOptions) {
    this.options = options;
    this.electorate = options.electorate;
    this.height = new BallotHeight(options.electorate);
  }

  get isLeading(): boolean {
    return this.attempt !== null;
  }

  get phase(): Phase['name'] | null {
    return this.attempt?.phase.name ?? null;
  }

  /** What is decided and waits for the root's signature. */
  get decided(): PhaseOf<'sign'> | null {
    const phase = this.attempt?.phase;
    return phase?.name === 'sign' ? phase : null;
  }

  /** The earliest moment for another attempt. */
  get readyAt(): Millis {
    return this.notBefore;
  }

  nextWake(): Millis | null {
    if (this.attempt === null) return null;
    const { phase, deadline, resendAt, raiseAt, heldUntil } = this.attempt;
    const enoughAt = phase.name === 'deal' ? (phase.enoughAt ?? deadline) : deadline;
    const waitUntil = phase.name === 'prepare' && !phase.hasWaited ? heldUntil : deadline;
    return Math.min(deadline, resendAt, enoughAt, raiseAt ?? deadline, waitUntil);
  }

  /** Begins a ballot above every one this host knows of. */
  begin(promised: number, now: Millis): Post[] {
    const { roundMs, holdMs } = this.options.timings;
    return this.prepare(promised, now + roundMs, now + holdMs * heldPart, maxRaises, now);
  }

  private prepare(
    promised: number,
    deadline: Millis,
    heldUntil: Millis,
    raises: number,
    now: Millis,
  ): Post[] {
    const ballot = this.height.next(promised, this.options.self);
    const phase: Phase = { name: 'prepare', promises: new Map(), lock: null, hasWaited: false };
    this.attempt = {
      ballot,
      phase,
      deadline,
      resendAt: now + this.options.timings.resendMs,
      refusals: new Map(),
      passesOver: false,
      heldUntil,
      raises,
      raiseAt: null,
    };
    return this.ask(this.attempt);
  }

  /** Some promised more than this ballot, and the others have time for this leader: it asks all for a higher one. */
  private raise({ ballot, deadline, heldUntil, raises }: Attempt, now: Millis): Post[] {
    return this.prepare(ballot, deadline, heldUntil, raises - 1, now);
  }

  /**
   * Whether this refusal of a promise is made good by a higher ballot, soon: at once where too few are left to promise
   * this one, else when they have had half of their time. One trustee's word alone ends no ballot.
   */
  private raises(attempt: Attempt, { code, retryAfterMs }: Of<'refused'>, now: Millis): boolean {
    if (attempt.phase.name !== 'prepare' || attempt.raises === 0 || !raisable.includes(code)) return false;
    const halfHeld = attempt.heldUntil - (this.options.timings.holdMs * heldPart) / 2;
    const isHopeless = this.isHopeless(attempt);
    const soonest = isHopeless ? now : Math.max(now, halfHeld);
    const at = soonest + retryAfterMs + raiseAfterMs * (0.5 + this.options.random.next());
    if (at >= attempt.heldUntil) return false;
    attempt.raiseAt = isHopeless ? at : Math.max(attempt.raiseAt ?? 0, at);
    return true;
  }

  /** Whether too many refuse for a quorum of the others. */
  private isHopeless({ refusals }: Attempt): boolean {
    const { members, threshold } = this.electorate;
    return members.filter((host) => refusals.has(host)).length > members.length - threshold;
  }

  /** Gives up, and lets others go; the pause grows with each failure in a row, and is never twice the same. */
  fail(reason: string, now: Millis): Post[] {
    const { attempt } = this;
    this.attempt = null;
    this.isForgiving = false;
    this.lastFailure = reason;
    this.failures++;
    const { maxPauseMs, resendMs } = this.options.timings;
    const pauseMs = Math.min(maxPauseMs, resendMs * 2 ** Math.min(this.failures, 16));
    const jitter = 0.5 + this.options.random.next();
    this.notBefore = now + pauseMs * jitter;
    if (attempt === null) return [];
    const { epoch, members } = this.electorate;
    return members.map((to) => ({ to, message: { type: 'released', epoch, ballot: attempt.ballot } }));
  }

  /** Another leads: this is no failure, and asking again soon costs little. */
  private standBack(waitMs: Millis, now: Millis): Post[] {
    const { busyMs } = this.options.timings;
    this.attempt = null;
    this.notBefore = now + Math.min(waitMs, busyMs) * (0.5 + this.options.random.next());
    return [];
  }

  /** Sends again what was not answered, goes on with what there is, or gives up. */
  wake(now: Millis): Post[] {
    const { attempt } = this;
    if (attempt === null) return [];
    if (attempt.phase.name === 'deal' && attempt.phase.enoughAt !== null && now >= attempt.phase.enoughAt)
      return this.proposeDealt(attempt, attempt.phase, now);
    if (now >= attempt.deadline) return this.timeOut(attempt, now);
    const { phase } = attempt;
    if (phase.name === 'prepare') {
      const posts = this.wakePreparing(attempt, phase, now);
      if (posts !== null) return posts;
    }
    if (now < attempt.resendAt) return [];
    const { resendMs, dealMs } = this.options.timings;
    attempt.resendAt = now + resendMs;
    return this.ask(attempt, attempt.deadline - now <= dealMs / 2);
  }

  /** Goes higher, if it has no quorum, or goes on without those that do not promise; null for neither. */
  private wakePreparing(attempt: Attempt, phase: PhaseOf<'prepare'>, now: Millis): Post[] | null {
    if (attempt.raiseAt !== null && now >= attempt.raiseAt) {
      attempt.raiseAt = null;
      if (phase.promises.size < this.electorate.threshold) return this.raise(attempt, now);
    }
    if (phase.hasWaited || now < attempt.heldUntil) return null;
    phase.hasWaited = true;
    const posts = this.dealWithout(attempt, phase, false, now) ?? this.advancePrepared(attempt, phase, now);
    return posts.length > 0 ? posts : null;
  }

  private timeOut(attempt: Attempt, now: Millis): Post[] {
    const { phase } = attempt;
    if (phase.name === 'prepare') {
      const posts = this.dealWithout(attempt, phase, true, now);
      if (posts !== null) return posts;
    }
    const failed = this.fail(`no answer in time (${phase.name})`, now);
    if (phase.name === 'deal') this.suspectSilent(phase, now);
    return failed;
  }

  /**
   * A dealing that came to nothing: those who said nothing may be why. Who it was is seen the sooner the more of the
   * others lead next (see `Silences`).
   */
  private suspectSilent(phase: PhaseOf<'deal'>, now: Millis): void {
    if (phase.plan.kind === 'reshare')
      for (const dealer of phase.plan.dealers)
        if (!phase.acks.has(dealer) && dealer !== this.options.self) this.unreliable.add(dealer);
    const { plan } = this.electorate.current;
    if (plan.threshold > 1)
      this.notBefore = Math.max(this.notBefore, now + this.options.timings.dealMs * leadersNeeded(plan));
  }

  private ask(attempt: Attempt, late = false): Post[] {
    return questionsOf(attempt, this.electorate, late);
  }

  private enter(attempt: Attempt, phase: Phase, waitMs: Millis, now: Millis): Post[] {
    attempt.phase = phase;
    attempt.deadline = now + waitMs;
    attempt.resendAt = now + this.options.timings.resendMs;
    attempt.refusals.clear();
    attempt.raiseAt = null;
    return this.ask(attempt);
  }

  /** Whether a voucher answers this very question, by whoever sent it. */
  private answers(from: HostId, voucher: Voucher, role: Voucher['role'], attempt: Attempt): boolean {
    return (
      voucher.by === from &&
      voucher.role === role &&
      voucher.ballot === attempt.ballot &&
      this.electorate.isGenuine(voucher)
    );
  }

  onPromise(from: HostId, { voucher, lock }: Of<'promise'>, now: Millis): Post[] {
    const { attempt } = this;
    if (attempt?.phase.name !== 'prepare' || !this.electorate.has(from)) return [];
    const { phase } = attempt;
    if (phase.promises.has(from) || !this.answers(from, voucher, 'promise', attempt)) return [];
    // A promise whose lock is not proven is none: it would spoil the whole justification.
    if (voucher.value !== null) {
      if (lock?.ballot !== voucher.value.ballot || lock.descriptor.hash !== voucher.value.hash) return [];
      this.electorate.checkLock(lock);
      if (phase.lock === null || lock.ballot > phase.lock.ballot) phase.lock = lock;
    }
    phase.promises.set(from, voucher);
    return this.advancePrepared(attempt, phase, now);
  }

  private advancePrepared(attempt: Attempt, phase: PhaseOf<'prepare'>, now: Millis): Post[] {
    if (phase.promises.size < this.electorate.threshold) return [];
    const promises = [...phase.promises.values()];
    if (phase.lock !== null) {
      const justification: Justification = { promises, lock: phase.lock };
      const { descriptor } = phase.lock;
      const { roundMs } = this.options.timings;
      const vote: Phase = { name: 'vote', descriptor, justification, acks: [], votes: new Map() };
      return this.enter(attempt, vote, roundMs, now);
    }
    // More may show that what some say they voted for is dead (see `Verdict`).
    const mayBeBound = promises.some(({ voted }) => voted > 0);
    if (mayBeBound && promises.length < this.electorate.members.length && !phase.hasWaited) return [];
    const repair = promises.some((promise) => !promise.holdsShare);
    const design = this.options.design(repair, this.isForgiving, now);
    // The promise that shows who lacks a share may be yet to come; if there is none, time runs out and that is it.
    if (design === null) return [];
    const dealers = this.dealersOf(design, promises);
    if (dealers === null) return [];
    return this.startDealing(attempt, design, dealers, promises, now);
  }

  /**
   * Null until all who have to deal have promised: one that is away would keep the others busy for nothing. They are not
   * waited for for long (see `dealWithout`).
   */
  private dealersOf(design: Design, promises: readonly Voucher[]): readonly HostId[] | null {
    if (design.kind === 'generate') {
      const hasPromised = (host: HostId): boolean => promises.some((promise) => promise.by === host);
      const isReady = design.trustees.every((host) => !this.electorate.has(host) || hasPromised(host));
      return isReady ? design.trustees : null;
    }
    const holders = promises.filter((promise) => promise.holdsShare).map((promise) => promise.by);
    const trusted = holders.filter((host) => !this.unreliable.has(host));
    const doubted = holders.filter((host) => this.unreliable.has(host));
    const dealers = [...trusted, ...doubted].slice(0, this.electorate.threshold);
    return dealers.length === this.electorate.threshold ? dealers : null;
  }

  /**
   * A new key is to be dealt by all who will hold it, and some of them promise nothing: who says nothing at all, or
   * does not want for the second time, shall be seen by all others not to deal either (see `Silences`). Null where that
   * is not what the ballot lacks. In the end (`isLast`) it is remembered who did not want: once a ballot.
   */
  private dealWithout(
    attempt: Attempt,
    phase: PhaseOf<'prepare'>,
    isLast: boolean,
    now: Millis,
  ): Post[] | null {
    const { promises, lock } = phase;
    if (promises.size < this.electorate.threshold || lock !== null) return null;
    const vouchers = [...promises.values()];
    const repair = vouchers.some((promise) => !promise.holdsShare);
    const design = this.options.design(repair, this.isForgiving, now);
    if (design?.kind !== 'generate') return null;
    const missing = design.trustees.filter((host) => this.electorate.has(host) && !promises.has(host));
    const refused = missing.filter((host) => attempt.refusals.has(host));
    const isNew = refused.some((host) => !this.reluctant.has(host));
    if (isLast) for (const host of refused) this.reluctant.add(host);
    return isNew ? null : this.startDealing(attempt, design, design.trustees, vouchers, now);
  }

  private startDealing(
    attempt: Attempt,
    design: Design,
    dealers: readonly HostId[],
    promises: readonly Voucher[],
    now: Millis,
  ): Post[] {
    attempt.passesOver = design.passesOver;
    const plan = this.planOf(design, dealers, attempt.ballot, now);
    const justification: Justification = { promises, lock: null };
    const session = sessionOf(plan);
    const deal: Phase = { name: 'deal', plan, session, justification, acks: new Map(), enoughAt: null };
    return this.enter(attempt, deal, this.options.timings.dealMs, now);
  }

  private planOf(design: Design, dealers: readonly HostId[], ballot: number, now: Millis): EpochPlan {
    const { current, epoch } = this.electorate;
    const { generation } = current.plan;
    return {
      mesh: this.options.mesh,
      epoch,
      previous: current.hash,
      generation: design.kind === 'generate' ? generation + 1 : generation,
      kind: design.kind,
      threshold: design.threshold,
      trustees: design.trustees,
      dealers,
      ballot,
      proposedAt: Math.floor(now),
      cold: design.cold,
      coldDealt: 0,
      ...historyAfter(current.plan, design.kind, design),
    };
  }

  /** Whoever passes it on: it is signed. */
  onAck({ voucher, descriptor }: Of<'ack'>, now: Millis): Post[] {
    const { attempt } = this;
    if (attempt?.phase.name !== 'deal') return [];
    const { phase } = attempt;
    const { by } = voucher;
    if (!phase.plan.trustees.includes(by) || descriptor.session !== phase.session) return [];
    if (phase.acks.get(by)?.descriptor.hash === descriptor.hash) return [];
    // One that is no good would spoil what is proposed with it.
    if (!speaksOf(voucher, attempt.ballot, descriptor.hash) || !this.answers(by, voucher, 'ack', attempt))
      return [];
    phase.acks.set(by, { voucher, descriptor });
    const { trustees, threshold } = phase.plan;
    const agreeing = this.agreeing(phase, descriptor.hash).length;
    if (agreeing === trustees.length) return this.proposeDealt(attempt, phase, now);
    if (agreeing >= sharesNeeded(threshold, trustees.length) && phase.enoughAt === null)
      phase.enoughAt = now + this.options.timings.graceMs;
    return [];
  }

  private agreeing(phase: PhaseOf<'deal'>, hash: string): Voucher[] {
    return [...phase.acks.values()].filter((ack) => ack.descriptor.hash === hash).map((ack) => ack.voucher);
  }

  private proposeDealt(attempt: Attempt, phase: PhaseOf<'deal'>, now: Millis): Post[] {
    const { trustees, threshold } = phase.plan;
    const needed = sharesNeeded(threshold, trustees.length);
    for (const { descriptor } of phase.acks.values()) {
      const acks = this.agreeing(phase, descriptor.hash);
      if (acks.length < needed) continue;
      const { justification } = phase;
      const vote: Phase = { name: 'vote', descriptor, justification, acks, votes: new Map() };
      return this.enter(attempt, vote, this.options.timings.roundMs, now);
    }
    return [];
  }

  onVote(from: HostId, { voucher }: Of<'vote'>, now: Millis): Post[] {
    const { attempt } = this;
    if (attempt?.phase.name !== 'vote' || !this.electorate.has(from)) return [];
    const { phase } = attempt;
    const { descriptor, votes } = phase;
    if (!this.answers(from, voucher, 'vote', attempt) || !speaksOf(voucher, attempt.ballot, descriptor.hash))
      return [];
    votes.set(from, voucher);
    if (votes.size < this.electorate.threshold) return [];
    const lock: Lock = { ballot: attempt.ballot, descriptor, votes: [...votes.values()] };
    const accept: Phase = { name: 'accept', lock, accepted: new Map() };
    return this.enter(attempt, accept, this.options.timings.roundMs, now);
  }

  onAccepted(from: HostId, { voucher }: Of<'accepted'>, now: Millis): Post[] {
    const { attempt } = this;
    if (attempt?.phase.name !== 'accept' || !this.electorate.has(from)) return [];
    const { lock, accepted } = attempt.phase;
    const { descriptor } = lock;
    if (
      !this.answers(from, voucher, 'accepted', attempt) ||
      !speaksOf(voucher, attempt.ballot, descriptor.hash)
    )
      return [];
    accepted.set(from, voucher);
    if (accepted.size < this.electorate.threshold) return [];
    const sign: Phase = { name: 'sign', descriptor, accepted: [...accepted.values()] };
    return this.enter(attempt, sign, this.options.timings.signMs, now);
  }

  /** Gives up once those who go along are too few; a single one cannot end a ballot by saying no. */
  onRefused(from: HostId, message: Of<'refused'>, now: Millis): Post[] {
    const { attempt } = this;
    if (attempt === null || message.ballot !== attempt.ballot || !this.isAsked(from, attempt)) return [];
    const { phase } = attempt;
    attempt.refusals.set(from, message);
    this.height.refused(from, message.promised);
    if (this.raises(attempt, message, now)) return [];
    const refused = (hosts: readonly HostId[]): number =>
      hosts.filter((host) => attempt.refusals.has(host)).length;
    let hopeless = this.isHopeless(attempt);
    if (phase.name === 'deal') {
      const { trustees, dealers, kind } = phase.plan;
      const needed = sharesNeeded(phase.plan.threshold, trustees.length);
      hopeless = refused(dealers) > 0 || refused(trustees) > trustees.length - needed;
      if (kind === 'reshare' && dealers.includes(from)) this.unreliable.add(from);
      // Some objection of its own to this very plan apart, it does not want once more: all shall see that it says nothing.
      if (kind === 'generate' && !this.objects(attempt, message.code) && this.isReluctant(from)) return [];
    }
    if (!hopeless) return [];
    const isKept = this.objects(attempt, message.code);
    let waitMs = 0;
    for (const { retryAfterMs } of attempt.refusals.values()) waitMs = Math.max(waitMs, retryAfterMs);
    if (phase.name === 'prepare' && waitMs > 0) return this.standBack(waitMs, now);
    const posts = this.fail(`refused: ${message.code} (${phase.name})`, now);
    this.isForgiving = isKept;
    this.height.comeDown(attempt.refusals);
    return posts;
  }

  /** Whether a host has a say in what this ballot is about. */
  private isAsked(host: HostId, { phase }: Attempt): boolean {
    if (this.electorate.has(host)) return true;
    return phase.name === 'deal' && phase.plan.trustees.includes(host);
  }

  /** Whether somebody would keep whom this ballot passes over. */
  private objects({ passesOver }: Attempt, code: string): boolean {
    return passesOver && (code === 'seat-in-use' || code === 'seniority');
  }

  /** Whether it refused before. */
  private isReluctant(host: HostId): boolean {
    const isKnown = this.reluctant.has(host);
    if (host !== this.options.self) this.reluctant.add(host);
    return isKnown;
  }
}
