/**
 * Trace contexts in headers: read as they come, continued by a span of this hop's own, written in the form they
 * came in. W3C Trace Context (traceparent) and Zipkin's B3, in one header and in several. Pure.
 */
import type { Random } from '../../core.ts';

/** This hop's part of a trace. Ids are lower-case hex. */
export interface HopTrace {
  /** 32 digits. */
  readonly traceId: string;
  /** 16 digits. */
  readonly spanId: string;
  /** '' where the trace begins here. */
  readonly parentSpanId: string;
  /** Whether a span is to be recorded; else only the ids go on. */
  readonly isSampled: boolean;
}

/** What becomes of a request's trace headers. */
export interface ContinuedTrace {
  readonly trace: HopTrace;
  /** Names of headers that are replaced, lower case. */
  readonly cuts: readonly string[];
  /** Whole lines in their place. */
  readonly lines: string;
}

/** The value of a header by its name in lower case; null without one. */
export type HeaderOf = (name: string) => string | null;

interface Incoming {
  /** 32 digits, or 16 of old B3; '' where only the decision came. */
  readonly traceId: string;
  readonly spanId: string;
  /** Null leaves the decision to us. */
  readonly isSampled: boolean | null;
}

const allZero = /^0+$/;
const multiIds = ['x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled'];

/**
 * The trace of one hop. Null where nothing is to be done: whoever began the trace has decided against recording
 * it, and its headers go on as they are. A trace that begins here is recorded with probability `sample`; that it
 * is not is passed on too, so that all hops do alike.
 */
export function continueTrace(headerOf: HeaderOf, sample: number, random: Random): ContinuedTrace | null {
  const traceparent = headerOf('traceparent');
  const single = headerOf('b3');
  const multi = headerOf('x-b3-traceid') ?? headerOf('x-b3-sampled') ?? headerOf('x-b3-flags');
  const w3c = traceparent === null ? null : parseTraceparent(traceparent);
  const b3 = single === null ? null : parseSingleB3(single);
  const incoming = w3c ?? b3 ?? (multi === null ? null : parseMultiB3(headerOf));
  if (incoming?.isSampled === false) return null;
  const isNew = incoming === null || incoming.traceId === '';
  const traceId = isNew ? hexDigits(32, random) : incoming.traceId;
  const trace: HopTrace = {
    traceId: traceId.padStart(32, '0'),
    spanId: hexDigits(16, random),
    parentSpanId: isNew ? '' : incoming.spanId,
    isSampled: incoming?.isSampled ?? random.next() < sample,
  };
  const cuts: string[] = [];
  let lines = '';
  if (traceparent !== null || (b3 === null && multi === null)) {
    if (traceparent !== null) cuts.push('traceparent');
    // Without a valid parent, what other systems noted beside it means nothing (section 4.3).
    if (w3c === null && headerOf('tracestate') !== null) cuts.push('tracestate');
    lines += `traceparent: 00-${trace.traceId}-${trace.spanId}-${trace.isSampled ? '01' : '00'}\r\n`;
  }
  if (single !== null) {
    cuts.push('b3');
    if (b3 !== null) lines += `b3: ${singleB3(trace, traceId, single)}\r\n`;
  }
  if (multi !== null) {
    cuts.push(...multiIds);
    lines += multiB3(trace, traceId);
  }
  return { trace, cuts, lines };
}

/** Null for what is no valid traceparent (W3C Trace Context, section 3.2). */
export function parseTraceparent(value: string): Incoming | null {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value);
  if (match === null) return null;
  const [, version, traceId, spanId, flags, rest] = match as unknown as string[];
  if (version === 'ff' || (version === '00' && rest !== undefined)) return null;
  if (allZero.test(traceId!) || allZero.test(spanId!)) return null;
  return { traceId: traceId!, spanId: spanId!, isSampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

/** `TRACE-SPAN[-STATE[-PARENT]]`, or the state alone: 0, 1, or d for debugging. */
export function parseSingleB3(value: string): Incoming | null {
  const text = value.toLowerCase();
  if (/^[01d]$/.test(text)) return { traceId: '', spanId: '', isSampled: text !== '0' };
  const match = /^([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/.exec(text);
  if (match === null || allZero.test(match[1]!) || allZero.test(match[2]!)) return null;
  const state = match[3];
  return { traceId: match[1]!, spanId: match[2]!, isSampled: state === undefined ? null : state !== '0' };
}

/** What does not parse is as if it had not come. */
function parseMultiB3(headerOf: HeaderOf): Incoming | null {
  const isDebug = headerOf('x-b3-flags') === '1';
  const state = headerOf('x-b3-sampled')?.toLowerCase();
  const isSampled = isDebug || state === '1' || state === 'true' ? true : state === undefined ? null : false;
  const traceId = (headerOf('x-b3-traceid') ?? '').toLowerCase();
  const spanId = (headerOf('x-b3-spanid') ?? '').toLowerCase();
  const hasIds = /^([0-9a-f]{32}|[0-9a-f]{16})$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId);
  if (hasIds && !allZero.test(traceId) && !allZero.test(spanId)) return { traceId, spanId, isSampled };
  return isSampled === null ? null : { traceId: '', spanId: '', isSampled };
}

/** Debugging stays asked for. `traceId` is as long as it came. */
function singleB3({ spanId, parentSpanId, isSampled }: HopTrace, traceId: string, came: string): string {
  const wasDebug = /^([0-9a-f]+-[0-9a-f]+-)?d(-|$)/i.test(came);
  const state = wasDebug ? 'd' : isSampled ? '1' : '0';
  return `${traceId}-${spanId}-${state}${parentSpanId === '' ? '' : `-${parentSpanId}`}`;
}

function multiB3({ spanId, parentSpanId, isSampled }: HopTrace, traceId: string): string {
  const parent = parentSpanId === '' ? '' : `x-b3-parentspanid: ${parentSpanId}\r\n`;
  return `x-b3-traceid: ${traceId}\r\nx-b3-spanid: ${spanId}\r\n${parent}x-b3-sampled: ${isSampled ? '1' : '0'}\r\n`;
}

const hexBytes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A multiple of eight digits, never all zero, which would be no id. */
export function hexDigits(digits: number, random: Random): string {
  let text = '';
  for (let left = digits; left > 0; left -= 8) {
    const bits = Math.floor(random.next() * 0x100000000);
    text +=
      hexBytes[bits >>> 24]! +
      hexBytes[(bits >>> 16) & 255] +
      hexBytes[(bits >>> 8) & 255] +
      hexBytes[bits & 255];
  }
  return allZero.test(text) ? text.replace(/0$/, '1') : text;
}
