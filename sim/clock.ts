/** What a host believes the time to be: the world's time with an offset and a drift. */
import type { Millis } from '../src/core.ts';

export class HostClock {
  /** World time and local time at which the present rate began. */
  private worldBase: Millis;
  private localBase: Millis;
  private rate: number;

  /** `driftPpm` is how many microseconds a second it runs fast. */
  constructor(worldNow: Millis, offsetMs: number, driftPpm: number) {
    this.worldBase = worldNow;
    this.localBase = worldNow + offsetMs;
    this.rate = 1 + driftPpm / 1e6;
  }

  /** Whole milliseconds, as `Date.now` gives them. */
  local(worldNow: Millis): Millis {
    return Math.floor(this.exact(worldNow));
  }

  /** The first moment of the world's time at which this clock shows `local`. */
  worldTime(local: Millis): Millis {
    const exact = this.worldBase + (local - this.localBase) / this.rate;
    // Doubles hold today's milliseconds to about 0.0003: a rounded result may lie just before the tick.
    return this.local(exact) >= local ? exact : exact + 0.001;
  }

  /** Steps the clock forward, as a time daemon does; what a process sees never runs backwards. */
  stepForward(worldNow: Millis, byMs: number): void {
    this.localBase = this.exact(worldNow) + Math.max(0, byMs);
    this.worldBase = worldNow;
  }

  private exact(worldNow: Millis): number {
    return this.localBase + (worldNow - this.worldBase) * this.rate;
  }
}
