/** One endpoint of a cluster as its callers on this host see it: how busy, how quick and how reliable it is. */
import type { Millis } from '../../core.ts';
import { assert } from '../../core.ts';
import { PeakLatency } from './latency.ts';

/** How one request or connection went. */
export type Outcome =
  | 'ok'
  /** It was answered with a failure of the server's, was cut, or took too long. */
  | 'failed'
  /** It never reached the endpoint. */
  | 'connect-failure'
  /** The caller gave up: that says nothing about the endpoint, but that it was no quicker. */
  | 'abandoned';

/** For `latencyMs`: it is not known, or is no measure of the endpoint, as for a connection of bytes. */
export const notMeasured = -1;

/** How long an endpoint is avoided after a connect failure, milliseconds; doubles while it goes on failing. */
export const connectPenaltyMs = 1000;
/** The longest an endpoint is avoided after connect failures in a row, milliseconds. */
export const maxConnectPenaltyMs = 10_000;
/** A failure counts as an answer so many times slower than those before, ... */
const failureSlowdown = 4;
/** ... these at least, milliseconds, ... */
const minFailureLatencyMs = 5;
/** ... and it at most, milliseconds. Else an endpoint that fails fast is the quickest of all. */
const maxFailureLatencyMs = 10_000;

/** How long an endpoint is not preferred that said it is asked too much, milliseconds. */
const sparedMs = 10_000;

/** Failures in a row after which an endpoint is not taken to be well, if only retries are at stake. */
const unwellFailures = 3;

/** What a balancer's endpoints tell it: that who is in rotation has to be worked out again. */
export interface Rotation {
  isStale: boolean;
}

/** Who learns how requests went. */
export interface OutcomeListener {
  /** A connection that carries bytes has proved good, and goes on: that is its outcome. It began at `startedAt`. */
  reached(endpoint: BalancedEndpoint, now: Millis, startedAt: Millis): void;
  /** Such a one is over. */
  left(): void;
  /** `startedAt` is when the request or connection began. */
  ended(endpoint: BalancedEndpoint, now: Millis, outcome: Outcome, startedAt: Millis): void;
}

/**
 * It outlives its removal from the balancer: whoever holds it calls `end` as ever. Every `begin` is followed by
 * exactly one `end`, or by `reached` and `leave`: whatever was begun has one outcome. Only where `reached` turns out to
 * have been wrong, `end` follows it with a connect failure.
 */
export class BalancedEndpoint {
  readonly id: string;
  zone: string;
  /** The network's round trip to it, milliseconds; 0 where it is short, null where it is not known. */
  roundTripMs: number | null = null;
  /** As configured, above 0. */
  weight: number;
  /** The weight that counts now, relative to the mean of the cluster; lower while the endpoint warms up. */
  share = 1;
  /** Requests or connections under way. */
  inflight = 0;
  /** Whether requests may be sent its way; kept by the balancer, from `isFit` and its panic threshold. */
  inRotation = true;
  /** Since when it has been in use, for warming up; null until it is picked from for the first time. */
  warmSince: Millis | null = null;
  /** What it is ahead by in turn, for round robin. */
  credit = 0;
  /** Failures without a success between them. */
  failuresInRow = 0;
  /** Those of them that count towards its next ejection. */
  strikes = 0;
  /** How often it was ejected lately, for the length of the next ejection, ... */
  recentEjections = 0;
  /** ... and ever. */
  ejections = 0;
  /** Until when it is ejected; in the past when it is not. */
  ejectedUntil: Millis = 0;
  private turnedAwayAt: Millis = Number.NEGATIVE_INFINITY;
  private readonly latency = new PeakLatency();
  /** Connect failures in a row, those while it was avoided already not counted. */
  private connectFailures = 0;
  private avoidedUntil: Millis = 0;
  private readonly rotation: Rotation;
  private readonly listener: OutcomeListener | null;

  constructor(
    id: string,
    weight: number,
    zone: string,
    rotation: Rotation,
    listener: OutcomeListener | null,
  ) {
    this.id = id;
    this.weight = weight;
    this.zone = zone;
    this.rotation = rotation;
    this.listener = listener;
  }

  /** Something was sent its way. */
  begin(_now: Millis): void {
    this.inflight += 1;
  }

