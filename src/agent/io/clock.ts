/** The agent's clock. */
import { performance } from 'node:perf_hooks';
import type { Millis } from '../../core.ts';

const clockReadings = 8;

/**
 * Milliseconds since the system started, fractional: all threads agree on it, while `performance.now` counts from
 * when each began.
 */
export function systemClock(): () => Millis {
  let beganAtMs = 0;
  let closestMs = Number.POSITIVE_INFINITY;
  // A thread may lose its core while it reads one clock and then the other: the closest readings count.
  for (let i = 0; i < clockReadings; i++) {
    const before = performance.now();
    const systemMs = Number(process.hrtime.bigint()) / 1e6;
    const apartMs = performance.now() - before;
    if (apartMs >= closestMs) continue;
    closestMs = apartMs;
    beganAtMs = systemMs - before;
  }
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
