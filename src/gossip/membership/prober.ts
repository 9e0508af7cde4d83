/**
 * Outstanding probes: direct ping, then helpers, then an answer to whoever wanted to know. Source: SWIM (Das
 * et al. 2002), section 3.1, figure 1; nacks from Lifeguard (Dadgar et al. 2018), section IV.A.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import { Deadlines } from '../deadlines.ts';
import type { SwimParameters } from '../parameters.ts';

/**
 * `round`: the regular probe; helpers are asked. `hint`: the same, out of turn, since something went wrong on
 * the way to the target. `corroborate`: on another's request. `check`: this agent's last word before a
 * verdict. `greet`: a new neighbour or a down member; failure means nothing. `relay`: for another member that
 * asked this one to help, `urgent-relay` if that one's connection was refused.
 */
export type Purpose = 'round' | 'hint' | 'corroborate' | 'check' | 'greet' | 'relay' | 'urgent-relay';

export interface Probe {
  readonly sequence: number;
  readonly target: HostId;
  readonly purpose: Purpose;
  /** Whom a relay is for, and the sequence number it knows. */
  readonly origin: { readonly id: HostId; readonly sequence: number } | null;
  /** `relayed`: a helper reached the target. */
  stage: 'direct' | 'indirect' | 'relayed';
  attempts: number;
  /** The target's kernel said that nobody listens, or the connection could not be had. */
  refused: boolean;
  sentAt: Millis;
  /** Helpers asked, and how many said that they could not reach the target either. */
  helpers: number;
  nacks: number;
}

/** What the prober asks of the membership that owns it. */
export interface ProbeOwner {
  /** `insist`: over a connection beside the datagram, which tells a lost datagram from a lost process. */
  sendPing(target: HostId, sequence: number, insist: boolean): void;
  /** Asks helpers to probe; returns how many. */
  sendPingRequests(target: HostId, sequence: number, urgent: boolean): number;
  /** Tells the origin of a relay what was found. */
  answerRelay(probe: Probe, reached: boolean): void;
  probeSucceeded(probe: Probe, now: Millis): void;
  /** Never called for relays. */
  probeFailed(probe: Probe, now: Millis): void;
  /** Stretches a timeout by local health. */
  scaled(milliseconds: Millis): Millis;
}

/** Probes at once; further ones are not begun. The regular round needs one or two. */
const maxProbes = 512;
/** Of those, probes on behalf of others. */
const maxRelays = 128;
/** Of those, on behalf of one: whoever asks for more leaves room for others. */
const maxRelaysPerOrigin = 32;
/** Probes because others asked to look: each may cost a connection, and asking costs a datagram. */
const maxCorroborations = 64;
/** A helper answers before its asker gives up (Lifeguard: 80 % of the timeout). */
const relayShare = 0.8;
/** After a refused connection, the wait for the answer to the datagram that left with it, milliseconds. */
const refusedGraceMs = 50;
/** While answers are due this agent looks up so often, or it would not notice that it was stopped meanwhile. */
const lookUpMs = 50;
/** The asker's wait for its helpers, in direct timeouts: their probe and the way there and back. */
const indirectTimeouts = 2;

export class Prober {
  private readonly parameters: SwimParameters;
  private readonly owner: ProbeOwner;
  private readonly probes = new Map<number, Probe>();
  private readonly deadlines = new Deadlines<number>();
  private sequence: number;
  private relays = 0;
  private lookedUpAt: Millis = 0;

  constructor(parameters: SwimParameters, owner: ProbeOwner, random: Random) {
    this.parameters = parameters;
    this.owner = owner;
    this.sequence = Math.floor(random.next() * 0x1_0000_0000);
  }

  nextWake(): Millis | null {
    const next = this.deadlines.next();
    return next === null ? null : Math.min(next, this.lookedUpAt + lookUpMs);
  }

  /** This agent runs, and has taken in what was there for it. */
  lookedUp(now: Millis): void {
    this.lookedUpAt = now;
  }

  /** Whether a probe of `target` is under way whose failure would count. */
  isJudging(target: HostId): boolean {
    for (const probe of this.probes.values())
      if (probe.target === target && !isRelay(probe) && probe.purpose !== 'greet') return true;
    return false;
  }

  /** Begins a probe; false when too many are under way. */
  start(target: HostId, purpose: Purpose, now: Millis, origin: Probe['origin'] = null): boolean {
    if (this.probes.size >= maxProbes || !this.hasRoom(purpose, origin)) return false;
    this.sequence = (this.sequence + 1) >>> 0;
    const sequence = this.sequence;
    const probe: Probe = {
      sequence,
      target,
      purpose,
      origin,
      stage: 'direct',
      attempts: 0,
      refused: false,
      sentAt: now,
      helpers: 0,
      nacks: 0,
    };
    this.probes.set(sequence, probe);
    if (isRelay(probe)) this.relays++;
    this.ping(probe, purpose !== 'round' && purpose !== 'relay', now);
    return true;
  }

