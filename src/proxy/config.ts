/** The compiled configuration of one host's data plane: what `compile` makes and a data plane applies. */
import type { HostId } from '../core.ts';
import type { ZoneCallers } from './balance/zones.ts';
import type {
  AccessLogPolicy,
  BalancePolicy,
  FaultPolicy,
  HeaderEdits,
  HedgePolicy,
  HttpRedirect,
  PermissionPolicy,
  RateLimitsPolicy,
  RequestMatch,
  RetryPolicy,
  TimeoutPolicy,
  TracingPolicy,
  UpstreamOverride,
  UpstreamPolicy,
} from './policy.ts';
import type { HostRoundTrip, IdentityView, Protocol } from './view.ts';
import type { SharedLimits } from './workers/memory.ts';

/**
 * What callers may ask for by name, and what becomes of a request for it: a discovery chain, flattened. The
 * routes are tried in order; the last one matches everything. Byte streams take the last.
 */
export interface Destination {
  /** `api`, or `api@dc2` where the caller asks for that of another datacenter. */
  readonly id: string;
  readonly service: string;
  readonly protocol: Protocol;
  readonly routes: readonly Route[];
}

export interface Route {
  /** The record it comes from, such as `service-router/api`, and which of its routes; '' is the default. */
  readonly rule: string;
  /** Null matches everything. */
  readonly match: RequestMatch | null;
  /** Weights are hundredths of a percent, their sum 10,000; one entry where nothing is split. */
  readonly split: readonly SplitTarget[];
  readonly prefixRewrite: string | null;
  readonly timeouts: RouteTimeouts;
  readonly retry: RetryPolicy | null;
  readonly hedge: HedgePolicy | null;
  readonly requestHeaders: HeaderEdits | null;
  readonly responseHeaders: HeaderEdits | null;
  readonly mirror: { readonly cluster: string; readonly percent: number } | null;
  readonly fault: FaultPolicy | null;
  /** Where it is not null, nothing is forwarded. */
  readonly redirect: HttpRedirect | null;
}

/** Milliseconds, null where policy says nothing: then the caller's `outbound` timeouts hold, then defaults. */
export interface RouteTimeouts {
  readonly requestMs: number | null;
  readonly idleMs: number | null;
  readonly perTryMs: number | null;
}

export interface SplitTarget {
  readonly weight: number;
  /** The id of a cluster. */
  readonly cluster: string;
  /** Which record split, '' for none. */
  readonly rule: string;
  readonly requestHeaders: HeaderEdits | null;
  readonly responseHeaders: HeaderEdits | null;
}

/** How one service of this host calls, whatever its destination. */
export interface CallerPolicy {
  readonly service: string;
  readonly outbound: TimeoutPolicy;
  readonly upstreams: UpstreamPolicy;
  /** Sorted by destination. */
  readonly overrides: readonly UpstreamOverride[];
  /** Where in this host's datacenter its instances are. Sorted by zone. */
  readonly zones: readonly ZoneCallers[];
}

/** Where traffic for one service, or a subset of it, goes: one endpoint per host with an instance in rotation. */
export interface Cluster {
  /** `api`, `v2.api`, `api@dc2` or `v2.api@dc2`. */
  readonly id: string;
  readonly service: string;
  /** '' for the whole service. */
  readonly subset: string;
  readonly datacenter: string;
  readonly balance: BalancePolicy;
  /** Ids of clusters that take over, in order, when this one has no endpoint that can serve. */
  readonly failover: readonly string[];
  readonly protocol: Protocol;
  /** TLS server name of the service's inbound listener, and the identity the server must prove. */
  readonly sni: string;
  readonly spiffeId: string;
  readonly connectTimeoutMs: number;
  /** How long a host's proxy waits for an instance that it connects to, milliseconds. */
  readonly localConnectTimeoutMs: number;
  readonly endpoints: readonly Endpoint[];
  /** Instances that exist but are not in rotation, so that "no healthy upstream" can say how many. */
  readonly outOfRotation: number;
}

export interface Endpoint {
  /** `<host id>`; stable across configs, so that balancing state survives a swap. */
  readonly id: string;
  readonly hostName: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly zone: string;
}

/** How a listener learns who calls: one fixed service, or the uid that owns the calling socket. */
export type CallerRule = { readonly type: 'service'; readonly service: string } | SocketOwnerRule;

