/**
 * Outstanding probes: direct ping, then helpers, then an answer to whoever wanted to know. Source: SWIM (Das
 * et al. 2002), section 3.1, figure 1; nacks from Lifeguard (Dadgar et al. 2018), section IV.A.
 */
import type { HostId, Millis, Random } from '../core.ts';
import { Deadlines } from './deadlines.ts';
import type { SwimParameters } from './parameters.ts';

/**
 * `round`: the regular probe, and the one a hint starts; helpers are asked. `corroborate`: on another's
 * request. `check`: this agent's last word before a verdict. `greet`: a new neighbour or a down member;
 * failure means nothing. `relay`: for another member that asked this one to help.
 */
export type Purpose = 'round' | 'corroborate' | 'check' | 'greet' | 'relay';

export interface Probe {
  readonly sequence: number;
  readonly target: HostId;
  readonly purpose: Purpose;
  /** Whom a relay is for, and the sequence number it knows. */
  readonly origin: { readonly id: HostId; readonly sequence: number } | null;
  stage: 'direct' | 'indirect';
  attempts: number;
  sentAt: Millis;
  /** Helpers asked, and how many said that they could not reach the target either. */
  helpers: number;
  nacks: number;
}

/** What the prober asks of the membership that owns it. */
export interface ProbeOwner {
  sendPing(target: HostId, sequence: number): void;
  /** Asks helpers to probe; returns how many. */
  sendPingRequests(target: HostId, sequence: number): number;
  /** Tells the origin of a relay what was found. */
  answerRelay(probe: Probe, reached: boolean): void;
  probeSucceeded(probe: Probe, now: Millis): void;
  /** Never called for `relay`. */
  probeFailed(probe: Probe, now: Millis): void;
  /** Stretches a timeout by local health. */
  scaled(milliseconds: Millis): Millis;
}

/** Probes at once; further ones are not begun. The regular round needs one or two. */
const maxProbes = 512;
/** Of those, probes on behalf of others. */
const maxRelays = 128;
/** A helper answers before its asker gives up (Lifeguard: 80 % of the timeout). */
const relayShare = 0.8;
/** The asker's wait for its helpers, in direct timeouts: their probe and the way there and back. */
const indirectTimeouts = 2;

export class Prober {
  private readonly parameters: SwimParameters;
  private readonly owner: ProbeOwner;
  private readonly probes = new Map<number, Probe>();
  private readonly deadlines = new Deadlines<number>();
  private sequence: number;
  private relays = 0;

  constructor(parameters: SwimParameters, owner: ProbeOwner, random: Random) {
    this.parameters = parameters;
    this.owner = owner;
    this.sequence = Math.floor(random.next() * 0x1_0000_0000);
  }

  nextWake(): Millis | null {
    return this.deadlines.next();
  }

  /** Whether a probe of `target` is under way whose failure would count. */
  isJudging(target: HostId): boolean {
    for (const probe of this.probes.values())
      if (probe.target === target && probe.purpose !== 'relay' && probe.purpose !== 'greet') return true;
    return false;
  }

  /** Begins a probe; false when too many are under way. */
  start(target: HostId, purpose: Purpose, now: Millis, origin: Probe['origin'] = null): boolean {
    if (this.probes.size >= maxProbes || (purpose === 'relay' && this.relays >= maxRelays)) return false;
    this.sequence = (this.sequence + 1) >>> 0;
    const sequence = this.sequence;
    const probe: Probe = {
      sequence,
      target,
      purpose,
      origin,
      stage: 'direct',
      attempts: 0,
      sentAt: now,
      helpers: 0,
      nacks: 0,
    };
    this.probes.set(sequence, probe);
    if (purpose === 'relay') this.relays++;
    this.ping(probe, now);
    return true;
  }

  private ping(probe: Probe, now: Millis): void {
    const { probeTimeoutMs } = this.parameters;
    probe.attempts++;
    probe.sentAt = now;
    const timeoutMs =
      probe.purpose === 'relay' ? probeTimeoutMs * relayShare : this.owner.scaled(probeTimeoutMs);
    this.deadlines.set(probe.sequence, now + timeoutMs);
    this.owner.sendPing(probe.target, probe.sequence);
  }

  acknowledged(from: HostId, sequence: number, now: Millis): void {
    const probe = this.probes.get(sequence);
    if (probe === undefined || probe.target !== from) return;
    this.end(probe);
    if (probe.purpose === 'relay') this.owner.answerRelay(probe, true);
    else this.owner.probeSucceeded(probe, now);
  }

  /** A helper reached the target. Taken only while helpers are out. */
  relayed(sequence: number, now: Millis): void {
    const probe = this.probes.get(sequence);
    if (probe?.stage !== 'indirect') return;
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
   * A frame to `target` could not be delivered. Ends the wait of its direct probes; a `check` halves it
   * only, because a process that is being restarted refuses for a moment. Returns whether any probe of it
   * was under way.
   */
  unreachable(target: HostId, now: Millis): boolean {
    let found = false;
    for (const probe of [...this.probes.values()]) {
      if (probe.target !== target) continue;
      found = true;
      if (probe.stage === 'indirect') continue;
      if (probe.purpose !== 'check') this.timedOut(probe, now, true);
      else this.deadlines.set(probe.sequence, probe.sentAt + this.parameters.probeTimeoutMs / 2);
    }
    return found;
  }

  wake(now: Millis): void {
    for (let due = this.deadlines.takeDue(now); due !== undefined; due = this.deadlines.takeDue(now)) {
      const probe = this.probes.get(due);
      if (probe !== undefined) this.timedOut(probe, now, false);
    }
  }

  /** This process was stopped: answers may be waiting unread, so every probe gets its time again. */
  postpone(now: Millis): void {
    for (const sequence of this.probes.keys())
      this.deadlines.set(sequence, now + this.owner.scaled(this.parameters.probeTimeoutMs));
  }

  /** `certain`: the target refused, rather than kept silent. */
  private timedOut(probe: Probe, now: Millis, certain: boolean): void {
    const again = !certain && probe.attempts < this.attemptsOf(probe.purpose);
    if (probe.stage === 'indirect') this.fail(probe, now);
    else if (again) this.ping(probe, now);
    else if (probe.purpose === 'round') this.askHelpers(probe, now, certain);
    else this.fail(probe, now);
  }

  /**
   * A silent target is pinged once more beside the helpers, since a lost datagram is the likelier reason;
   * with nobody to ask, as in a mesh of two, only so.
   */
  private askHelpers(probe: Probe, now: Millis, certain: boolean): void {
    probe.helpers = this.owner.sendPingRequests(probe.target, probe.sequence);
    const alone = probe.helpers === 0;
    if (alone && (certain || probe.attempts > indirectTimeouts)) {
      this.fail(probe, now);
      return;
    }
    if (!certain) this.ping(probe, now);
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
    if (probe.purpose === 'relay') this.owner.answerRelay(probe, false);
    else this.owner.probeFailed(probe, now);
  }

  private end(probe: Probe): void {
    this.probes.delete(probe.sequence);
    this.deadlines.delete(probe.sequence);
    if (probe.purpose === 'relay') this.relays--;
  }
}
