/** Whom a request is with, and whom it was with last: one at a time. */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint, Outcome } from '../balance/endpoint.ts';
import { firstServing } from '../upstream/failover.ts';
import type { RequestProtocol, UpstreamGroup } from '../upstream/upstreams.ts';
import type { UpstreamConnection } from './upstream.ts';

/** Reused for request after request. */
export class Attempt {
  /** All three null while nobody is being asked. */
  group: UpstreamGroup | null = null;
  endpoint: BalancedEndpoint | null = null;
  upstream: UpstreamConnection | null = null;
  /** Who was asked last, and is avoided by the next try. */
  private lastGroup: UpstreamGroup | null = null;
  private lastEndpoint = '';

  /** For a new request, or where whoever was asked last may be asked again. */
  forgetLast(): void {
    this.lastGroup = null;
  }

  /** Takes a connection to an endpoint of the first group that has one; null where none has. */
  begin(
    groups: readonly UpstreamGroup[],
    protocol: RequestProtocol,
    now: Millis,
    hash: number,
    fresh: boolean,
  ): UpstreamConnection | null {
    const first = firstServing(groups, now);
    for (let i = 0; i < groups.length; i++) {
      const group = groups[(first + i) % groups.length]!;
      const endpoint = group.pick(now, group === this.lastGroup ? this.lastEndpoint : undefined, hash);
      if (endpoint !== null)
        return this.adopt(group, endpoint, group.upstreamOf(endpoint).take(protocol, fresh));
    }
    return null;
  }

  adopt(group: UpstreamGroup, endpoint: BalancedEndpoint, upstream: UpstreamConnection): UpstreamConnection {
    this.group = group;
    this.endpoint = endpoint;
    this.upstream = upstream;
    return upstream;
  }

  /** The endpoint has nothing to do with the request any more. */
  end(now: Millis, outcome: Outcome, tookMs: number): void {
    const { endpoint } = this;
    this.upstream = null;
    if (endpoint === null) return;
    this.lastGroup = this.group;
    this.lastEndpoint = endpoint.id;
    this.endpoint = null;
    this.group = null;
    endpoint.end(now, outcome, tookMs);
  }
}
