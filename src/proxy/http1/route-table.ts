/** The routes of one destination for one caller, compiled: which of them a request takes, and what that means. */
import type { Destination, Route, SplitTarget } from '../config.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { TimeoutPolicy } from '../policy.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import type { Protocol } from '../view.ts';
import { RequestFacts } from './facts.ts';
import { compileEdits } from './field-edits.ts';
import type { RequestHead } from './head.ts';
import { CompiledMatch } from './match.ts';
import { Mirror } from './mirror.ts';
import { Refusal } from './refusal.ts';
import { compileRetry } from './retry.ts';
import { compileRewrite } from './rewrite.ts';
import type { HttpRoute, RefusedRoute, RouteTarget, Treatment } from './route.ts';
import { compileStreamIdle, compileTimeouts } from './timeouts.ts';

/** Matching is synchronous, so one object serves every request. */
const facts = new RequestFacts();

/** What is known of a cluster where routes are compiled. */
export type Reach = Pick<
  RouteTarget,
  'groups' | 'counter' | 'tcpCounter' | 'hasher' | 'standingMs' | 'unavailable'
>;

interface Entry {
  readonly match: CompiledMatch | null;
  readonly route: HttpRoute;
}

export class RouteTable {
  readonly protocol: Protocol;
  private readonly entries: readonly Entry[];
  /** Where there is no choice; null where there is. */
  private readonly only: HttpRoute | null;
  private readonly looksAtPaths: boolean;
  private readonly counter: TrafficCounter;
  private readonly unmatched: RefusedRoute;

  /** `counter` is for requests that no cluster gets; `reach` finds a cluster by its id, for a rule's traffic. */
  constructor(
    destination: Destination,
    caller: TimeoutPolicy,
    counter: TrafficCounter,
    reach: (cluster: string, rule: string) => Reach,
  ) {
    const { routes, protocol } = destination;
    this.counter = counter;
    this.unmatched = { refusal: noMatch, counter };
    this.protocol = protocol;
    this.entries = routes.map((route) => ({
      match: route.match === null ? null : new CompiledMatch(route.match),
      route: compileRoute(route, protocol, caller, reach),
    }));
    this.only = routes.length === 1 && routes[0]!.match === null ? this.entries[0]!.route : null;
    this.looksAtPaths = routes.some(
      (route) => (route.match?.path ?? null) !== null || route.prefixRewrite !== null,
    );
  }

  /** The first route that matches. Gives the head its path in normal form where policy looks at paths. */
  route(bytes: Buffer, head: RequestHead): HttpRoute | RefusedRoute {
    if (this.looksAtPaths) {
      const refusal = settlePath(bytes, head);
      if (refusal !== null) return { refusal, counter: this.counter };
    }
    if (this.only !== null) return this.only;
    facts.of(bytes, head);
    for (const { match, route } of this.entries) if (match === null || match.holds(facts)) return route;
    return this.unmatched;
  }

  /** What byte streams take: the last, which matches everything. */
  get last(): HttpRoute | null {
    return this.entries.at(-1)?.route ?? null;
  }
}

/** Matching takes a time that grows with the path: longer ones are not looked at, and so not let through. */
const maxPathBytes = 8 * 1024;

const ambiguousPath = new Refusal(400, 'bad-request', 'the path can be read in more than one way');
const longPath = new Refusal(414, 'bad-request', `the path is longer than ${maxPathBytes} bytes`);

/** Gives the path its one spelling, for policy that looks at it; says what to answer where it has none. */
export function settlePath(bytes: Buffer, head: RequestHead): Refusal | null {
  if (head.targetEnd - head.pathStart > maxPathBytes) return longPath;
  return head.normalisePath(bytes) ? null : ambiguousPath;
}

const noMatch = new Refusal(404, 'no-route', 'no route matches the request');

function compileRoute(
  route: Route,
  protocol: Protocol,
  caller: TimeoutPolicy,
  reach: (cluster: string, rule: string) => Reach,
): HttpRoute {
  return {
    targets: route.split.map((split) =>
      compileTarget(route, split, caller, reach(split.cluster, route.rule)),
    ),
    shares: sharesOf(route.split),
    carries: carriedBy(protocol),
    timeouts: compileTimeouts(route.timeouts, caller),
    retry: compileRetry(route.retry),
    treatment: compileTreatment(route, reach),
  };
}

/** What the route changes, then what the split changes. */
function compileTarget(route: Route, split: SplitTarget, caller: TimeoutPolicy, reach: Reach): RouteTarget {
  const edits = compileEdits(route.requestHeaders, split.requestHeaders);
  return {
    counter: reach.counter,
    tcpCounter: reach.tcpCounter,
    groups: reach.groups,
    hasher: reach.hasher,
    streamIdleMs: compileStreamIdle(route.timeouts, caller),
    standingMs: reach.standingMs,
    unavailable: (groupIndex) => reach.unavailable(groupIndex),
    addedHeaders: edits?.lines ?? null,
    requestCuts: edits === null || edits.cuts.length === 0 ? null : edits.cuts,
    responseEdits: compileEdits(route.responseHeaders, split.responseHeaders),
  };
}

function sharesOf(split: readonly SplitTarget[]): Float64Array | null {
  if (split.length === 1) return null;
  const total = split.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  return Float64Array.from(split, ({ weight }) => {
    sum += weight;
    return total === 0 ? 1 : sum / total;
  });
}

/** With `auto`, the application is spoken to as the client speaks. */
export function carriedBy(protocol: Protocol): RequestProtocol | null {
  if (protocol === 'auto') return null;
  return protocol === 'http2' || protocol === 'grpc' ? 'http2' : 'http1';
}

function compileTreatment(route: Route, reach: (cluster: string, rule: string) => Reach): Treatment | null {
  const { prefixRewrite, redirect, fault, mirror, hedge } = route;
  const all = [prefixRewrite, redirect, fault, mirror, hedge];
  if (all.every((each) => each === null)) return null;
  return {
    rewrite: prefixRewrite === null ? null : compileRewrite(prefixRewrite, route.match?.path ?? null),
    redirect,
    fault,
    mirror: mirror === null ? null : new Mirror(mirror.percent, reach(mirror.cluster, route.rule)),
    hedge,
  };
}
