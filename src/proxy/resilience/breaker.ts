/**
 * Stops asking a destination that mostly fails, and finds out with a few requests when it is well again (the
 * circuit breaker of Nygard, "Release It!", 2007, section 5.2).
 *
 * What began under one state says nothing about a later one: answers that come late neither close nor open it.
 */
import type { Millis } from '../../core.ts';
import type { Outcome } from '../balance/endpoint.ts';
import type { BreakerPolicy } from '../policy.ts';
import { ErrorWindow } from './error-window.ts';

export type BreakerState =
  /** Everything goes through and is counted. */
  | 'closed'
  /** Nothing goes through. */
  | 'open'
  /** A few probes go through, and decide. */
  | 'half-open';

type BreakerEvent =
  /** The share of failures reached the policy's. */
  | 'tripped'
  /** It was open for as long as policy says. */
  | 'rested'
  | 'probe-failed'
  /** As many probes as policy asks for succeeded, and none failed. */
  | 'probes-succeeded';

const transitions: { readonly [state in BreakerState]: { readonly [event in BreakerEvent]: BreakerState } } =
  {
    closed: { tripped: 'open', rested: 'closed', 'probe-failed': 'closed', 'probes-succeeded': 'closed' },
    open: { tripped: 'open', rested: 'half-open', 'probe-failed': 'open', 'probes-succeeded': 'open' },
    'half-open': {
      tripped: 'half-open',
      rested: 'half-open',
      'probe-failed': 'open',
      'probes-succeeded': 'closed',
    },
  };

/** Starts are worked out from durations, which are rounded: so much earlier is not earlier, milliseconds. */
const roundingMs = 0.01;

export class Breaker {
  /** How often it opened. */
  opened = 0;
  /** How many requests it turned away. */
  rejected = 0;
  private readonly policy: BreakerPolicy;
  private readonly window: ErrorWindow;
  private current: BreakerState = 'closed';
  private since: Millis = Number.NEGATIVE_INFINITY;
  /** While half open: probes under way, and those that succeeded. */
  private probing = 0;
  private succeeded = 0;
  /** When the last probe went through. */
  private probedAt: Millis = 0;

  constructor(policy: BreakerPolicy) {
    this.policy = policy;
    this.window = new ErrorWindow(policy.windowMs);
  }

  /** As it is now: one that has been open for long enough is half open. */
  state(now: Millis): BreakerState {
    return this.current === 'open' && this.hasRested(now) ? transitions.open.rested : this.current;
  }

  /** Whether a request may go through; then its outcome must be told. */
  admit(now: Millis): boolean {
    if (this.current === 'closed') return true;
    if (this.current === 'open' && this.hasRested(now)) this.move('rested', now);
    if (this.current === 'half-open' && this.mayProbe(now)) {
      this.probing++;
      this.probedAt = now;
      return true;
    }
    this.rejected++;
    return false;
  }

  private hasRested(now: Millis): boolean {
    return now - this.since >= this.policy.openMs;
  }

  private mayProbe(now: Millis): boolean {
    if (this.probing + this.succeeded < this.policy.halfOpenRequests) return true;
    // Probes that never come back, such as calls that last for hours, must not keep it half open for ever.
    if (now - this.probedAt < this.policy.openMs) return false;
    this.probing = Math.max(this.policy.halfOpenRequests - this.succeeded - 1, 0);
    return true;
  }

  /** A request that went through is over. */
  record(now: Millis, outcome: Outcome, startedAt: Millis): void {
    if (startedAt < this.since - roundingMs) return;
    const isFailure = outcome === 'failed' || outcome === 'connect-failure';
    if (this.current === 'half-open') this.judgeProbe(now, outcome, isFailure);
    else if (this.current === 'closed' && outcome !== 'abandoned') this.count(now, isFailure);
  }

  private judgeProbe(now: Millis, outcome: Outcome, isFailure: boolean): void {
    this.probing = Math.max(this.probing - 1, 0);
    if (outcome === 'ok') this.succeeded++;
    if (isFailure) this.move('probe-failed', now);
    else if (this.succeeded >= this.policy.halfOpenRequests) this.move('probes-succeeded', now);
  }

  private count(now: Millis, isFailure: boolean): void {
    const { window, policy } = this;
    window.add(now, isFailure);
    if (!isFailure || window.total < policy.minimumRequests) return;
    if (window.failures * 100 >= policy.errorPercent * window.total) this.move('tripped', now);
  }

  private move(event: BreakerEvent, now: Millis): void {
    const next = transitions[this.current][event];
    if (next === this.current) return;
    if (next === 'open') this.opened++;
    this.current = next;
    this.since = now;
    this.probing = 0;
    this.succeeded = 0;
    this.window.clear();
  }
}
