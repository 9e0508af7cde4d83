/** What a listener decides about a request, before anything of it is forwarded. */
import type { Random } from '../../core.ts';
import type { RequestHasher } from '../balance/hash-key.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { FaultPolicy, HedgePolicy, HttpRedirect } from '../policy.ts';
import type { RequestProtocol, UpstreamGroup } from '../upstream/upstreams.ts';
import type { FieldEdits } from './field-edits.ts';
import type { RequestHead } from './head.ts';
import type { Mirror } from './mirror.ts';
import type { Refusal } from './refusal.ts';
import type { RetryPlan } from './retry.ts';
import type { Timeouts } from './timeouts.ts';

/** One place that requests of a route may go to. */
export interface RouteTarget {
  readonly counter: TrafficCounter;
  /** For byte streams. */
  readonly tcpCounter: TrafficCounter;
  /** For byte streams, and for connections that became one: how long nothing may come. */
  readonly streamIdleMs: number;
  /** For byte streams: how long one has to stand to be served, see `TcpRoute`. */
  readonly standingMs: number;
  /** In order: each stands in for those before it, see `Failover`. */
  readonly groups: readonly UpstreamGroup[];
  /** Whole header lines added to every request, such as who calls; null for none. */
  readonly addedHeaders: Buffer | null;
  /** Fields of requests and of answers that are left out; null for none. */
  readonly requestCuts: readonly Uint8Array[] | null;
  readonly responseEdits: FieldEdits | null;
  /** Where balancing goes by something in the request; null where it does not. */
  readonly hasher: RequestHasher | null;
  /** What to answer when no group has an endpoint to offer, by the index of the one that says so. */
  unavailable(groupIndex: number): Refusal;
}

/** What is done with a request. Made once per configuration, and shared by all requests that match. */
export interface HttpRoute {
  readonly targets: readonly RouteTarget[];
  /** For each target the share of it and those before it, the last one 1; null where there is one target. */
  readonly shares: Float64Array | null;
  /** What the server is spoken to with; null passes on what the client speaks. */
  readonly carries: RequestProtocol | null;
  readonly timeouts: Timeouts;
  /** Null where policy says nothing: then what reached nobody is tried again, and what may be tried twice. */
  readonly retry: RetryPlan | null;
  /** Null for nearly every route. */
  readonly treatment: Treatment | null;
}

/** What few routes ask for. */
export interface Treatment {
  /** What the target becomes; null leaves it. */
  readonly rewrite: ((bytes: Buffer, head: RequestHead) => Buffer) | null;
  readonly redirect: HttpRedirect | null;
  readonly fault: FaultPolicy | null;
  readonly mirror: Mirror | null;
  readonly hedge: HedgePolicy | null;
}

/** The target of one request: where a route is split, chance decides. */
export function drawTarget(route: HttpRoute, random: Random): RouteTarget {
  const { targets, shares } = route;
  if (shares === null) return targets[0]!;
  const draw = random.next();
  let index = 0;
  while (index < targets.length - 1 && draw >= shares[index]!) index++;
  return targets[index]!;
}

/** A route that does nothing but forward to `target`. */
export function plainRoute(
  target: RouteTarget,
  carries: RequestProtocol | null,
  timeouts: Timeouts,
): HttpRoute {
  return { targets: [target], shares: null, carries, timeouts, retry: null, treatment: null };
}

/** A refusal that is counted; null where not even the row is known. */
export interface RefusedRoute {
  readonly refusal: Refusal;
  readonly counter: TrafficCounter | null;
}

/** One per client connection: it knows who calls. */
export interface RequestRouter {
  /** Of the client's socket; '' where there is none. */
  readonly clientAddress: string;
  /** Where to count what this client sends and is no request. */
  readonly unread: TrafficCounter;
  /** Whether tunnels are decided upon again: then what asked for them is kept, see `DownstreamConnection.upgrade`. */
  readonly reconsidersTunnels?: boolean;
  /** May give the head another path; everything about it is read before the next request. */
  route(bytes: Buffer, head: RequestHead): HttpRoute | RefusedRoute;
}

export function isRefused(route: object): route is RefusedRoute {
  return 'refusal' in route;
}
