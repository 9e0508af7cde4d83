/**
 * Who is there: SWIM (Das et al. 2002) with Lifeguard (Dadgar et al. 2018) and three rules of its own.
 * Nobody is found down but by a failed probe of one's own; only a member raises its own incarnation, which
 * it proves by a signature; and a fresh suspicion asks others to look at once instead of waiting for their
 * round. A lost connection is a hint that starts a probe, never a verdict; and what others claim makes this
 * agent do no more than `Claims` allows.
 */
import { earliest, type HostId, type Machine, type Millis } from '../../core.ts';
import { Places } from '../coordinates/places.ts';
import type { Rumor, SwimFrame } from '../frames.ts';
import { defaultSwimParameters, type SwimParameters } from '../parameters.ts';
import type { MemberState, MemberStatus } from '../port.ts';
import { Allowance, type Rate } from '../rates.ts';
import type { Lifecycle } from '../replica/lifecycle.ts';
import { View } from '../spread/view.ts';
import type { MembershipEffect, MembershipInput, Via } from '../swim-port.ts';
import { type Accusation, type Charge, Claims } from './claims.ts';
import { Detours } from './detours.ts';
import { LocalHealth } from './health.ts';
import { outranks, type Standing } from './member.ts';
import { Members } from './members.ts';
import type { MembershipOptions } from './membership-options.ts';
import { countOutcome, type MembershipStats, noMembershipStats } from './membership-stats.ts';
import { Messenger } from './messenger.ts';
import { OwnStanding } from './own.ts';
import { type Probe, type ProbeOwner, Prober, type Purpose } from './prober.ts';
import { Rhythm } from './rhythm.ts';
import { Roster } from './roster.ts';
import { Rumors } from './rumors.ts';
import { Suspicions } from './suspicions.ts';

/** Refutations that count against the own health: liars would keep everybody in its worst else. */
const blameRate: Rate = { perSecond: 0.2, burst: 4 };

export class Membership implements Machine<MembershipInput, MembershipEffect>, ProbeOwner {
  readonly stats: MembershipStats = noMembershipStats();
  private readonly options: MembershipOptions;
  private readonly parameters: SwimParameters;
  private readonly table: Members;
  private readonly prober: Prober;
  private readonly view: View;
  private readonly rumors: Rumors;
  private readonly health: LocalHealth;
  private readonly suspicions: Suspicions;
  private readonly own: OwnStanding;
  private readonly places: Places;
  private readonly claims = new Claims();
  private readonly blame = new Allowance(blameRate);
  private readonly messenger: Messenger;
  private readonly detours = new Detours();
  /** End of the last stall: what was due before it is no sign of another. */
  private resumedAt: Millis = 0;
  /** Of the ack that is being taken in. */
  private peerClock: Millis = 0;
  private readonly rhythm: Rhythm;
  private effects: MembershipEffect[] = [];

  constructor(options: MembershipOptions) {
    const { self, random, presumedRoster, root } = options;
    const emit = (effect: MembershipEffect): void => void this.effects.push(effect);
    this.options = options;
    this.parameters = options.parameters ?? defaultSwimParameters;
    this.own = new OwnStanding(self, options.incarnation, options.prove);
    const roster = presumedRoster ?? new Roster();
    this.table = new Members(self, random, roster, presumedRoster !== undefined);
    this.prober = new Prober(this.parameters, this, random);
    this.rhythm = new Rhythm(this.parameters, random);
    this.rumors = new Rumors(this.parameters.rumorMultiplier);
    this.health = new LocalHealth(this.parameters.worstHealth);
    this.suspicions = new Suspicions(this.parameters, (milliseconds) => this.scaled(milliseconds));
    this.view = new View(this.table, random, this.parameters.view, emit);
    this.places = new Places(self, random, emit);
    const { parameters, table, own, places, rumors } = this;
    this.messenger = new Messenger({ self, parameters, table, own, places, rumors, root, emit });
    this.rumors.add(this.own.rumor());
    this.view.fill();
  }

  get incarnation(): number {
    return this.own.incarnation;
  }

  get localHealth(): number {
    return this.health.score;
  }

  /** Members other than this agent, whatever their state. */
  get count(): number {
    return this.table.count;
  }

