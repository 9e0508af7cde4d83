/** Real time that never goes back: the epoch as it was when the process began, plus what has passed since. */
import type { Millis } from '../../core.ts';

export function monotonicClock(): () => Millis {
  return () => Math.floor(performance.timeOrigin + performance.now());
}