  /** Whether what others ask for is within its bounds. */
  private hasRoom(purpose: Purpose, origin: Probe['origin']): boolean {
    if (origin === null) return purpose !== 'corroborate' || this.count(isCorroboration) < maxCorroborations;
    const isTheirs = (probe: Probe): boolean => probe.origin?.id === origin.id;
    return this.relays < maxRelays && this.count(isTheirs) < maxRelaysPerOrigin;
  }

  private count(accept: (probe: Probe) => boolean): number {
    let count = 0;
    for (const probe of this.probes.values()) if (accept(probe)) count++;
    return count;
  }

  private ping(probe: Probe, insist: boolean, now: Millis): void {
    const { probeTimeoutMs } = this.parameters;
    probe.attempts++;
    probe.sentAt = now;
    const timeoutMs = isRelay(probe) ? probeTimeoutMs * relayShare : this.owner.scaled(probeTimeoutMs);
    this.deadlines.set(probe.sequence, now + timeoutMs);
    this.owner.sendPing(probe.target, probe.sequence, insist);
  }

  acknowledged(from: HostId, sequence: number, now: Millis): void {
    const probe = this.probes.get(sequence);
    if (probe === undefined || probe.target !== from) return;
    this.end(probe);
    if (isRelay(probe)) this.owner.answerRelay(probe, true);
    else this.owner.probeSucceeded(probe, now);
  }

  /** A helper reached the target. Taken only while helpers are out. */
  relayed(sequence: number, now: Millis): void {
    const probe = this.probes.get(sequence);
    if (probe?.stage !== 'indirect') return;
    probe.stage = 'relayed';
    this.end(probe);
    this.owner.probeSucceeded(probe, now);
  }

  /** A helper did not reach the target; once all have said so, there is nothing to wait for. */
  refused(sequence: number, now: Millis): void {
    const probe = this.probes.get(sequence);
    if (probe?.stage !== 'indirect') return;
    probe.nacks++;
    if (probe.nacks >= probe.helpers) this.fail(probe, now);
  }

  /**
   * A connection to `target` could not be had. Its direct probes wait only for what may be on its way; a
   * `check` waits longer, because a process that is being restarted refuses for a moment. Returns whether
   * any probe of it was under way.
   */
  unreachable(target: HostId, now: Millis): boolean {
    let found = false;
    for (const probe of this.probes.values()) {
      if (probe.target !== target) continue;
      found = true;
      if (probe.stage === 'indirect') continue;
      probe.refused = true;
      const { probeTimeoutMs } = this.parameters;
      const until = probe.purpose === 'check' ? probe.sentAt + probeTimeoutMs / 2 : now + refusedGraceMs;
      const due = this.deadlines.get(probe.sequence) ?? until;
      this.deadlines.set(probe.sequence, Math.min(due, until));
    }
    return found;
  }

  wake(now: Millis): void {
    for (let due = this.deadlines.takeDue(now); due !== undefined; due = this.deadlines.takeDue(now)) {
      const probe = this.probes.get(due);
      if (probe !== undefined) this.timedOut(probe, now);
    }
  }

  /** This process was stopped: answers may be waiting unread, so every probe gets its time again. */
  postpone(now: Millis): void {
    for (const sequence of this.probes.keys())
      this.deadlines.set(sequence, now + this.owner.scaled(this.parameters.probeTimeoutMs));
  }

  private timedOut(probe: Probe, now: Millis): void {
    const certain = probe.refused && probe.purpose !== 'check';
    const again = !certain && probe.attempts < this.attemptsOf(probe.purpose);
    if (probe.stage === 'indirect') this.fail(probe, now);
    else if (again) this.ping(probe, true, now);
    else if (probe.purpose === 'round' || probe.purpose === 'hint') this.askHelpers(probe, now);
    else this.fail(probe, now);
  }

  /**
   * A silent target is pinged once more beside the helpers, and over a connection, since a lost datagram is
   * the likelier reason; with nobody to ask, as in a mesh of two, only so.
   */
  private askHelpers(probe: Probe, now: Millis): void {
    const { refused } = probe;
    probe.helpers = this.owner.sendPingRequests(probe.target, probe.sequence, refused);
    const alone = probe.helpers === 0;
    if (alone && (refused || probe.attempts > indirectTimeouts)) {
      this.fail(probe, now);
      return;
    }
    if (!refused) this.ping(probe, true, now);
    if (alone) return;
    probe.stage = 'indirect';
    const waitMs = this.owner.scaled(this.parameters.probeTimeoutMs * indirectTimeouts);
    this.deadlines.set(probe.sequence, now + waitMs);
  }

  private attemptsOf(purpose: Purpose): number {
    if (purpose === 'check') return this.parameters.checkAttempts;
    return purpose === 'corroborate' || purpose === 'greet' ? 2 : 1;
  }

  private fail(probe: Probe, now: Millis): void {
    this.end(probe);
    if (isRelay(probe)) this.owner.answerRelay(probe, false);
    else this.owner.probeFailed(probe, now);
  }

  private end(probe: Probe): void {
    this.probes.delete(probe.sequence);
    this.deadlines.delete(probe.sequence);
    if (isRelay(probe)) this.relays--;
  }
}

function isRelay({ origin }: Probe): boolean {
  return origin !== null;
}

function isCorroboration({ purpose }: Probe): boolean {
  return purpose === 'corroborate';
}
