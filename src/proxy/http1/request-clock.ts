/** The time of one request: when it began, was sent and was heard of last, and what of it comes due. */
import type { Millis } from '../../core.ts';
import type { Deadlines, Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { idleOnly, type Timeouts } from './timeouts.ts';

/** Timeouts shorter than this are watched for by the prompt timer; others may come due a second late. */
const promptMs = 10_000;

/** How far a request has come, as far as its deadlines depend on it. */
export type Stage =
  /** Nobody is being asked: it waits for its time. */
  | 'waiting'
  /** It is being sent. */
  | 'sending'
  /** All of it was sent, nothing of the answer has come. */
  | 'awaiting'
  | 'answering';

export type Due =
  | { readonly type: 'too-late'; readonly detail: string }
  | { readonly type: 'try-too-late'; readonly perTryMs: number }
  | { readonly type: 'hedge' }
  | { readonly type: 'wake' };

/**
 * Chunks and tries move no deadline; when one comes due, it is worked out whether it has moved. So a request
 * that goes well pays for its timeouts with one addition.
 */
export class RequestClock {
  startedAt: Millis = 0;
  /** When it was sent last, and when its answer began. */
  triedAt: Millis = 0;
  answeredAt: Millis = 0;
  /** Until when it has to wait; `Infinity` when it does not. */
  private wakeAt: Millis = Infinity;
  /** When a second try is to begin beside the first; `Infinity` when none is. */
  private hedgeAt: Millis = Infinity;
  /** As exact as the ticks of `ticks`. */
  private heardAt: Millis = 0;
  private timeouts: Timeouts = idleOnly;
  /** Told when something comes due. */
  private readonly timed: Timed;
  private readonly context: EngineContext;
  private ticks: Deadlines;

  /** `timed` is watched by the slow timer already. */
  constructor(timed: Timed, context: EngineContext) {
    this.timed = timed;
    this.context = context;
    this.ticks = context.deadlines;
  }

  start(timeouts: Timeouts, now: Millis): void {
    this.timeouts = timeouts;
    this.startedAt = this.heardAt = now;
    this.timed.deadlineMs = now + timeouts.leastMs;
    if (timeouts.leastMs < promptMs) this.watchPromptly();
  }

  stop(): void {
    this.wakeAt = Infinity;
    this.hedgeAt = Infinity;
    this.watchSlowly();
  }

  private watchSlowly(): void {
    if (this.ticks === this.context.deadlines) return;
    this.ticks.remove(this.timed);
    this.ticks = this.context.deadlines;
  }

  private watchPromptly(): void {
    this.ticks = this.context.promptDeadlines;
    this.ticks.add(this.timed);
  }

  /** A byte came from either side. */
  heard(): void {
    if (this.ticks.tickedAt > this.heardAt) this.heardAt = this.ticks.tickedAt;
  }

  waitUntil(at: Millis): void {
    this.wakeAt = at;
    this.timed.deadlineMs = Math.min(this.timed.deadlineMs, at);
    this.watchPromptly();
  }

  /** A second try begins then, if nothing of an answer has come. */
  hedgeFrom(at: Millis): void {
    this.hedgeAt = at;
    this.timed.deadlineMs = Math.min(this.timed.deadlineMs, at);
    this.watchPromptly();
  }

  get isWaiting(): boolean {
    return this.wakeAt !== Infinity;
  }

  /** What has come due; null, and a later deadline, where nothing has. */
  due(stage: Stage, now: Millis): Due | null {
    const { requestMs, perTryMs, answerMs } = this.timeouts;
    const requestEndsAt = this.startedAt + requestMs;
    const isUnanswered = stage === 'sending' || stage === 'awaiting';
    const tryEndsAt = isUnanswered ? this.triedAt + perTryMs : Infinity;
    const patienceMs = this.patienceMs(stage);
    const silenceEndsAt = this.heardAt + patienceMs;
    if (now >= requestEndsAt) return { type: 'too-late', detail: `it took more than ${requestMs} ms` };
    if (now >= silenceEndsAt) return { type: 'too-late', detail: `nothing came for ${patienceMs} ms` };
    if (now >= tryEndsAt) return { type: 'try-too-late', perTryMs };
    if (now >= this.wakeAt) {
      // Who is asked now has had no time yet.
      this.heardAt = now;
      this.wakeAt = Infinity;
      return { type: 'wake' };
    }
    if (now >= this.hedgeAt) {
      this.hedgeAt = Infinity;
      if (stage === 'awaiting') return { type: 'hedge' };
    }
    // The request may be complete before its idle time is over, and patience shorter from then on.
    const recheckAt = stage === 'answering' ? Infinity : now + answerMs;
    const soonest = Math.min(this.wakeAt, this.hedgeAt, recheckAt);
    const next = Math.min(requestEndsAt, silenceEndsAt, tryEndsAt, soonest);
    this.timed.deadlineMs = next;
    // A long answer is no reason to look a hundred times a second.
    if (stage === 'answering' && next - now >= promptMs) this.watchSlowly();
    return null;
  }

  /** How long nothing may come from either side. */
  private patienceMs(stage: Stage): number {
    const { idleMs, answerMs } = this.timeouts;
    if (stage === 'waiting') return Infinity;
    return stage === 'awaiting' ? Math.min(idleMs, answerMs) : idleMs;
  }
}
