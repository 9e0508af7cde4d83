/** Chance with known odds, for what policy asks of some requests: faults, mirrors, ejections, samples. */
import type { Random } from '../../core.ts';

/** True for so many of a hundred; 0 never, 100 always, and fractions count. */
export function happens(percent: number, random: Random): boolean {
  return random.next() * 100 < percent;
}
