/**
 * The two clocks of a host and what its process makes of them. One counts time that has passed, by a crystal
 * that drifts; the other tells the time of day, and whoever sets it may step it either way. A process sees what
 * `src/agent/io/clock.ts` gives it: the time of day where that runs ahead, never back while it lives.
 */
import type { Millis } from '../../src/core.ts';

export class HostClock {
  /** World time and count at which the present rate began. The count begins at the world's time. */
  private worldBase: Millis;
  private countBase: Millis;
  private rate: number;
  /** Time of day minus count. */
  private offsetMs: number;
  /** The largest offset that the present process met. */
  private seenOffsetMs: number;

  /** `driftPpm` is how many microseconds a second it runs fast. */
  constructor(worldNow: Millis, offsetMs: number, driftPpm: number) {
    this.worldBase = worldNow;
    this.countBase = worldNow;
    this.rate = 1 + driftPpm / 1e6;
    this.offsetMs = offsetMs;
    this.seenOffsetMs = offsetMs;
  }

  /** What the process takes the time to be, whole milliseconds. */
  local(worldNow: Millis): Millis {
    return Math.floor(this.count(worldNow) + this.seenOffsetMs);
  }

  /** The first moment of the world's time at which this clock shows `local`, unless it is set meanwhile. */
  worldTime(local: Millis): Millis {
    const exact = this.worldBase + (local - this.seenOffsetMs - this.countBase) / this.rate;
    // Doubles hold today's milliseconds to about 0.0003: a rounded result may lie just before the tick.
    return this.local(exact) >= local ? exact : exact + 0.001;
  }

  /** Somebody sets the time of day, by so much, either way. */
  step(byMs: number): void {
    this.offsetMs += byMs;
    this.seenOffsetMs = Math.max(this.seenOffsetMs, this.offsetMs);
  }

  /** The crystal warms up or cools down. */
  drift(worldNow: Millis, driftPpm: number): void {
    this.countBase = this.count(worldNow);
    this.worldBase = worldNow;
    this.rate = 1 + driftPpm / 1e6;
  }

  /** A new process knows nothing of what the one before has seen: it may begin in that one's past. */
  processStarted(): void {
    this.seenOffsetMs = this.offsetMs;
  }

  private count(worldNow: Millis): Millis {
    return this.countBase + (worldNow - this.worldBase) * this.rate;
  }
}
