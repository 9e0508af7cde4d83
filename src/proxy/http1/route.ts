/** What a listener decides about a request, before anything of it is forwarded. */
import type { TrafficCounter } from '../stats.ts';
import type { UpstreamGroup } from '../upstreams.ts';
import type { RequestHead } from './head.ts';
import type { Refusal } from './refusal.ts';

/** Where a request goes. Made once per connection and destination, not per request. */
export interface HttpRoute {
  readonly group: UpstreamGroup;
  readonly counter: TrafficCounter;
  /** Whole header lines added to every request, such as who calls; null for none. */
  readonly addedHeaders: Buffer | null;
  /** What to answer when the group has no endpoint to offer. */
  unavailable(): Refusal;
}

/** A refusal that is counted; null where not even the row is known. */
export interface RefusedRoute {
  readonly refusal: Refusal;
  readonly counter: TrafficCounter | null;
}

/** One per client connection: it knows who calls. */
export interface RequestRouter {
  route(bytes: Buffer, head: RequestHead): HttpRoute | RefusedRoute;
}

export function isRefused(route: HttpRoute | RefusedRoute): route is RefusedRoute {
  return 'refusal' in route;
}
