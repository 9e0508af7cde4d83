/** Quantiles of what was timed in the last minute or two, from counts in buckets. Pure. */
import type { Millis } from '../core.ts';

/** Upper bounds, milliseconds: the quantile is right to within a factor of two or so. */
const boundsMs = [1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

export class LatencyWindow {
  private readonly windowMs: Millis;
  private startedAt: Millis | null = null;
  private previous: readonly number[] = [];
  private present: number[] = emptyCounts();

  constructor(windowMs: Millis = 60_000) {
    this.windowMs = windowMs;
  }

  note(latencyMs: Millis, now: Millis): void {
    this.turn(now);
    const bucket = boundsMs.findIndex((boundMs) => latencyMs <= boundMs);
    this.present[bucket < 0 ? boundsMs.length - 1 : bucket]!++;
  }

  /** The bound that `quantile` (0 to 1) of all lately stayed within; null when nothing was timed. */
  quantileMs(quantile: number, now: Millis): Millis | null {
    this.turn(now);
    const counts = this.present.map((count, i) => count + (this.previous[i] ?? 0));
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return null;
    let below = 0;
    const bucket = counts.findIndex((count) => {
      below += count;
      return below >= total * quantile;
    });
    return boundsMs[bucket]!;
  }

  private turn(now: Millis): void {
    this.startedAt ??= now;
    const windows = Math.floor((now - this.startedAt) / this.windowMs);
    if (windows < 1) return;
    this.previous = windows === 1 ? this.present : [];
    this.present = emptyCounts();
    this.startedAt += windows * this.windowMs;
  }
}

function emptyCounts(): number[] {
  return new Array<number>(boundsMs.length).fill(0);
}
