/** The agent's clock. */
import type { Millis } from '../../core.ts';

/**
 * Milliseconds since the system started, fractional: all threads agree on it, while `performance.now` counts from
 * when each began.
 */
export function systemClock(): () => Millis {
  const beganAtMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  return () => beganAtMs + performance.now();
}

/**
 * Wall time that never goes back: it follows the system's clock forwards, as when a suspended machine resumes
 * or time was set late at boot, and where that is set back it runs on from where it was.
 */
export function monotonicClock(
  wallMs: () => number = Date.now,
  elapsedMs: () => number = () => performance.now(),
): () => Millis {
  let offsetMs = Number.NEGATIVE_INFINITY;
  return () => {
    const elapsed = elapsedMs();
    offsetMs = Math.max(offsetMs, wallMs() - elapsed);
    return Math.floor(offsetMs + elapsed);
  };
}
