/**
 * Stops asking a destination that mostly fails, and finds out with a few requests when it is well again (the
 * circuit breaker of Nygard, "Release It!", 2007, section 5.2).
 *
 * What began under one state says nothing about a later one: answers that come late neither close nor open it.
 * Where several threads send to the destination, each has a breaker, and all of them are as one.
 */
import type { Millis } from '../../core.ts';
import type { Outcome } from '../balance/endpoint.ts';
import type { BreakerPolicy } from '../policy.ts';
import { Lock } from '../workers/lock.ts';
import type { SharedMemory } from '../workers/memory.ts';
import { ErrorWindow, errorWindowCells } from './error-window.ts';

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

/** As numbers, in the order in which breakers go through them. */
const states: readonly BreakerState[] = ['closed', 'open', 'half-open'];

/** Starts are worked out from durations, which are rounded: so much earlier is not earlier, milliseconds. */
const roundingMs = 0.01;

/** What it keeps: its state, and since when it is in that; 0 before it was in any other. */
const stateCell = 0;
const sinceCell = 1;
/** While half open: probes under way, those that succeeded, and when the last one went through. */
const probingCell = 2;
const succeededCell = 3;
const probedAtCell = 4;
const windowFrom = 5;
const cellCount = windowFrom + errorWindowCells;

/** The lock comes first, in a place as large as a cell. */
const headerBytes = Float64Array.BYTES_PER_ELEMENT;
/** The memory in which threads share a breaker. */
export const breakerBytes = headerBytes + cellCount * Float64Array.BYTES_PER_ELEMENT;

export class Breaker {
  /** How often this thread opened it. */
  opened = 0;
  /** How many requests this thread turned away. */
  rejected = 0;
  private readonly policy: BreakerPolicy;
  private readonly window: ErrorWindow;
  private readonly cells: Float64Array;
  /** Null where no other thread has it. */
  private readonly lock: Lock | null;

  /** Goes on in `memory` from where threads of the same policy are; null keeps all to itself. */
  constructor(policy: BreakerPolicy, memory: SharedMemory | null = null) {
    this.policy = policy;
    this.lock = memory && new Lock(new Int32Array(memory.buffer, 0, 1), 0);
    this.cells =
      memory === null ? new Float64Array(cellCount) : new Float64Array(memory.buffer, headerBytes, cellCount);
    this.window = new ErrorWindow(policy.windowMs, this.cells.subarray(windowFrom));
  }

  private get current(): BreakerState {
    return states[this.cells[stateCell]!]!;
  }

  /** As it is now: one that has been open for long enough is half open. */
  state(now: Millis): BreakerState {
    this.lock?.enter();
    const { current } = this;
    const state = current === 'open' && this.hasRested(now) ? transitions.open.rested : current;
    this.lock?.leave();
    return state;
  }

  /** Whether a request may go through; then its outcome must be told. */
  admit(now: Millis): boolean {
    this.lock?.enter();
    const isAdmitted = this.letsThrough(now);
    this.lock?.leave();
    if (!isAdmitted) this.rejected++;
    return isAdmitted;
  }

  private letsThrough(now: Millis): boolean {
    if (this.current === 'closed') return true;
    if (this.current === 'open' && this.hasRested(now)) this.move('rested', now);
    if (this.current === 'open' || !this.mayProbe(now)) return false;
    this.cells[probingCell]!++;
    this.cells[probedAtCell] = now;
    return true;
  }

  private hasRested(now: Millis): boolean {
    return now - this.cells[sinceCell]! >= this.policy.openMs;
  }

  private mayProbe(now: Millis): boolean {
    const { cells, policy } = this;
    const succeeded = cells[succeededCell]!;
    if (cells[probingCell]! + succeeded < policy.halfOpenRequests) return true;
    // Probes that never come back, such as calls that last for hours, must not keep it half open for ever.
    if (now - cells[probedAtCell]! < policy.openMs) return false;
    cells[probingCell] = Math.max(policy.halfOpenRequests - succeeded - 1, 0);
    return true;
  }

  /** A request that went through is over. */
  record(now: Millis, outcome: Outcome, startedAt: Millis): void {
    this.lock?.enter();
    this.judge(now, outcome, startedAt);
    this.lock?.leave();
  }

  private judge(now: Millis, outcome: Outcome, startedAt: Millis): void {
    const since = this.cells[sinceCell]!;
    if (since !== 0 && startedAt < since - roundingMs) return;
    const isFailure = outcome === 'failed' || outcome === 'connect-failure';
    if (this.current === 'half-open') this.judgeProbe(now, outcome, isFailure);
    else if (this.current === 'closed' && outcome !== 'abandoned') this.count(now, isFailure);
  }

  private judgeProbe(now: Millis, outcome: Outcome, isFailure: boolean): void {
    const { cells } = this;
    cells[probingCell] = Math.max(cells[probingCell]! - 1, 0);
    if (outcome === 'ok') cells[succeededCell]!++;
    if (isFailure) this.move('probe-failed', now);
    else if (cells[succeededCell]! >= this.policy.halfOpenRequests) this.move('probes-succeeded', now);
  }

  private count(now: Millis, isFailure: boolean): void {
    const { window, policy } = this;
    window.add(now, isFailure);
    if (!isFailure || window.total < policy.minimumRequests) return;
    if (window.failures * 100 >= policy.errorPercent * window.total) this.move('tripped', now);
  }

  private move(event: BreakerEvent, now: Millis): void {
    const { current, cells } = this;
    const next = transitions[current][event];
    if (next === current) return;
    if (next === 'open') this.opened++;
    cells[stateCell] = states.indexOf(next);
    cells[sinceCell] = now;
    cells[probingCell] = 0;
    cells[succeededCell] = 0;
    this.window.clear();
  }
}
