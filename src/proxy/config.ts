/** The compiled configuration of one host's data plane: what `compile` makes and a data plane applies. */
import type { HostId } from '../core.ts';
import type { IdentityView, Protocol } from './view.ts';

/** Where traffic for one service goes: one endpoint per host that has an instance in rotation. */
export interface Cluster {
  readonly service: string;
  readonly protocol: Protocol;
  /** TLS server name of the service's inbound listener, and the identity the server must prove. */
  readonly sni: string;
  readonly spiffeId: string;
  readonly connectTimeoutMs: number;
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
export type CallerRule =
  | { readonly type: 'service'; readonly service: string }
  | {
      readonly type: 'socket-owner';
      /** uid -> service, for definitions that name a user. */
      readonly byUid: Readonly<{ [uid: string]: string }>;
      /** The host's only service, which speaks for every other uid; null when there are several or none. */
      readonly otherwise: string | null;
    };

/** A plaintext listener for the applications of this host. */
export interface OutboundListener {
  /** Stable across configs: `upstream/<instance>/<destination>`, `vip/<service>` or `outbound`. */
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly caller: CallerRule;
  /** One service, or null: HTTP only, the service is named by the Host header. */
  readonly destination: string | null;
}

/** What the inbound listener does for one local service. */
export interface InboundService {
  readonly service: string;
  readonly sni: string;
  readonly spiffeId: string;
  readonly protocol: Protocol;
  readonly endpoints: readonly LocalEndpoint[];
  readonly outOfRotation: number;
  /** Sorted by precedence, first match decides: exact source before `*`. */
  readonly rules: readonly SourceRule[];
  /** Applied when no rule matches. */
  readonly defaultAction: 'allow' | 'deny';
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
  readonly action: 'allow' | 'deny';
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
  readonly clusters: readonly Cluster[];
  /** Sorted by service. */
  readonly identities: readonly IdentityView[];
  readonly roots: readonly string[];
  readonly denied: DeniedPeers;
}
