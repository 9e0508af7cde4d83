/** Weighted draws in constant time: Walker's alias method, built as in Vose, IEEE TSE 17 (9), 1991. */
import type { Random } from '../../core.ts';

export class Sampler {
  /** Whether all weights are the same, so that any draw is as likely as another. */
  readonly isUniform: boolean;
  private readonly threshold: Float64Array;
  private readonly alias: Int32Array;

  /** Weights are finite and above 0. */
  constructor(weights: readonly number[]) {
    const count = weights.length;
    this.isUniform = weights.every((weight) => weight === weights[0]);
    this.threshold = new Float64Array(count).fill(1);
    this.alias = new Int32Array(count);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const scaled = weights.map((weight) => (weight * count) / total);
    const small: number[] = [];
    const large: number[] = [];
    for (let i = 0; i < count; i++) (scaled[i]! < 1 ? small : large).push(i);
    while (small.length > 0 && large.length > 0) {
      const less = small.pop()!;
      const more = large.pop()!;
      this.threshold[less] = scaled[less]!;
      this.alias[less] = more;
      scaled[more] = scaled[more]! - (1 - scaled[less]!);
      (scaled[more]! < 1 ? small : large).push(more);
    }
  }

  /** An index, with probability proportional to its weight. There is at least one. */
  sample(random: Random): number {
    const scaled = random.next() * this.threshold.length;
    const index = Math.floor(scaled);
    return scaled - index < this.threshold[index]! ? index : this.alias[index]!;
  }

  /** An index other than `index`, all equally likely. There are at least two. */
  another(random: Random, index: number): number {
    const count = this.threshold.length;
    return (index + 1 + Math.floor(random.next() * (count - 1))) % count;
  }
}
