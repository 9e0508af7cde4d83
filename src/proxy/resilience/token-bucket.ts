/**
 * So many a second, and so many at once after a rest. Counts in whole numbers, so that nothing is gained or lost
 * by rounding: in any span of time it lets through at most `burst` + rate x time.
 */
import type { Millis } from '../../core.ts';
import type { RateLimit } from '../policy.ts';

/** A request costs so many units: then the units earned in a microsecond are the rate, a millionth of a second. */
const unitsPerRequest = 1_000_000;
/** Rates are kept to a thousandth of a request a second. */
const rateSteps = 1000;

export class TokenBucket {
  private costUnits = 0;
  private capacityUnits = 0;
  /** Units a microsecond. */
  private rate = 0;
  private units = 0;
  private filledAtUs = 0;

  /** Full. */
  constructor(limit: RateLimit, now: Millis) {
    this.filledAtUs = microseconds(now);
    this.configure(limit);
    this.units = this.capacityUnits;
  }

  /** Takes on another limit; what was used stays used. */
  configure({ requestsPerSecond, burst }: RateLimit): void {
    const used = this.capacityUnits - this.units;
    this.rate = Math.max(Math.round(requestsPerSecond * rateSteps), 0);
    this.costUnits = unitsPerRequest * rateSteps;
    this.capacityUnits = Math.max(Math.floor(burst), 1) * this.costUnits;
    this.units = Math.max(this.capacityUnits - used, 0);
  }

  /** Whether there is one to take; it is not taken yet. */
  has(now: Millis): boolean {
    this.fill(now);
    return this.units >= this.costUnits;
  }

  /** Takes one; only after `has` at the same time. */
  take(): void {
    this.units -= this.costUnits;
  }

  /** Whether it is as good as new: then nobody notices if it is forgotten. */
  isFull(now: Millis): boolean {
    this.fill(now);
    return this.units === this.capacityUnits;
  }

  /** How long until there is one to take, milliseconds; `Infinity` where nothing is ever earned. */
  waitMs(now: Millis): number {
    this.fill(now);
    const missing = this.costUnits - this.units;
    return missing <= 0 ? 0 : missing / this.rate / 1000;
  }

  private fill(now: Millis): void {
    const nowUs = microseconds(now);
    const elapsedUs = nowUs - this.filledAtUs;
    if (elapsedUs <= 0) return;
    this.filledAtUs = nowUs;
    const missing = this.capacityUnits - this.units;
    // Asked first, so that the product below stays a whole number that a double holds.
    const fillsUp = this.rate > 0 && elapsedUs >= missing / this.rate;
    this.units = fillsUp ? this.capacityUnits : this.units + elapsedUs * this.rate;
  }
}

function microseconds(now: Millis): number {
  return Math.floor(now * 1000);
}
