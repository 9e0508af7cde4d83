/** Which of several groups is asked, when one stands in for another. */
import type { Millis } from '../../core.ts';
import type { UpstreamGroup } from './upstreams.ts';

/**
 * The index of the group to begin with: the first that has an endpoint in good order; where none has, the
 * first of all. From there on they are asked in turn until one gives an endpoint.
 */
export function firstServing(groups: readonly UpstreamGroup[], now: Millis): number {
  if (groups.length === 1) return 0;
  for (let i = 0; i < groups.length; i++) if (groups[i]!.isServing(now)) return i;
  return 0;
}