  /**
   * What began is over, `latencyMs` after it began; where that is no measure, `startedAt` says when it did. A
   * connect failure takes it out of rotation at once.
   */
  end(
    now: Millis,
    outcome: Outcome,
    latencyMs: number = notMeasured,
    startedAt: Millis = latencyMs < 0 ? now : now - latencyMs,
  ): void {
    this.giveBack();
    if (outcome === 'ok') this.failuresInRow = 0;
    else if (outcome !== 'abandoned') this.failuresInRow++;
    if (outcome === 'connect-failure') this.avoid(now);
    else this.learn(now, outcome, latencyMs);
    this.listener?.ended(this, now, outcome, startedAt);
  }

  /** As `end`, where it would not do what it was asked for it is asked too much: that is quick, and no sign of speed. */
  turnAway(now: Millis, outcome: Outcome, startedAt: Millis): void {
    this.turnedAwayAt = now;
    this.end(now, outcome, notMeasured, startedAt);
  }

  private giveBack(): void {
    assert(this.inflight > 0, `end without begin on endpoint ${this.id}`);
    this.inflight -= 1;
  }

  private learn(now: Millis, outcome: 'ok' | 'failed' | 'abandoned', latencyMs: number): void {
    if (outcome === 'ok') this.forgive();
    if (latencyMs < 0) return;
    if (outcome === 'ok') this.latency.observe(now, latencyMs);
    else if (outcome === 'failed') this.latency.observe(now, this.failureLatencyMs(now, latencyMs));
    else if (latencyMs > this.latencyMs(now)) this.latency.observe(now, latencyMs);
  }

  private failureLatencyMs(now: Millis, latencyMs: number): number {
    const before = Math.max(this.latencyMs(now), minFailureLatencyMs);
    return Math.max(latencyMs, Math.min(before * failureSlowdown, maxFailureLatencyMs));
  }

  /**
   * For a connection that carries bytes: the server has shown that it serves it, which is all the success there is
   * to see for perhaps hours. How it ends then says nothing: `leave` follows instead of `end`. `latencyMs` is how
   * long it took to say so.
   */
  reached(now: Millis, startedAt: Millis, latencyMs: number = notMeasured): void {
    this.failuresInRow = 0;
    this.learn(now, 'ok', latencyMs);
    this.listener?.reached(this, now, startedAt);
  }

  /** A connection that `reached` was told of is over. */
  leave(): void {
    this.giveBack();
    this.listener?.left();
  }

  /** Connect failures do not count against it any more. */
  private forgive(): void {
    this.connectFailures = 0;
    if (this.avoidedUntil === 0) return;
    this.avoidedUntil = 0;
    this.rotation.isStale = true;
  }

  /** A burst of connects that fail together is one failure, else the first burst is the longest penalty. */
  private avoid(now: Millis): void {
    if (now < this.avoidedUntil) return;
    this.avoidedUntil = now + Math.min(connectPenaltyMs * 2 ** this.connectFailures, maxConnectPenaltyMs);
    this.connectFailures = Math.min(this.connectFailures + 1, 16);
    this.rotation.isStale = true;
  }

  /** Takes it out of rotation until then; afterwards it warms up anew. */
  eject(until: Millis): void {
    this.ejectedUntil = until;
    this.ejections++;
    this.warmSince = until;
    this.rotation.isStale = true;
  }

  /** Whatever took it out before does not any more: it is back at once, and warms up anew. */
  pardon(): void {
    this.strikes = 0;
    this.recentEjections = 0;
    if (this.ejectedUntil === 0) return;
    this.ejectedUntil = 0;
    this.warmSince = null;
    this.rotation.isStale = true;
  }

  /** From when on neither ejection nor a connect failure counts against it; in the past when they do not now. */
  get unfitUntil(): Millis {
    return Math.max(this.ejectedUntil, this.avoidedUntil);
  }

  /** Whether it does whatever it is asked: else it is no better for being near. */
  isWilling(now: Millis): boolean {
    return this.failuresInRow === 0 && now >= this.turnedAwayAt + sparedMs;
  }

  /** Whether nothing counts against it. */
  isFit(now: Millis): boolean {
    return now >= this.avoidedUntil && now >= this.ejectedUntil;
  }

  /** Whether it serves what it is asked, as far as anybody knows. */
  get isWell(): boolean {
    return this.inRotation && this.failuresInRow < unwellFailures;
  }

  /** How long its answers took lately, milliseconds, pessimistically; 0 is not known. */
  latencyMs(now: Millis): number {
    return this.latency.read(now, this.roundTripMs ?? 0);
  }

  /**
   * How busy it is for its weight, the next request included. Draws are weighted already, so idle endpoints
   * tie: shares follow weights when idle, load per weight evens out when busy.
   */
  get load(): number {
    return 1 + this.inflight / this.share;
  }
}
