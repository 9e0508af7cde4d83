/**
 * What the proxy needs to know of the mesh's policy: config entries as the agent validated them, in the proxy's
 * own units and with every default written out. Plain data; `compile` turns it into routes and clusters.
 *
 * `rule` names the record behind each, such as `service-router/api`, for refusals, logs and explanations.
 */
import type { Protocol } from './view.ts';

export interface PolicyView {
  readonly proxyDefaults: ProxyDefaultsPolicy | null;
  /** Each list sorted by `service`, at most one of each a service. */
  readonly defaults: readonly ServiceDefaultsPolicy[];
  readonly routers: readonly RouterPolicy[];
  readonly splitters: readonly SplitterPolicy[];
  readonly resolvers: readonly ResolverPolicy[];
}

/** `proxy-defaults/global`: what holds for every service that says nothing else. */
export interface ProxyDefaultsPolicy {
  readonly rule: string;
  readonly protocol: Protocol;
  readonly accessLog: AccessLogPolicy | null;
  readonly tracing: TracingPolicy | null;
}

export interface AccessLogPolicy {
  /** Share of requests that are logged, 0 to 1; those that fail are logged always. */
  readonly sample: number;
  /** Path of the file that lines are appended to; without one they go where the agent logs. */
  readonly file?: string;
}

export interface TracingPolicy {
  /** Share of traces that begin here and are exported, 0 to 1. */
  readonly sample: number;
  /** Where spans are sent as OTLP/HTTP JSON; '' only passes trace headers on. */
  readonly endpoint: string;
}

/** `service-defaults`. */
export interface ServiceDefaultsPolicy {
  readonly rule: string;
  readonly service: string;
  readonly protocol: Protocol;
  /** At the callee: connections (or streams of them) served at once on one host; 0 is without limit. */
  readonly maxInboundConnections: number;
  /** At the callee, between proxy and application; 0 leaves the default. */
  readonly localConnectTimeoutMs: number;
  readonly localRequestTimeoutMs: number;
  readonly rateLimits: RateLimitsPolicy | null;
  /** As a caller: timeouts of its calls that no route or resolver sets. */
  readonly outbound: TimeoutPolicy;
  /** As a caller: for every destination, and for some. */
  readonly upstreams: UpstreamPolicy;
  /** Sorted by destination; complete in themselves, with what `upstreams` says filled in. */
  readonly overrides: readonly UpstreamOverride[];
}

/** Milliseconds; 0 is without limit, null is not said here. */
export interface TimeoutPolicy {
  /** From the request's head to the end of the answer, retries included. */
  readonly requestMs: number | null;
  /** Without a byte in either direction. */
  readonly idleMs: number | null;
  /** From sending to the first byte of the answer's head, for each try. */
  readonly perTryMs: number | null;
  readonly connectMs: number | null;
}

export interface UpstreamOverride extends UpstreamPolicy {
  readonly destination: string;
}

/** How one caller treats one destination. */
export interface UpstreamPolicy {
  readonly limits: UpstreamLimits;
  readonly passiveHealth: PassiveHealthPolicy | null;
  readonly breaker: BreakerPolicy | null;
  readonly connectTimeoutMs: number | null;
}

/** Circuit breaking by amount; each 0 is without limit. What does not fit fails at once. */
export interface UpstreamLimits {
  readonly maxConnections: number;
  /** Requests that wait for a connection that is being made. */
  readonly maxPendingRequests: number;
  readonly maxConcurrentRequests: number;
}

/** Ejection of single endpoints by what real traffic shows; Consul's fields and Envoy's meaning. */
export interface PassiveHealthPolicy {
  readonly intervalMs: number;
  /** Failures in a row that eject. */
  readonly maxFailures: number;
  /** How likely such an endpoint is ejected, 0 to 100. */
  readonly enforcingConsecutive5xx: number;
  /** The largest share of a cluster's endpoints that may be out, 0 to 100; one may be always. */
  readonly maxEjectionPercent: number;
  readonly baseEjectionTimeMs: number;
}

