/**
 * Takes single endpoints out of rotation that fail again and again while others may be well (outlier detection
 * by consecutive failures; fields as Consul's PassiveHealthCheck, meaning as Envoy's).
 */
import type { Millis, Random } from '../../core.ts';
import type { BalancedEndpoint, Outcome } from '../balance/endpoint.ts';
import type { PassiveHealthPolicy } from '../policy.ts';
import { happens } from './chance.ts';

/** The longest ejection, milliseconds, unless the shortest is longer; as Envoy's `max_ejection_time`. */
export const maxEjectionMs = 300_000;

export class Ejection {
  /** How often an endpoint was ejected. */
  ejected = 0;
  /** How often one would have been but for the cap or the draw. */
  spared = 0;
  private readonly policy: PassiveHealthPolicy;
  private readonly random: Random;

  constructor(policy: PassiveHealthPolicy, random: Random) {
    this.policy = policy;
    this.random = random;
  }

  /** Something sent to `endpoint`, one of `endpoints`, is over. */
  record(
    endpoint: BalancedEndpoint,
    endpoints: readonly BalancedEndpoint[],
    now: Millis,
    outcome: Outcome,
  ): void {
    if (outcome === 'ok') endpoint.strikes = 0;
    if (outcome === 'ok' || outcome === 'abandoned') return;
    // What was under way when it was ejected fails too: that is not another reason.
    if (now < endpoint.ejectedUntil) return;
    endpoint.strikes++;
    if (endpoint.strikes < this.policy.maxFailures) return;
    endpoint.strikes = 0;
    const { enforcingConsecutive5xx } = this.policy;
    if (this.hasRoom(endpoints, now) && happens(enforcingConsecutive5xx, this.random))
      this.eject(endpoint, now);
    else this.spared++;
  }

  /** Longer each time, and shorter again by each interval in which it held out. */
  private eject(endpoint: BalancedEndpoint, now: Millis): void {
    const { baseEjectionTimeMs, intervalMs } = this.policy;
    const forgiven = Math.floor((now - endpoint.ejectedUntil) / intervalMs);
    endpoint.recentEjections = Math.max(endpoint.recentEjections - forgiven, 0) + 1;
    const longest = Math.max(maxEjectionMs, baseEjectionTimeMs);
    endpoint.eject(now + Math.min(baseEjectionTimeMs * endpoint.recentEjections, longest));
    this.ejected++;
  }

  /** One may be out always, more only within the share that policy gives. */
  private hasRoom(endpoints: readonly BalancedEndpoint[], now: Millis): boolean {
    const out = ejectedCount(endpoints, now);
    return out === 0 || (out + 1) * 100 <= this.policy.maxEjectionPercent * endpoints.length;
  }
}

/** How many are ejected now. */
export function ejectedCount(endpoints: readonly BalancedEndpoint[], now: Millis): number {
  let count = 0;
  for (const { ejectedUntil } of endpoints) if (now < ejectedUntil) count++;
  return count;
}
