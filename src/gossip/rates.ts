/** How much each may do a second: a token bucket a name, so that one that runs wild costs others little. */
import type { Millis } from '../core.ts';
import { RecentMap } from './recent-map.ts';

export interface Rate {
  readonly perSecond: number;
  /** At once after a rest. */
  readonly burst: number;
}

/** One bucket. */
export class Allowance {
  private readonly rate: Rate;
  private tokens: number;
  private filledAt: Millis = 0;

  /** Full. */
  constructor(rate: Rate) {
    this.rate = rate;
    this.tokens = rate.burst;
  }

  /** Whether so much more may be done now. Takes nothing: a forgery must not use up another's share. */
  allows(now: Millis, amount = 1): boolean {
    return this.tokensAt(now) >= amount;
  }

  /** Takes `amount`, if there is as much. A refusal costs nothing: who goes on is let in at the rate. */
  take(now: Millis, amount = 1): boolean {
    if (!this.allows(now, amount)) return false;
    this.add(-amount, now);
    return true;
  }

  /** What was taken is given back. */
  giveBack(now: Millis): void {
    this.add(1, now);
  }

  private add(tokens: number, now: Millis): void {
    this.tokens = Math.min(this.rate.burst, this.tokensAt(now) + tokens);
    this.filledAt = Math.max(this.filledAt, now);
  }

  private tokensAt(now: Millis): number {
    const gained = (Math.max(0, now - this.filledAt) * this.rate.perSecond) / 1000;
    return Math.min(this.rate.burst, this.tokens + gained);
  }
}

export class Rates {
  private readonly rate: Rate;
  private readonly allowances: RecentMap<Allowance>;

  /** Past `maxNames`, whoever did something longest ago starts anew with a full bucket. */
  constructor(rate: Rate, maxNames: number) {
    this.rate = rate;
    this.allowances = new RecentMap(maxNames);
  }

  /** How many names are remembered. */
  get size(): number {
    return this.allowances.size;
  }

  /** See `Allowance`, as the others. */
  allows(name: string, now: Millis): boolean {
    return this.allowances.get(name)?.allows(now) ?? this.rate.burst >= 1;
  }

  take(name: string, now: Millis): boolean {
    const allowance = this.allowances.get(name) ?? new Allowance(this.rate);
    if (!allowance.take(now)) return false;
    this.allowances.set(name, allowance);
    return true;
  }

  giveBack(name: string, now: Millis): void {
    this.allowances.get(name)?.giveBack(now);
  }
}
