/** The interface between the agent and whatever carries traffic on this host. */
import type { ProxyConfig } from './config.ts';
import type { HistogramCounts } from './observe/histogram.ts';
import type { Outcome } from './observe/outcomes.ts';
import type { OnTap, TapFilter } from './observe/tap.ts';

/** Why a request or connection was not served as asked; the names are stable, they are metric labels. */
export type RefusalReason =
  | 'denied'
  | 'no-caller'
  | 'no-route'
  | 'no-healthy-upstream'
  | 'no-identity'
  | 'connect-failure'
  | 'upstream-reset'
  | 'timeout'
  /** A token bucket at the callee is empty. */
  | 'rate-limited'
  /** Too many requests or connections at once, by a limit of the caller's or the callee's. */
  | 'overflow'
  /** The destination fails so often that nothing is sent for a while. */
  | 'circuit-open'
  /** Policy asked for a failure. */
  | 'fault'
  | 'bad-request'
  | 'bad-response';

/** One row of traffic counters; all counts since the data plane started. Plain data: rows of workers can be added. */
export interface TrafficRow {
  /** `source`: counted where the caller is; `destination`: counted where the callee is. */
  readonly reporter: 'source' | 'destination';
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'http' | 'grpc' | 'tcp';
  /** The rule of the route taken, '' for the default. */
  readonly route: string;
  /** The subset that served, '' for the whole service. */
  readonly subset: string;
  /** SPIFFE IDs; '' where not known. */
  readonly sourcePrincipal: string;
  readonly destinationPrincipal: string;
  /**
   * Requests by status class, index 1 to 5; TCP connections that ended, at index 2 or 5. Index 0 is for answers of
   * which too many kinds were seen to tell them apart. What gRPC says failed counts as 4xx or 5xx.
   */
  readonly byClass: readonly number[];
  /** The same in detail: every status, flags and gRPC status by itself. */
  readonly responses: readonly (Outcome & { readonly count: number })[];
  readonly refused: Readonly<Partial<{ [reason in RefusalReason]: number }>>;
  /** Which rule denied, how often. */
  readonly deniedBy: Readonly<{ [rule: string]: number }>;
  /** TCP connections that began. */
  readonly opened: number;
  readonly retries: number;
  /** Copies of requests sent to a mirror. */
  readonly mirrored: number;
  /** Copies that policy asked for and that were not sent: too many waited, the body was too long, or nobody is there. */
  readonly mirrorsSkipped: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Over `durationLayout`, in microseconds. */
  readonly durations: HistogramCounts;
  /** Over `sizeLayout`, in bytes; of HTTP alone. */
  readonly requestSizes: HistogramCounts;
  readonly responseSizes: HistogramCounts;
  /** What of `byClass` and `durations` came in the last `overMs`, half a minute to a minute. */
  readonly recent: {
    readonly overMs: number;
    readonly byClass: readonly number[];
    readonly durations: HistogramCounts;
  };
}

/** One endpoint as one caller of this host sees it. */
export interface EndpointStatus {
  readonly source: string;
  /** The id of a cluster, such as `v2.api`; the service alone for endpoints on this host. */
  readonly cluster: string;
  readonly endpoint: string;
  /** What people know it by. */
  readonly name: string;
  /** Requests and connections there now. */
  readonly inFlight: number;
  /** What the balancer expects, milliseconds; null before there was an answer. */
  readonly latencyMs: number | null;
  readonly weight: number;
  /** Taken out by outlier detection, now and how often ever. */
  readonly ejected: boolean;
  readonly ejections: number;
  /** Preferred to others because it is near, by network coordinates. */
  readonly nearest: boolean;
}

/** One circuit breaker as one caller of this host has it. */
export interface BreakerStatus {
  readonly source: string;
  readonly cluster: string;
  readonly state: 'closed' | 'open' | 'half-open';
  /** How often it opened, and how much it turned away. */
  readonly opened: number;
  readonly rejected: number;
}

/** One cluster as one caller of this host has it. Everything is counted since the caller first asked for it. */
export interface ClusterStatus {
  readonly source: string;
  readonly cluster: string;
  /** So few endpoints are in good order that all are asked. */
  readonly isPanicking: boolean;
  /** How often one was asked while that was so; Envoy's `lb_healthy_panic`. */
  readonly panics: number;
  /** What was turned away by a limit; the first two are Envoy's `upstream_cx_overflow`, `upstream_rq_pending_overflow`. */
  readonly overflows: {
    readonly connections: number;
    readonly pending: number;
    readonly requests: number;
  };
  /** How often an endpoint of this host's zone was asked, and one of another, where zones are looked at. */
  readonly stayed: number;
  readonly crossed: number;
  /** Second tries that were not made, for the budget was spent; Envoy's `upstream_rq_retry_overflow`. */
  readonly retriesDenied: number;
}

/** Records of single requests that were lost, for there was no room: traffic is never held up by them. */
export interface ObservationLosses {
  readonly logLines: number;
  readonly spans: number;
  /** Requests that taps were not shown. */
  readonly taps: number;
}

/** Where limits are kept less exactly than policy says them, for there was no room. */
export interface CoarseLimits {
  /** Requests of callers that were counted together, for they were too many for a token bucket each. */
  readonly crowded: number;
  /** Services and callers of whose limits each thread keeps its part, for they are too many to be shared. */
  readonly divided: number;
}

export interface ListenerStatus {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  /** Null when it accepts; else why it does not, such as `EADDRINUSE`. */
  readonly error: string | null;
}

/** TLS connections refused at the handshake, or cut while open, because the peer was denied. */
export interface DeniedPeerCount {
  readonly direction: 'inbound' | 'outbound';
  readonly stage: 'handshake' | 'open';
  readonly reason: 'host-denied' | 'serial-denied';
  readonly count: number;
}

export interface DataPlaneStats {
  readonly traffic: readonly TrafficRow[];
  readonly listeners: readonly ListenerStatus[];
  readonly activeConnections: number;
  /** TLS handshakes on the inbound port that failed, by reason code. */
  readonly handshakeFailures: Readonly<{ [code: string]: number }>;
  readonly deniedPeers: readonly DeniedPeerCount[];
  readonly endpoints?: readonly EndpointStatus[];
  readonly breakers?: readonly BreakerStatus[];
  readonly clusters?: readonly ClusterStatus[];
  readonly lost?: ObservationLosses;
  /** What other ends did against the rules of their protocol, by kind. */
  readonly violations?: Readonly<{ [kind: string]: number }>;
  readonly coarseLimits?: CoarseLimits;
}

export interface DataPlane {
  /**
   * Swaps the configuration atomically: requests under way finish under the old one, new ones see the new
   * one. Resolves when every listener of the new configuration accepts or has failed (see `stats`).
   */
  apply(config: ProxyConfig): Promise<void>;
  /** As of the last `refresh` or `apply`, or later. */
  stats(): DataPlaneStats;
  /** Makes `stats` tell of this very moment. */
  refresh(): Promise<void>;
  /**
   * Tells of every request that ends on this host and matches, until what it returns is called.
   * `Fault('too-many-waiting')` when too many are told already.
   */
  tap(filter: TapFilter, onTap: OnTap): () => void;
  /** Stops accepting, lets requests under way finish for at most `graceMs`, then cuts. */
  close(graceMs: number): Promise<void>;
}