  /** What is amiss between this agent and single members. */
  findings(now: Millis) {
    const { withoutDatagrams, throughHelpers } = this.detours;
    return { withoutDatagrams, throughHelpers, discredited: this.claims.discredited(now) };
  }

  neighbours(): Iterable<HostId> {
    return this.view.neighbours;
  }

  all(): IterableIterator<MemberStatus> {
    return this.table.all();
  }

  get(id: HostId): MemberStatus | undefined {
    const index = this.table.indexOf(id);
    return index === undefined ? undefined : this.table.describe(index);
  }

  nextWake(): Millis | null {
    const others = earliest(this.suspicions.nextWake(), this.view.nextWake());
    return earliest(this.rhythm.nextWake(), this.prober.nextWake(), others);
  }

  step(input: MembershipInput, now: Millis): readonly MembershipEffect[] {
    const due = this.nextWake();
    const lateMs = due === null ? 0 : now - Math.max(due, this.resumedAt);
    if (lateMs > this.parameters.stallMs) this.stalled(lateMs, now);
    switch (input.type) {
      case 'wake':
        this.wake(now);
        break;
      case 'frame':
        this.receive(input.from, input.frame, input.via, now);
        break;
      case 'connected':
        this.greet(input.peer, now);
        break;
      case 'disconnected':
        // Who is no neighbour may close a connection that it dialled in passing: that is no sign of a death.
        if (this.view.isNeighbour(input.peer)) this.hint(input.peer, now);
        this.view.lost(input.peer, now);
        break;
      case 'unreachable':
        this.view.lost(input.peer, now);
        if (!this.prober.unreachable(input.peer, now)) this.hint(input.peer, now);
    }
    this.prober.lookedUp(now);
    return this.drain(now);
  }

