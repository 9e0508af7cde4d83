/**
 * A hybrid logical clock: timestamps that respect causality yet stay close to the wall clock, so that
 * "the later policy wins" means what an operator expects. Source: Kulkarni et al., "Logical Physical Clocks
 * and Consistent Snapshots" (2014), section 3; here `l` and `c` share one integer (`Hlc` in record.ts), and
 * a counter past 1023 spills into the next millisecond.
 */
import { Fault, type Millis } from '../../core.ts';
import { type Hlc, hlcMillis } from './record.ts';

/** How far ahead of this host's clock another host's timestamp may be. Hosts run NTP; a minute is generous. */
export const maxClockAheadMs = 60_000;

/** Whether `hlc` lies further in the future than any honest clock explains. */
export function isClockAhead(hlc: Hlc, now: Millis): boolean {
  return hlcMillis(hlc) > now + maxClockAheadMs;
}

export class HybridClock {
  private last: Hlc = 0;

  /** A timestamp for an event of this host: later than every one returned or observed before. */
  tick(now: Millis): Hlc {
    this.last = Math.max(this.last + 1, Math.floor(now) * 1024);
    return this.last;
  }

  /**
   * Takes note of a timestamp seen in an authentic record. `Fault('clock-ahead')` when it is more than
   * `maxClockAheadMs` in the future; the clock is then unchanged, so one bad host drags nobody along.
   */
  observe(hlc: Hlc, now: Millis): void {
    if (isClockAhead(hlc, now))
      throw new Fault('clock-ahead', `timestamp is ${hlcMillis(hlc) - Math.floor(now)} ms in the future`);
    this.last = Math.max(this.last, hlc);
  }
}
