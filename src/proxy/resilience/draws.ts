/** Chance with known odds: percentages of faults, mirrors and samples, and splits by weight. */
import type { Random } from '../../core.ts';

/** True for so many of a hundred; 0 never, 100 always, and fractions count. */
export function happens(percent: number, random: Random): boolean {
  return percent > 0 && (percent >= 100 || random.next() * 100 < percent);
}

/** An index, each as often as its weight says; there is at least one, and a weight above 0. */
export function drawByWeight(entries: readonly { readonly weight: number }[], random: Random): number {
  if (entries.length === 1) return 0;
  let total = 0;
  for (let i = 0; i < entries.length; i++) total += entries[i]!.weight;
  let left = random.next() * total;
  let last = 0;
  for (let i = 0; i < entries.length; i++) {
    const { weight } = entries[i]!;
    if (weight === 0) continue;
    if (left < weight) return i;
    left -= weight;
    last = i;
  }
  return last;
}
