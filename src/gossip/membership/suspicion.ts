/**
 * How long a suspicion may last before it becomes a verdict: long while one accuser stands alone, short once
 * independent ones agree. Source: Lifeguard (Dadgar et al. 2018), section IV.B, "Local Health Aware
 * Suspicion"; the formula is that of memberlist.
 */
import type { HostId, Millis } from '../../core.ts';
import type { Charge } from './claims.ts';

export interface SuspicionBounds {
  readonly minMs: number;
  readonly maxMs: number;
  /** Independent confirmations beyond the first accuser that bring the timeout down to `minMs`. */
  readonly confirmations: number;
}

export class Suspicion {
  /** The incarnation under suspicion. */
  readonly incarnation: number;
  /** This agent's own last check: nobody is found down by it unless that check failed too. */
  check: 'pending' | 'running' | 'failed' = 'pending';
  private readonly bounds: SuspicionBounds;
  private startedAt: Millis;
  private readonly accusers: Set<HostId>;
  private hurriedTo: Millis = Number.POSITIVE_INFINITY;
  /** The claims that made this agent look, until it is known whether they are true; at most two at a time. */
  private charges: Charge[] = [];

  constructor(incarnation: number, accuser: HostId, bounds: SuspicionBounds, now: Millis) {
    this.incarnation = incarnation;
    this.bounds = bounds;
    this.startedAt = now;
    this.accusers = new Set([accuser]);
  }

  /** True when this accuser is new and still counts, hence worth passing on. */
  confirm(accuser: HostId): boolean {
    const settled = this.accusers.size > this.bounds.confirmations;
    if (settled || this.accusers.has(accuser)) return false;
    this.accusers.add(accuser);
    return true;
  }

  isAccuser(id: HostId): boolean {
    return this.accusers.has(id);
  }

  /** Somebody claims to have the verdict already: nothing is left to wait for but the own check. */
  hurry(now: Millis): void {
    this.hurriedTo = Math.min(this.hurriedTo, now);
  }

  get isHurried(): boolean {
    return this.hurriedTo !== Number.POSITIVE_INFINITY;
  }

  charge(charge: Charge): void {
    this.charges.push(charge);
  }

  /** Those whose claims it is known of now. */
  settle(): readonly Charge[] {
    const settled = this.charges;
    this.charges = [];
    return settled;
  }

  /** This process was stopped for `lateMs`: the suspect gets that time again, and a new check. */
  extend(lateMs: Millis): void {
    this.startedAt += lateMs;
    this.hurriedTo += lateMs;
    if (this.check === 'failed') this.check = 'pending';
  }

  /** The suspect answered this agent's check: begin anew, without those who accused it before. */
  restart(now: Millis): readonly Charge[] {
    this.startedAt = now;
    this.hurriedTo = Number.POSITIVE_INFINITY;
    this.accusers.clear();
    this.check = 'pending';
    return this.settle();
  }

  /** When the verdict is due, absolute. */
  deadline(): Millis {
    const { minMs, maxMs, confirmations } = this.bounds;
    const confirmed = Math.max(0, this.accusers.size - 1);
    const share = confirmations === 0 ? 1 : Math.log(confirmed + 1) / Math.log(confirmations + 1);
    const timeoutMs = Math.max(minMs, maxMs - share * (maxMs - minMs));
    return Math.min(this.startedAt + timeoutMs, this.hurriedTo);
  }
}
