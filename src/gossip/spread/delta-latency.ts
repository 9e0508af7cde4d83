/**
 * How long records took from their writer to here, those that came by delta: by the writer's clock and this
 * agent's, so that it is as right as the two agree. The hybrid clock is at most ahead of the writer's own.
 */
import type { Millis } from '../../core.ts';

/** Upper bounds of the buckets, milliseconds; one more holds what took longer. */
export const deltaLatencyBoundsMs: readonly number[] = [
  10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
];

export interface DeltaLatencyStats {
  /** By bucket, each with those below it, as Prometheus counts; the last is the count of all. */
  readonly cumulative: readonly number[];
  readonly sumMs: number;
}

export class DeltaLatency {
  private readonly counts = new Array<number>(deltaLatencyBoundsMs.length + 1).fill(0);
  private sumMs = 0;

  /** Clocks that disagree can make it negative, which counts as nothing. */
  note(latencyMs: Millis): void {
    const clampedMs = Math.max(0, latencyMs);
    const bucket = deltaLatencyBoundsMs.findIndex((boundMs) => clampedMs <= boundMs);
    this.counts[bucket < 0 ? deltaLatencyBoundsMs.length : bucket]!++;
    this.sumMs += clampedMs;
  }

  stats(): DeltaLatencyStats {
    let total = 0;
    return { cumulative: this.counts.map((count) => (total += count)), sumMs: this.sumMs };
  }
}
