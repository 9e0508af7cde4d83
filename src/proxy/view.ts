/**
 * What the proxy needs to know of the mesh, declared here because the proxy consumes it. The agent projects
 * its replica into this; `compile` turns it into a `ProxyConfig`. Plain data, every list sorted by the
 * producer so that equal meshes give equal views.
 */
import type { HostId } from '../core.ts';
import type { ZoneCallers } from './balance/zones.ts';
import type { PermissionPolicy, PolicyView } from './policy.ts';

export type Protocol = 'auto' | 'tcp' | 'http' | 'http2' | 'grpc';

/** One instance that may be called, anywhere in the mesh. */
export interface InstanceView {
  readonly id: string;
  readonly host: HostId;
  readonly hostName: string;
  /** Where its host's inbound mTLS listener is: an IP address and a port. */
  readonly address: string;
  readonly inboundPort: number;
  readonly datacenter: string;
  readonly zone: string;
  /** Relative share, 0 to 65535; 0, as instances in a warning state may have, is out of rotation. */
  readonly weight: number;
  /** `critical` instances are in no balancer; they are listed so that a refusal can say why. */
  readonly health: 'passing' | 'warning' | 'critical';
  /** Its host is suspected by the membership protocol: lower its weight at once. */
  readonly suspect: boolean;
  readonly tags: readonly string[];
  readonly meta: Readonly<{ [key: string]: string }>;
  /** As registered, for filters of subsets to look at; '' and 0 where the definition says none. */
  readonly appAddress: string;
  readonly appPort: number;
  /** What its host says of itself, such as `zone`. */
  readonly hostMeta: Readonly<{ [key: string]: string }>;
}

/** One service name, anywhere in the mesh. */
export interface ServiceView {
  readonly name: string;
  readonly protocol: Protocol;
  /** The loopback address this host hands out for it, and the port it listens on there; null without one. */
  readonly vip: string | null;
  readonly vipPort: number | null;
  readonly instances: readonly InstanceView[];
}

/** An instance registered on this very host. */
export interface LocalInstance {
  readonly id: string;
  readonly service: string;
  /** Where the application itself listens, plaintext. */
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly health: 'passing' | 'warning' | 'critical';
  /** False: it may call through the mesh but has no inbound listener. */
  readonly inMesh: boolean;
  /** The uid that its definition names as `user`, resolved; null when it names none. */
  readonly uid: number | null;
  readonly upstreams: readonly UpstreamView[];
}

export interface UpstreamView {
  readonly destination: string;
  /** Where the instances are that it calls; the host's own unless the definition names another one. */
  readonly datacenter: string;
  readonly bindAddress: string;
  readonly bindPort: number;
}

/** One service intention. Wildcard `*` is allowed on either side. */
export interface IntentionView {
  readonly source: string;
  readonly destination: string;
  readonly action: 'allow' | 'deny';
  /** At layer 7; then `action` is `deny`. Null at layer 4. */
  readonly permissions: readonly PermissionPolicy[] | null;
  /** Which record says so, for counters, logs and explanations: `service-intentions/<destination>`. */
  readonly rule: string;
}

/** A service identity this host holds: the leaf certificate chain and its key, PEM. Never logged. */
export interface IdentityView {
  readonly service: string;
  readonly spiffeId: string;
  readonly certPem: string;
  readonly keyPem: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

/** Where in this host's datacenter the instances of a service are that calls from here, of this host or of others. */
export interface CallerView {
  readonly service: string;
  /** Those that do not fail their checks. Sorted by zone, '' where it is not known. */
  readonly zones: readonly ZoneCallers[];
}

/** How far another host is. */
export interface HostRoundTrip {
  readonly host: HostId;
  /** The network's round trip, milliseconds, roughly; 0 where it is short. */
  readonly ms: number;
}

export interface MeshView {
  readonly trustDomain: string;
  readonly domain: string;
  readonly host: HostId;
  readonly datacenter: string;
  readonly zone: string;
  /** To hosts of which it is known; empty where none is further off than others. Sorted by host. */
  readonly roundTrips: readonly HostRoundTrip[];
  readonly defaultIntention: 'allow' | 'deny';
  readonly inbound: { readonly address: string; readonly port: number };
  readonly outbound: { readonly address: string; readonly port: number } | null;
  readonly services: readonly ServiceView[];
  readonly local: readonly LocalInstance[];
  /** One for each service of `local`. */
  readonly callers: readonly CallerView[];
  readonly intentions: readonly IntentionView[];
  readonly policy: PolicyView;
  readonly identities: readonly IdentityView[];
  /** PEM certificates of every root in the trust bundle. */
  readonly roots: readonly string[];
  /** Hosts, and serial numbers of certificates (hex), that no connection is to be had with. */
  readonly denied: { readonly hosts: readonly HostId[]; readonly serials: readonly string[] };
}