  /** Effects of the methods below that were called outside of `step`. */
  drain(now: Millis): readonly MembershipEffect[] {
    const occasion = {
      hasCompany: this.table.count > 0,
      hasRumors: this.rumors.size > 0,
      hasDown: this.table.downCount > 0,
      leaving: this.own.leaving,
    };
    this.rhythm.arm(occasion, now);
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  /** `id` was admitted: alive until found otherwise. Follow with `drain`, as after each of the next four. */
  add(id: HostId, now: Millis): void {
    if (!this.table.add(id)) return;
    this.view.fillSoon(now);
  }

  /** The admission of `id` was taken back. */
  remove(id: HostId): void {
    const index = this.table.indexOf(id);
    if (index === undefined) return;
    this.suspicions.drop(index);
    this.table.remove(index);
    this.rumors.drop(id);
    this.detours.forget(id);
    this.claims.forget(id);
    this.places.forget(id);
    this.view.drop(id);
    this.view.fill();
  }

  /**
   * `id` said, in a record signed by itself, that it left (or is back) at this incarnation; or an operator
   * said that it is gone, which this agent, if meant, refutes at once.
   */
  noteLifecycle(id: HostId, state: Lifecycle['state'] | 'departed', incarnation: number, now: Millis): void {
    if (id === this.options.self && state !== 'active' && this.own.outlive(incarnation)) this.refute(now);
    const index = this.table.indexOf(id);
    if (index === undefined) return;
    if (state !== 'departed') this.table.noteWord(index, state === 'left');
    const held = this.table.standing(index);
    if (state === 'departed' && incarnation >= held.incarnation) this.table.presumeLeft(index, false);
    // Who refuted higher than its goodbye and then fell silent did leave: whoever knows less finds it so, too.
    if (held.state === 'down' && this.table.stateOfSilence(index) === 'left') {
      this.assumeSilent(index, held.incarnation, now);
      return;
    }
    const isNews = this.assume(index, { state: state === 'active' ? 'alive' : 'left', incarnation }, now);
    // And who had said meanwhile that it is back did not: this agent had not heard that when it found it silent.
    if (!isNews && state === 'active' && this.table.isPresumedLeft(index))
      this.change(index, { ...held, state: 'down' }, now);
  }

  /** This agent leaves: it no longer refutes, probes or accuses. */
  leave(): void {
    this.own.leave();
  }

  /** This agent is back after having left at this incarnation. */
  rejoin(leftAt: number): void {
    this.own.rejoin(leftAt);
    this.rumors.add(this.own.rumor());
  }

  private wake(now: Millis): void {
    this.prober.wake(now);
    const { suspicions } = this;
    for (let due = suspicions.takeDue(now); due !== undefined; due = suspicions.takeDue(now))
      this.judge(due, now);
    this.view.wake(now);
    if (this.rhythm.takeRound(this.scaled(this.parameters.probeIntervalMs), now))
      this.startProbe(this.table.nextInRound(), 'round', now);
    if (this.rhythm.takeDownProbe(now)) this.startProbe(this.table.nextDown(), 'greet', now);
    if (this.rhythm.takeRumor(now)) this.messenger.spreadRumors();
  }

  private startProbe(index: number | undefined, purpose: Purpose, now: Millis): void {
    if (index !== undefined) this.prober.start(this.idAt(index), purpose, now);
  }

  /**
   * This process was stopped for a while: its expired timeouts say nothing about anybody else, and answers
   * may be waiting unread.
   */
  private stalled(lateMs: Millis, now: Millis): void {
    this.stats.stalls++;
    this.resumedAt = now;
    this.health.worse(2);
    this.prober.postpone(now);
    this.suspicions.extend(lateMs, now);
  }

  private receive(from: HostId, frame: SwimFrame, via: Via, now: Millis): void {
    if ('belief' in frame && this.own.heed(frame.belief, now)) this.refute(now);
    if ('rumors' in frame) for (const rumor of frame.rumors) this.hear(rumor, from, now);
    switch (frame.type) {
      case 'ping':
        this.witness(from, frame, now);
        this.messenger.ack(from, frame.sequence, via, this.wallMs(now));
        break;
      case 'ack':
        this.witness(from, frame, now);
        this.answered(from, via);
        this.peerClock = frame.clock;
        this.prober.acknowledged(from, frame.sequence, now);
        // Of one who is no member yet, too: its admission may be what differs.
        this.effects.push({ type: 'root', peer: from, root: frame.root });
        break;
      case 'ping-req':
        this.relay({ id: from, sequence: frame.sequence }, frame.target, frame.urgent, now);
        break;
      case 'relayed-ack':
        this.prober.relayed(frame.sequence, now);
        break;
      case 'nack':
        this.prober.refused(frame.sequence, now);
        break;
      case 'corroborate':
        this.corroborate(frame.target, from, now);
        break;
      case 'rumors':
    }
  }

  private answered(from: HostId, via: Via): void {
    if (via === 'stream') this.stats.streamAcks++;
    if (this.table.indexOf(from) !== undefined) this.detours.answered(from, via);
  }

  /** Probes for another; over a connection, which costs more than asking, only as often as one may claim things. */
  private relay(origin: NonNullable<Probe['origin']>, target: HostId, urgent: boolean, now: Millis): void {
    if (this.table.indexOf(target) === undefined) return;
    const insists = urgent && this.claims.allowsRequest(origin.id, now);
    this.prober.start(target, insists ? 'urgent-relay' : 'relay', now, origin);
  }

  /** A new connection: measure it. */
  private greet(peer: HostId, now: Millis): void {
    this.view.connected(peer);
    this.messenger.greet(peer);
    this.prober.start(peer, 'greet', now);
  }

  /** Something went wrong on the way to `peer`: look at once, instead of at its turn. */
  private hint(peer: HostId, now: Millis): void {
    const index = this.table.indexOf(peer);
    if (index === undefined || this.own.leaving || this.table.state(index) !== 'alive') return;
    if (!this.prober.isJudging(peer)) this.prober.start(peer, 'hint', now);
  }

  private corroborate(target: HostId, asker: HostId, now: Millis): void {
    const index = this.table.indexOf(target);
    if (index === undefined || this.own.leaving) return;
    const state = this.table.state(index);
    if ((state !== 'alive' && state !== 'suspect') || this.prober.isJudging(target)) return;
    if (this.claims.allowsRequest(asker, now)) this.prober.start(target, 'corroborate', now);
    else this.stats.claimsIgnored++;
  }

  /** Somebody believed what is wrong of this agent, which has raised its incarnation for it. */
  private refute(now: Millis): void {
    this.stats.refutations++;
    if (this.blame.take(now)) this.health.worse();
    this.rumors.add(this.own.rumor());
  }

  /** An authentic frame says its sender's incarnation, which is proof enough for this agent, and its place. */
  private witness(from: HostId, said: SwimFrame & { type: 'ping' | 'ack' }, now: Millis): void {
    const index = this.table.indexOf(from);
    if (index === undefined) return;
    this.places.note(from, said.coordinate);
    this.assume(index, { state: 'alive', incarnation: said.incarnation }, now);
  }

  private hear(rumor: Rumor, teller: HostId, now: Millis): void {
    if (rumor.id === this.options.self) {
      if (rumor.state !== 'alive' && this.own.heed(rumor, now)) this.refute(now);
      return;
    }
    const index = this.table.indexOf(rumor.id);
    if (index === undefined) return;
    if (rumor.state === 'alive') this.hearAlive(index, rumor, now);
    else if (this.table.isAccusation(index, rumor)) this.believe(index, rumor, teller, now);
  }

  private hearAlive(index: number, rumor: Rumor & { state: 'alive' }, now: Millis): void {
    if (rumor.incarnation <= this.table.incarnation(index)) return;
    if (!this.options.isProof(rumor.id, rumor.incarnation, rumor.proof)) {
      this.stats.badProofs++;
      return;
    }
    if (this.assume(index, rumor, now)) this.rumors.add(rumor);
  }

  /**
   * What another says of a member. A claim that it is down, which only who found it so makes, has this agent look
   * at once; that, and the beginning of a suspicion, is charged to whoever says so.
   */
  private believe(index: number, claim: Accusation, teller: HostId, now: Millis): void {
    const running = this.suspicions.get(index);
    const hurries = claim.state === 'down' && claim.accuser === teller && !running?.isHurried;
    if (running === undefined && !this.isWorthSuspicion(index)) return;
    const isCharged = running === undefined || hurries;
    const charge = isCharged ? this.claims.charge(teller, claim, now) : null;
    if (isCharged && charge === null) this.stats.claimsIgnored++;
    else this.accuse(index, claim, now, charge);
  }

  private isWorthSuspicion(index: number): boolean {
    const incarnation = this.table.incarnation(index);
    return outranks({ state: 'suspect', incarnation }, this.table.standing(index));
  }

  /** Somebody, perhaps this agent, could not reach a member. At most a suspicion follows. */
  private accuse(index: number, claim: Accusation, now: Millis, charge: Charge | null = null): void {
    const incarnation = this.table.incarnation(index);
    const { self } = this.options;
    const running = this.suspicions.get(index);
    if (running === undefined && !this.isWorthSuspicion(index)) return;
    const suspicion = running ?? this.suspicions.begin(index, incarnation, claim.accuser, this.table, now);
    const isNews = running === undefined || running.confirm(claim.accuser);
    // One rumor a member is told at a time: that of an accuser which others cannot know of comes first.
    if (isNews && (claim.accuser === self || !suspicion.isAccuser(self)))
      this.rumors.add({ ...claim, state: 'suspect', incarnation });
    if (running === undefined) {
      this.stats.suspicions++;
      this.change(index, { state: 'suspect', incarnation }, now);
    }
    if (charge !== null) suspicion.charge(charge);
    if (charge?.kind === 'death') suspicion.hurry(now);
    this.suspicions.schedule(index, now);
  }

  /** A suspicion's moment has come: for the own check, or for the verdict. */
  private judge(index: number, now: Millis): void {
    const suspicion = this.suspicions.get(index);
    if (suspicion === undefined || this.own.leaving) return;
    if (suspicion.check === 'failed' || this.parameters.checkAttempts === 0)
      this.findDown(index, suspicion.incarnation, now);
    else if (this.prober.start(this.idAt(index), 'check', now)) suspicion.check = 'running';
    else this.suspicions.defer(index, now);
  }

  private findDown(index: number, incarnation: number, now: Millis): void {
    if (this.assumeSilent(index, incarnation, now) === 'left') return;
    const id = this.idAt(index);
    this.rumors.add({ state: 'down', id, incarnation, accuser: this.options.self });
    this.view.drop(id);
    this.view.fill();
  }

  /** Takes a member for gone or down, whichever its last word makes its silence; returns that. */
  private assumeSilent(index: number, incarnation: number, now: Millis): 'left' | 'down' {
    const state = this.table.stateOfSilence(index);
    const isNews = this.assume(index, { state, incarnation }, now);
    if (isNews && state === 'left') this.table.presumeLeft(index, true);
    return state;
  }

  /** Takes over a standing if it outranks the one held; true if it did. */
  private assume(index: number, standing: Standing, now: Millis): boolean {
    if (!outranks(standing, this.table.standing(index))) return false;
    this.claims.settle(this.suspicions.drop(index), standing.state === 'alive', now);
    this.change(index, standing, now);
    const id = this.idAt(index);
    if (standing.state === 'left') {
      this.rumors.drop(id);
      this.view.drop(id);
    }
    this.view.fill();
    return true;
  }

  private change(index: number, standing: Standing, now: Millis): void {
    const was: MemberState = this.table.state(index);
    this.table.set(index, { state: standing.state, incarnation: standing.incarnation });
    if (was === standing.state) return;
    const member = this.table.describe(index);
    this.effects.push({ type: 'member', member, was });
    if (was === 'down' || member.state === 'down') this.claims.excuse(member, now);
    if (was === 'down' && this.table.downCount > 0) this.rhythm.hastenDownProbe(this.table.downCount, now);
  }

  sendPing(target: HostId, sequence: number, insist: boolean): void {
    this.stats.probesSent++;
    this.messenger.ping(target, sequence, insist);
  }

  sendPingRequests(target: HostId, sequence: number, urgent: boolean): number {
    return this.messenger.pingRequests(target, sequence, urgent);
  }

  answerRelay(probe: Probe, reached: boolean): void {
    if (probe.origin === null) return;
    const { id, sequence } = probe.origin;
    countOutcome(this.stats, probe.purpose, reached ? 'acked' : 'failed');
    this.messenger.send(id, { type: reached ? 'relayed-ack' : 'nack', sequence });
  }

  probeSucceeded(probe: Probe, now: Millis): void {
    this.stats.probesAcked++;
    countOutcome(this.stats, probe.purpose, probe.stage === 'direct' ? 'acked' : 'relayed');
    this.health.better();
    const index = this.table.indexOf(probe.target);
    if (index === undefined) return;
    if (probe.stage === 'relayed') this.detours.relayed(probe.target);
    // An ack of a repeated ping cannot be told apart (Karn's rule), one by helpers is no round trip.
    if (probe.stage === 'direct' && probe.attempts === 1) {
      const sampleMs = Math.max(0, now - probe.sentAt);
      this.places.observe(probe.target, sampleMs);
      const { id, roundTripMs, incarnation } = this.table.noteRoundTrip(index, sampleMs);
      const clockAheadMs = Math.round(this.peerClock + sampleMs / 2 - this.wallMs(now));
      this.effects.push({ type: 'measured', id, roundTripMs, incarnation, clockAheadMs });
    }
    const suspicion = this.suspicions.get(index);
    if (suspicion === undefined || probe.purpose !== 'check') return;
    // It answered, yet has not refuted: whatever keeps it from doing so, it is not down.
    this.claims.settle(suspicion.restart(now), true, now);
    this.suspicions.schedule(index, now);
  }

  probeFailed(probe: Probe, now: Millis): void {
    this.stats.probesFailed++;
    countOutcome(this.stats, probe.purpose, 'failed');
    const index = this.table.indexOf(probe.target);
    if (index === undefined || this.own.leaving) return;
    if (probe.purpose === 'round' || probe.purpose === 'hint')
      this.health.worse(probe.helpers === 0 ? 1 : probe.helpers - probe.nacks);
    if (probe.purpose === 'greet') return;
    const incarnation = this.table.incarnation(index);
    const wasSuspect = this.suspicions.get(index) !== undefined;
    const id = probe.target;
    this.accuse(index, { state: 'suspect', id, incarnation, accuser: this.options.self }, now);
    const suspicion = this.suspicions.get(index);
    if (suspicion === undefined) return;
    if (!wasSuspect) this.messenger.askToCorroborate(index);
    else if (probe.purpose === 'check') {
      suspicion.check = 'failed';
      this.suspicions.schedule(index, now);
    }
  }

  scaled(milliseconds: Millis): Millis {
    return this.health.scale(milliseconds);
  }

  private wallMs(now: Millis): Millis {
    return this.options.wallMs?.() ?? now;
  }

  private idAt(index: number): HostId {
    return this.table.roster.idAt(index);
  }
}
