/** How long a request may take, from what route, caller and defaults say. */
import type { RouteTimeouts } from '../config.ts';
import type { TimeoutPolicy } from '../policy.ts';

/** Milliseconds; `Infinity` for none. */
export interface Timeouts {
  /** From the request's head to the end of the answer, retries included. */
  readonly requestMs: number;
  /** From the end of the request to the head of the answer, retries included. */
  readonly answerMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** From sending to the head of the answer, for each try. */
  readonly perTryMs: number;
  /** Nothing comes due before this. */
  readonly leastMs: number;
}

/**
 * Where nobody says how long a request may take, its answer must begin after this; Envoy's default for a route.
 * Envoy's also bounds the end of the answer: here a long one may go on, as long as it is not idle.
 */
export const defaultAnswerMs = 15_000;
/** As Envoy's for a stream. */
export const defaultIdleMs = 300_000;

/** As Envoy's for TCP; for WebSockets too, which rest longer than other requests. */
export const defaultStreamIdleMs = 3_600_000;

/** At the callee, where the caller's proxy keeps the time: longer than any caller is likely to be patient. */
const localIdleMs = 3_600_000;
export const idleOnly: Timeouts = timeouts(Infinity, Infinity, localIdleMs, Infinity);

/** The route's, then the caller's, then the defaults; 0 is without limit. */
export function compileTimeouts(route: RouteTimeouts, caller: TimeoutPolicy): Timeouts {
  const requestMs = route.requestMs ?? caller.requestMs;
  return timeouts(
    limit(requestMs ?? 0),
    requestMs === null ? defaultAnswerMs : Infinity,
    limit(route.idleMs ?? caller.idleMs ?? defaultIdleMs),
    limit(route.perTryMs ?? caller.perTryMs ?? 0),
  );
}

/** For byte streams, and what became one. */
export function compileStreamIdle(route: RouteTimeouts, caller: TimeoutPolicy): number {
  return limit(route.idleMs ?? caller.idleMs ?? defaultStreamIdleMs);
}

/** At the callee, where only the whole request is bounded; 0 is without limit. */
export function localTimeouts(requestMs: number): Timeouts {
  return requestMs === 0 ? idleOnly : timeouts(requestMs, Infinity, localIdleMs, Infinity);
}

function timeouts(requestMs: number, answerMs: number, idleMs: number, perTryMs: number): Timeouts {
  return { requestMs, answerMs, idleMs, perTryMs, leastMs: Math.min(requestMs, answerMs, idleMs, perTryMs) };
}

function limit(ms: number): number {
  return ms === 0 ? Infinity : ms;
}
