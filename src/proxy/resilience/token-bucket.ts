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
  /** Units that are missing, ... */
  used = 0;
  /** ... at this time, microseconds. */
  filledAtUs = 0;
  private costUnits = 0;
  private capacityUnits = 0;
  /** Units a microsecond. */
  private rate = 0;

  /** Full. */
  constructor(limit: RateLimit, now: Millis) {
    this.filledAtUs = microseconds(now);
    this.configure(limit);
  }

  /** Takes on another limit; what was used stays used. */
  configure({ requestsPerSecond, burst }: RateLimit): void {
    this.rate = Math.max(Math.round(requestsPerSecond * rateSteps), 0);
    this.costUnits = unitsPerRequest * rateSteps;
    this.capacityUnits = Math.max(Math.floor(burst), 1) * this.costUnits;
    this.used = Math.min(this.used, this.capacityUnits);
  }

  /** Goes on from where another one of the same limit, or of what the limit was before, has left off. */
  restore(used: number, filledAtUs: number): void {
    this.used = Math.min(used, this.capacityUnits);
    this.filledAtUs = filledAtUs;
  }

  /** Whether there is one to take; it is not taken yet. */
  has(now: Millis): boolean {
    this.fill(now);
    return this.capacityUnits - this.used >= this.costUnits;
  }

  /** Takes one; only after `has` at the same time. */
  take(): void {
    this.used += this.costUnits;
  }

  /** Whether it is as good as new: then nobody notices if it is forgotten. */
  isFull(now: Millis): boolean {
    this.fill(now);
    return this.used === 0;
  }

  /** When it is as good as new, microseconds; `Infinity` where nothing is ever earned. */
  get fullAtUs(): number {
    return this.used === 0 ? this.filledAtUs : this.filledAtUs + this.used / this.rate;
  }

  /** How long until there is one to take, milliseconds; `Infinity` where nothing is ever earned. */
  waitMs(now: Millis): number {
    this.fill(now);
    const missing = this.costUnits - (this.capacityUnits - this.used);
    return missing <= 0 ? 0 : missing / this.rate / 1000;
  }

  private fill(now: Millis): void {
    const nowUs = microseconds(now);
    const elapsedUs = nowUs - this.filledAtUs;
    if (elapsedUs <= 0) return;
    this.filledAtUs = nowUs;
    // Asked first, so that the product below stays a whole number that a double holds.
    const fillsUp = this.rate > 0 && elapsedUs >= this.used / this.rate;
    this.used = fillsUp ? 0 : this.used - elapsedUs * this.rate;
  }
}

function microseconds(now: Millis): number {
  return Math.floor(now * 1000);
}
