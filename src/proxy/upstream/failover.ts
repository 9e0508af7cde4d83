/** Whom of several groups a request or a byte stream asks, and whom next when that failed. */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint } from '../balance/endpoint.ts';
import type { UpstreamGroup } from './upstream-group.ts';

/** Tries that fail before a group is left for the next one: its first choice, and one other. */
export const triesEach = 2;

/**
 * The way of one request through the groups of its target, of which each stands in for those before it (as Envoy's
 * priorities, with its `previous_priorities` for retries).
 *
 * - A group without an endpoint in good order is passed over, and so is one whose circuit is open: both say that it
 *   fails, which is what the others are there for. Where none is in good order all are asked.
 * - A group in which two tries failed is left for the next, and after the last one it begins anew.
 * - A limit that is reached ends it: what is too much for one would else overload the one that stands in.
 *
 * Reused for request after request.
 */
export class Failover {
  /** The index of the group that says why the last `pick` gave nobody. */
  refusedBy = 0;
  /** Whether it is because a limit is reached: then nobody else is asked either. */
  isFull = false;
  /** Which group was picked from last, and how often in a row. */
  private at = 0;
  private tries = 0;
  private picks = 0;
  /** Who failed last, and is avoided. */
  private lastGroup: UpstreamGroup | null = null;
  private lastEndpoint = '';

  /** For a new request. */
  reset(): void {
    this.at = 0;
    this.tries = 0;
    this.picks = 0;
    this.lastGroup = null;
  }

  /** Whoever failed last may be asked again. */
  forgive(): void {
    this.lastGroup = null;
  }

  /** An endpoint of `group` is not asked any more: the next pick is of another one. */
  avoid(group: UpstreamGroup, endpoint: BalancedEndpoint): void {
    this.lastGroup = group;
    this.lastEndpoint = endpoint.id;
  }

  /** Whether the next pick is a try that no group has had too many of yet. */
  hasMore(groups: readonly UpstreamGroup[]): boolean {
    return this.picks < groups.length * triesEach && (this.tries < triesEach || this.at + 1 < groups.length);
  }

  /** Begun, as `UpstreamGroup.pick`; `groups[groupIndex]` is whose it is. */
  pick(groups: readonly UpstreamGroup[], now: Millis, hash: number): BalancedEndpoint | null {
    const count = groups.length;
    const first = this.firstServing(groups, now);
    this.isFull = false;
    for (let i = 0; i < count; i++) {
      const index = first + i < count ? first + i : first + i - count;
      const group = groups[index]!;
      const endpoint = group.pick(now, group === this.lastGroup ? this.lastEndpoint : undefined, hash);
      if (endpoint !== null) {
        this.tries = index === this.at ? this.tries + 1 : 1;
        this.at = index;
        this.picks++;
        return endpoint;
      }
      if (group.refusal === 'overflow') {
        this.refusedBy = index;
        this.isFull = true;
        return null;
      }
    }
    this.refusedBy = 0;
    return null;
  }

  /** Of the last pick. */
  get groupIndex(): number {
    return this.at;
  }

  /** The first group with an endpoint in good order, from where the way has come to; that one where none has. */
  private firstServing(groups: readonly UpstreamGroup[], now: Millis): number {
    const count = groups.length;
    if (count === 1) return 0;
    const start = this.tries < triesEach ? this.at : (this.at + 1) % count;
    for (let i = 0; i < count; i++) {
      const index = (start + i) % count;
      if (groups[index]!.isServing(now)) return index;
    }
    return start;
  }
}
