/** What every way of balancing looks like to the balancer. */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint } from './endpoint.ts';

/** For `hash`: the request has nothing to hash. */
export const noHash = -1;

/**
 * Chooses among the endpoints it was made for. Made anew when they or their weights change, never per pick, and
 * a choice allocates nothing.
 */
export interface Chooser {
  /**
   * One that is not called `exclude`, or null where there is none. `hash` is an unsigned 32-bit integer or
   * `noHash`; ways that do not go by hashes ignore it.
   */
  choose(now: Millis, exclude: string | undefined, hash: number): BalancedEndpoint | null;
}
