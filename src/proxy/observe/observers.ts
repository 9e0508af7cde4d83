/**
 * The observer of a data plane: decides for each request whether anybody asks for it, and hands what became of it
 * to access log, traces and taps. Pure: what comes out is text and events, for others to send.
 */

import type { Millis, Random } from '../../core.ts';
import { ascii } from '../http1/bytes.ts';
import type { AccessLogPolicy, TracingPolicy } from '../policy.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { accessLogLine } from './access-log.ts';
import { authorityOf, type HeadFacts, methodOf, pathOf, readFields } from './head-facts.ts';
import { Observation, type ObservedHead } from './observation.ts';
import type { Observer } from './observer.ts';
import { type Span, spanOf } from './otlp.ts';
import { classOf } from './outcomes.ts';
import { Taps } from './tap.ts';
import { type ContinuedTrace, continueTrace, hexDigits } from './trace.ts';
import type { TrafficCounter } from './traffic.ts';

export interface ObserverOutput {
  /** A line of the access log, with its end. */
  readonly logLine: (line: string) => void;
  readonly span: (span: Span) => void;
  /** Told whether anybody asks for requests at all, whenever that may have changed. */
  readonly active: (isActive: boolean) => void;
}

/** Failed requests are logged whatever the sample, but not more of them than this. */
const failureLimit = { requestsPerSecond: 50, burst: 200 };

/** Fields that are read of every observed request, and those of traces. */
const names = [
  'x-request-id',
  'user-agent',
  'traceparent',
  'tracestate',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-sampled',
  'x-b3-flags',
];
const nameBytes = names.map(ascii);
const requestIdIndex = 0;
const userAgentIndex = 1;
const requestIdDigits = 32;

export class RequestObserver implements Observer {
  readonly taps: Taps;
  private accessLog: AccessLogPolicy | null = null;
  private tracing: TracingPolicy | null = null;
  private readonly output: ObserverOutput;
  private readonly random: Random;
  /** The wall clock's time of a moment by the data plane's own. */
  private readonly wallMs: (at: Millis) => number;
  private readonly failures = new TokenBucket(failureLimit, 0);
  /** Reused: values are taken out before the next request is looked at. */
  private readonly values: (string | null)[] = names.map(() => null);

  constructor(output: ObserverOutput, random: Random, wallMs: (at: Millis) => number) {
    this.output = output;
    this.random = random;
    this.wallMs = wallMs;
    this.taps = new Taps(() => this.tellActive());
  }

  /** Takes on what policy asks for now. Traces without an endpoint are left to those who have one. */
  configure(accessLog: AccessLogPolicy | null, tracing: TracingPolicy | null): void {
    this.accessLog = accessLog;
    this.tracing = tracing === null || tracing.endpoint === '' ? null : tracing;
    this.tellActive();
  }

  private tellActive(): void {
    this.output.active(this.accessLog !== null || this.tracing !== null || !this.taps.isEmpty);
  }

  private isWanted(counter: TrafficCounter): boolean {
    return this.accessLog !== null || this.tracing !== null || this.taps.wants(counter);
  }

  begin(counter: TrafficCounter, bytes: Buffer, head: HeadFacts, now: Millis): Observation | null {
    if (!this.isWanted(counter)) return null;
    readFields(bytes, head, nameBytes, this.values);
    const continued = this.continueTrace(bytes, head);
    let lines = continued?.lines ?? '';
    let requestId = this.values[requestIdIndex] ?? '';
    if (requestId === '') {
      requestId = hexDigits(requestIdDigits, this.random);
      lines += `x-request-id: ${requestId}\r\n`;
      head.hasRequestId = true;
    }
    const observed: ObservedHead = {
      method: methodOf(bytes, head),
      path: pathOf(bytes, head),
      authority: authorityOf(bytes, head),
      minorVersion: head.minorVersion,
      requestId,
      userAgent: this.values[userAgentIndex] ?? '',
    };
    const added = lines === '' ? null : Buffer.from(lines, 'latin1');
    return new Observation(this, counter, now, observed, continued?.trace ?? null, added);
  }

  private continueTrace(bytes: Buffer, head: HeadFacts): ContinuedTrace | null {
    if (this.tracing === null) return null;
    const headerOf = (name: string): string | null => this.values[names.indexOf(name)] ?? null;
    const continued = continueTrace(headerOf, this.tracing.sample, this.random);
    if (continued !== null && continued.cuts.length > 0) head.cutFields(bytes, continued.cuts.map(ascii));
    return continued;
  }

  /** Byte streams have no headers, so no trace. */
  beginStream(counter: TrafficCounter, now: Millis): Observation | null {
    return this.isWanted(counter) ? new Observation(this, counter, now, null, null, null) : null;
  }

  ended(observation: Observation): void {
    const startedAtMs = this.wallMs(observation.startedAt);
    if (this.accessLog !== null && this.isLogged(observation, this.accessLog))
      this.output.logLine(accessLogLine(observation, startedAtMs));
    const { trace } = observation;
    if (trace?.isSampled && this.tracing !== null) this.output.span(spanOf(observation, trace, startedAtMs));
    this.taps.tell(observation, startedAtMs);
  }

  private isLogged(observation: Observation, { sample }: AccessLogPolicy): boolean {
    if (sample >= 1 || this.random.next() < sample) return true;
    const isFailure = observation.flags !== 0 || classOf(observation) === 5;
    if (!isFailure || !this.failures.has(observation.endedAt)) return false;
    this.failures.take();
    return true;
  }
}
