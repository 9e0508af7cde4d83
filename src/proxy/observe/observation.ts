/** What is known of one request that somebody observes, from its head to its end. */
import type { Millis } from '../../core.ts';
import type { ResponseFlags } from './flags.ts';
import type { Observer } from './observer.ts';
import { noGrpcStatus } from './outcomes.ts';
import type { HopTrace } from './trace.ts';
import type { TrafficCounter } from './traffic.ts';

/** What of a head is told: cut to a length, and never anything that may be a secret. */
export interface ObservedHead {
  readonly method: string;
  /** Without the query, which may hold secrets. */
  readonly path: string;
  readonly authority: string;
  /** Of HTTP/1: 0 or 1. */
  readonly minorVersion: number;
  readonly requestId: string;
  readonly userAgent: string;
}

export class Observation {
  readonly counter: TrafficCounter;
  readonly startedAt: Millis;
  /** Null for byte streams. */
  readonly head: ObservedHead | null;
  /** Null where policy asks for no traces. */
  readonly trace: HopTrace | null;
  /** Header lines to be added to the request; null for none. */
  readonly addedLines: Buffer | null;
  /** Whether the client speaks HTTP/2, though its requests come as messages of HTTP/1.1. */
  isHttp2 = false;
  /** Where the request was sent last, for people; '' while nowhere. */
  upstream = '';
  /** How often it was sent. */
  attempts = 0;
  /** Why it was not served, in words; '' where it was. */
  detail = '';
  /** The rule that denied it; null if none did. */
  rule: string | null = null;
  status = 0;
  grpcStatus: number = noGrpcStatus;
  flags: ResponseFlags = 0;
  requestBytes = 0;
  responseBytes = 0;
  endedAt: Millis = 0;
  private readonly observer: Observer;
  private over = false;

  constructor(
    observer: Observer,
    counter: TrafficCounter,
    startedAt: Millis,
    head: ObservedHead | null,
    trace: HopTrace | null,
    addedLines: Buffer | null,
  ) {
    this.observer = observer;
    this.counter = counter;
    this.startedAt = startedAt;
    this.head = head;
    this.trace = trace;
    this.addedLines = addedLines;
  }

  /** As it is written in logs. */
  get protocol(): string {
    if (this.head === null) return 'TCP';
    return this.isHttp2 ? 'HTTP/2' : `HTTP/1.${this.head.minorVersion}`;
  }

  get durationMs(): number {
    return this.endedAt - this.startedAt;
  }

  /** It went to an endpoint, for the first time or again. */
  sentTo(upstream: string): void {
    this.upstream = upstream;
    this.attempts++;
  }

  /** It is over; only the first call counts. */
  end(
    now: Millis,
    status: number,
    flags: ResponseFlags,
    requestBytes: number,
    responseBytes: number,
    grpcStatus: number = noGrpcStatus,
  ): void {
    if (this.over) return;
    this.over = true;
    this.endedAt = now;
    this.status = status;
    this.flags = flags;
    this.requestBytes = requestBytes;
    this.responseBytes = responseBytes;
    this.grpcStatus = grpcStatus;
    this.observer.ended(this);
  }
}