/** Circuit breaking by error rate, for a destination as a whole. */
export interface BreakerPolicy {
  /** Opens at this share of failures, 1 to 100, ... */
  readonly errorPercent: number;
  /** ... of at least so many requests ... */
  readonly minimumRequests: number;
  /** ... within this time. */
  readonly windowMs: number;
  /** Stays open so long, then lets probes through. */
  readonly openMs: number;
  /** Probes let through at once, and that must all succeed to close again. */
  readonly halfOpenRequests: number;
}

export interface RateLimitsPolicy {
  /** For the service on one host; null for none. */
  readonly instance: RateLimit | null;
  /** For the first of these that a request matches; sorted as written. */
  readonly routes: readonly RouteRateLimit[];
  /** For each caller by itself; `*` for those that are not named. */
  readonly callers: readonly CallerRateLimit[];
}

/** A token bucket: so many a second, and so many at once after a rest. */
export interface RateLimit {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

export interface RouteRateLimit extends RateLimit {
  readonly path: PathMatch;
}

export interface CallerRateLimit extends RateLimit {
  /** A service or `*`. */
  readonly source: string;
}

// Routing

/** `service-router`: the first route that matches decides; a last one that matches all is implied. */
export interface RouterPolicy {
  readonly rule: string;
  readonly service: string;
  readonly routes: readonly RoutePolicy[];
}

export interface RoutePolicy {
  readonly match: RequestMatch;
  readonly destination: RouteDestination;
}

/** All that is said must hold. */
export interface RequestMatch {
  /** Null matches every path. */
  readonly path: PathMatch | null;
  readonly headers: readonly HeaderMatch[];
  readonly query: readonly QueryMatch[];
  /** Upper case; empty matches every method. */
  readonly methods: readonly string[];
}

export interface PathMatch {
  readonly type: 'exact' | 'prefix' | 'regex';
  /** Regular expressions are RE2's syntax where it agrees with JavaScript's; they match the whole path. */
  readonly value: string;
  readonly ignoreCase: boolean;
}

export interface HeaderMatch {
  /** Lower case. */
  readonly name: string;
  readonly type: 'present' | 'exact' | 'prefix' | 'suffix' | 'contains' | 'regex';
  /** '' for `present`. */
  readonly value: string;
  readonly ignoreCase: boolean;
  readonly invert: boolean;
}

export interface QueryMatch {
  readonly name: string;
  readonly type: 'present' | 'exact' | 'regex';
  readonly value: string;
}

export interface RouteDestination {
  /** '' is the router's own service. */
  readonly service: string;
  /** '' is the resolver's default subset. */
  readonly subset: string;
  /** Put in place of what `match.path` matched as a prefix or exactly; null leaves the path. */
  readonly prefixRewrite: string | null;
  readonly timeouts: TimeoutPolicy;
  readonly retry: RetryPolicy | null;
  readonly hedge: HedgePolicy | null;
  readonly requestHeaders: HeaderEdits | null;
  readonly responseHeaders: HeaderEdits | null;
  readonly mirror: MirrorPolicy | null;
  readonly fault: FaultPolicy | null;
  /** Answered by the proxy itself instead of being forwarded. */
  readonly redirect: HttpRedirect | null;
}

export interface RetryPolicy {
  /** Besides the first try; 0 also turns off what is retried without any policy. */
  readonly maxRetries: number;
  /** Envoy's words: `connect-failure`, `refused-stream`, `reset`, `5xx`, `gateway-error`, `retriable-4xx`, gRPC's. */
  readonly on: readonly RetryCondition[];
  readonly statusCodes: readonly number[];
  /** Jittered, exponential: at least, and at most. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

export type RetryCondition =
  | 'connect-failure'
  | 'refused-stream'
  | 'reset'
  | '5xx'
  | 'gateway-error'
  | 'retriable-4xx'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'internal'
  | 'resource-exhausted'
  | 'unavailable';

/** A second try that starts while the first is still silent; the first answer wins. For idempotent requests. */
export interface HedgePolicy {
  readonly afterMs: number;
}

/** Applied in this order: remove, set, add. Names are lower case. */
export interface HeaderEdits {
  readonly remove: readonly string[];
  readonly set: readonly HeaderValue[];
  readonly add: readonly HeaderValue[];
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
}

export interface MirrorPolicy {
  readonly service: string;
  readonly subset: string;
  /** 0 to 100, may be fractional. */
  readonly percent: number;
}

export interface FaultPolicy {
  readonly delay: { readonly ms: number; readonly percent: number } | null;
  readonly abort: { readonly status: number; readonly percent: number } | null;
}

export interface HttpRedirect {
  /** 301, 302, 303, 307 or 308. */
  readonly status: number;
  /** '' keeps the request's. */
  readonly host: string;
  readonly path: string;
  readonly scheme: '' | 'http' | 'https';
}

/** `service-splitter`. */
export interface SplitterPolicy {
  readonly rule: string;
  readonly service: string;
  /** Weights are hundredths of a percent, their sum 10,000. */
  readonly splits: readonly SplitPolicy[];
}

export interface SplitPolicy {
  readonly weight: number;
  /** '' is the splitter's own service. */
  readonly service: string;
  readonly subset: string;
  readonly requestHeaders: HeaderEdits | null;
  readonly responseHeaders: HeaderEdits | null;
}

/** `service-resolver`. */
export interface ResolverPolicy {
  readonly rule: string;
  readonly service: string;
  readonly defaultSubset: string;
  /** Sorted by name. */
  readonly subsets: readonly SubsetPolicy[];
  readonly redirect: TargetPolicy | null;
  /** Sorted by subset; `*` stands for every subset that is not named, and for none. */
  readonly failover: readonly FailoverPolicy[];
  readonly connectTimeoutMs: number | null;
  readonly requestTimeoutMs: number | null;
  readonly balance: BalancePolicy | null;
}

export interface SubsetPolicy {
  readonly name: string;
  /** Consul's filter expression over an instance, as written; '' takes all. */
  readonly filter: string;
  readonly onlyPassing: boolean;
}

/** Where to go instead; '' is "the same as before". */
export interface TargetPolicy {
  readonly service: string;
  readonly subset: string;
  readonly datacenter: string;
}

export interface FailoverPolicy {
  readonly subset: string;
  /** In order. */
  readonly targets: readonly TargetPolicy[];
}

export type BalanceMethod = 'p2c' | 'round_robin' | 'least_request' | 'ring_hash' | 'maglev' | 'random';

export interface BalancePolicy {
  readonly method: BalanceMethod;
  /** For least_request: how many are drawn and compared. */
  readonly choiceCount: number;
  readonly ringHash: { readonly minimumRingSize: number; readonly maximumRingSize: number };
  /** What ring_hash and maglev hash, in this order; a `terminal` one that applied ends the list. */
  readonly hash: readonly HashPolicy[];
  /** Prefers this host's zone while its endpoints have room for its share of the load, ... */
  readonly zoneAware: boolean;
  /** ... unless there are fewer endpoints in good order than this. */
  readonly zoneMinimumEndpoints: number;
  /** A new endpoint grows to its full share over this time; 0 is at once. */
  readonly slowStartMs: number;
  /** With fewer in good order than this share, 0 to 100, neither that nor zones are looked at any more. */
  readonly panicPercent: number;
}

export type HashPolicy =
  | { readonly type: 'header'; readonly name: string; readonly terminal: boolean }
  | { readonly type: 'query'; readonly name: string; readonly terminal: boolean }
  | {
      readonly type: 'cookie';
      readonly name: string;
      readonly terminal: boolean;
      /** Null: only clients that have the cookie; else it is set for them with this life and path. */
      readonly issue: { readonly ttlMs: number; readonly path: string } | null;
    }
  | { readonly type: 'source-ip'; readonly terminal: boolean };

/** One permission of a layer 7 intention: the first that matches decides, none that matches denies. */
export interface PermissionPolicy {
  readonly action: 'allow' | 'deny';
  readonly match: RequestMatch;
}