export interface SocketOwnerRule {
  readonly type: 'socket-owner';
  /** uid -> service, for definitions that name a user, unless two services name the same one. */
  readonly byUid: Readonly<{ [uid: string]: string }>;
  /** The host's only service, which speaks for every other uid; null when there are several or none. */
  readonly otherwise: string | null;
  /** Every service of this host with the users that its definitions name: what a refusal has to tell. */
  readonly services: readonly { readonly name: string; readonly uids: readonly number[] }[];
}

/** A plaintext listener for the applications of this host. */
export interface OutboundListener {
  /** Stable across configs: `upstream/<instance>/<destination>`, `vip/<service>` or `outbound`. */
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly caller: CallerRule;
  /** The id of one destination, or null: HTTP only, the service is named by the Host header. */
  readonly destination: string | null;
}

/** What the inbound listener does for one local service, or a subset of it. */
export interface InboundService {
  readonly service: string;
  /** '' for the whole service. */
  readonly subset: string;
  readonly sni: string;
  readonly spiffeId: string;
  readonly protocol: Protocol;
  readonly endpoints: readonly LocalEndpoint[];
  readonly outOfRotation: number;
  /** Sorted by precedence, first match decides: exact source before `*`. */
  readonly rules: readonly SourceRule[];
  /** Applied when no rule matches. */
  readonly defaultAction: 'allow' | 'deny';
  /** Counted over all entries of one service together; 0 is without limit. */
  readonly maxConnections: number;
  /** Kept over all entries of one service together. */
  readonly rateLimits: RateLimitsPolicy | null;
  /** Between the proxy and the application, milliseconds; 0 leaves the default. */
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

export interface LocalEndpoint {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
}

export interface SourceRule {
  /** A service name, or `*`. */
  readonly source: string;
  /** What happens where there are no permissions. */
  readonly action: 'allow' | 'deny';
  /** The first that matches decides, none that matches denies; null for a rule of layer 4. */
  readonly permissions: readonly PermissionPolicy[] | null;
  readonly rule: string;
}

/** A listener that was left out of the configuration because another one has its address and port. */
export interface ListenerConflict {
  /** The id of the listener that is missing. */
  readonly id: string;
  readonly address: string;
  readonly port: number;
  /** Whose the address and port are: a listener's id, or `inbound`. */
  readonly takenBy: string;
}

/** A stored entry that does not do what it says, such as a route to a subset that is not there. */
export interface PolicyProblem {
  /** The record that is to blame, such as `service-router/api`. */
  readonly rule: string;
  /** In Consul's spelling, such as `Routes[2].Destination.ServiceSubset`; '' is the entry as a whole. */
  readonly field: string;
  readonly message: string;
}

/** Peers that no connection is had with, in either direction. Both sorted. */
export interface DeniedPeers {
  /** As certificates name the host that they were issued to. */
  readonly hosts: readonly HostId[];
  /** Serial numbers of certificates, hex. */
  readonly serials: readonly string[];
}

export interface ProxyConfig {
  readonly trustDomain: string;
  /** DNS suffix of mesh names, such as `mesh`. */
  readonly domain: string;
  readonly datacenter: string;
  readonly zone: string;
  /** To hosts that are some way off, as far as that is known. Sorted by host. */
  readonly roundTrips: readonly HostRoundTrip[];
  readonly inbound: {
    readonly address: string;
    readonly port: number;
    /** Keyed by SNI, as an array sorted by it. */
    readonly services: readonly InboundService[];
  };
  /** Sorted by id; no two of them, nor one of them and the inbound listener, bind the same port. */
  readonly outbound: readonly OutboundListener[];
  /** Sorted by id. */
  readonly conflicts: readonly ListenerConflict[];
  /** Sorted by service; every destination of a listener is among them. */
  readonly destinations: readonly Destination[];
  /** Sorted by service: the services of this host, as callers. */
  readonly callers: readonly CallerPolicy[];
  /** Sorted by id; every cluster that a route, a mirror or a failover names is among them. */
  readonly clusters: readonly Cluster[];
  /** Sorted; what such an entry leads to is a cluster without an endpoint. */
  readonly problems: readonly PolicyProblem[];
  readonly accessLog: AccessLogPolicy | null;
  readonly tracing: TracingPolicy | null;
  /** Sorted by service. */
  readonly identities: readonly IdentityView[];
  readonly roots: readonly string[];
  readonly denied: DeniedPeers;
  /** Where threads that carry traffic together count what is under a limit; left out where one is alone. */
  readonly shared?: SharedLimits;
}
