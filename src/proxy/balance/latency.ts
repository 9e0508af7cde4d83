/**
 * How slow an endpoint was lately, pessimistically: a peak counts at once, and fades as better answers come or
 * as time passes (peak EWMA, from Twitter's Finagle, `com.twitter.finagle.loadbalancer.p2c.PeakEwma`). Unlike
 * there one slow answer alone is no peak: the first on a connection, or one that met a collection of garbage,
 * says nothing about the next.
 */
import type { Millis } from '../../core.ts';

/** What was seen so long ago weighs 1/e. */
export const latencyMemoryMs = 5000;
/** Fading is worked out for a reading only when it is worth more than a percent. */
const negligibleMs = latencyMemoryMs / 100;

export class PeakLatency {
  private valueMs = 0;
  private previousMs = 0;
  private seenAt: Millis = 0;

  /** One answer took so long. */
  observe(now: Millis, latencyMs: number): void {
    const sustainedMs = Math.min(latencyMs, this.previousMs);
    const kept = Math.exp(Math.min(this.seenAt - now, 0) / latencyMemoryMs);
    const faded = this.valueMs * kept;
    this.valueMs = sustainedMs > faded ? sustainedMs : faded + sustainedMs * (1 - kept);
    this.previousMs = latencyMs;
    this.seenAt = now;
  }

  /**
   * Milliseconds; 0 is "nobody knows": an endpoint that is not asked any more is forgiven, and asked again. But what
   * time forgives is how busy it was, not how far away it is: nothing fades below `roundTripMs`, the way there and back.
   */
  read(now: Millis, roundTripMs: number): number {
    const ageMs = now - this.seenAt;
    if (ageMs < negligibleMs) return this.valueMs;
    return Math.max(this.valueMs * Math.exp(-ageMs / latencyMemoryMs), Math.min(this.valueMs, roundTripMs));
  }
}
