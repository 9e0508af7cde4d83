/** Numbers gathered over a run, and their summary. */

/** A bag of measurements that remembers its largest without sorting. */
export class Samples {
  private readonly list: number[] = [];

  static of(values: Iterable<number>): Samples {
    const samples = new Samples();
    for (const value of values) samples.add(value);
    return samples;
  }

  add(value: number): void {
    this.list.push(value);
  }

  get count(): number {
    return this.list.length;
  }

  /** In the order they were added. */
  get values(): readonly number[] {
    return this.list;
  }

  /** The smallest value that at least `share` of all do not exceed; null without any. */
  quantile(share: number): number | null {
    if (this.list.length === 0) return null;
    const sorted = [...this.list].sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  }

  get max(): number | null {
    return this.quantile(1);
  }

  get mean(): number | null {
    return this.list.length === 0
      ? null
      : this.list.reduce((sum, value) => sum + value, 0) / this.list.length;
  }
}

/** `12 ms / 1.4 s`: the time that each share of all does not exceed. */
export function readableQuantiles(samples: Samples, ...shares: readonly number[]): string {
  return shares.map((share) => readableMs(samples.quantile(share))).join(' / ');
}

/** `12 ms`, `1.4 s`, or `-` for nothing measured. */
export function readableMs(milliseconds: number | null): string {
  if (milliseconds === null) return '-';
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`;
}
