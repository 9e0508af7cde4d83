/** Every kind of record this agent writes or understands, and the shape of each value (JSON). */
import type { HostId } from '../core.ts';

/** Host scope: how a host came to belong to the mesh. Self-certifying; judged by `src/trust/admission/admission.ts`. */
export const ADMISSION = 'admission';
/** Host scope, key '': which member let the host in, and that one's signature; see `src/trust/admission/welcome.ts`. */
export const WELCOME = 'welcome';
/** Host scope, key '': where the host is and how it is reached. */
export const HOST = 'host';
/** Host scope, key = service id. */
export const SERVICE = 'service';
/** Host scope, key = check id: one check's present status. Written on change of status only. */
export const CHECK = 'check';
/** Host scope, key = check id: a check registered beside its service's definition, or of the host. */
export const CHECK_DEFINITION = 'check-definition';
/** Host scope, key '': whether the host is here or has left, with the incarnation that says so. */
export const LIFECYCLE = 'lifecycle';
/** Policy scope, key = grant id. */
export const GRANT = 'grant';
/** Policy scope, key = `<kind>/<name>`: one of Consul's config entries. */
export const CONFIG_ENTRY = 'config-entry';
/** Host scope, key '': which policy the host's proxy has taken on. */
export const POLICY_RECEIPT = 'policy-receipt';
/** Policy scope, key = host id: an operator says that this host is gone, as of an incarnation. */
export { departureKind as DEPARTURE } from '../gossip/replica/lifecycle.ts';
/** Policy scope, key = `host/<id>` or `serial/<hex>`: who or what is refused for good; see `src/trust/admission/denial.ts`. */
export const DENY = 'deny';
/** Policy scope, key = `g<generation>` or `g<generation>/<turn>`; see `src/trust/root-record.ts`. */
export const TRUST_ROOT = 'trust-root';
/** Host scope, key '': the epoch in force as this trustee knows it. The record inside proves itself. */
export const TRUST_EPOCH = 'trust-epoch';
/** Host scope, key '': which roots this host's proxy believes, and the oldest that it still uses. */
export const TRUST_ACK = 'trust-ack';
/** Host scope, key '': the signed head of this host's issuance log, now and then. */
export const TRUST_HEAD = 'trust-head';
/** Host scope, key '': the new root that this host stands by, where nothing brings the one before back. */
export const TRUST_STAND = 'trust-stand';
/** Host scope, key = `fork/<id>` or `twin/<id>`: what this host found out about a trustee; see `accusations.ts`. */
export const TRUST_ACCUSATION = 'trust-accusation';
/** Policy scope, key 'rotation': an operator wants another root than that of a generation. */
export const ROOT_ROTATION = 'root-rotation';

/**
 * Policy scope, key `key`: the key that shares of the root are sealed for, of the first operator alone; key `drill`:
 * when somebody looked after them.
 */
export const RECOVERY = 'recovery';

/** What the mesh relies on each host to be able to say: its users' services and checks cannot take the room for it. */
export const vitalKinds: readonly string[] = [
  HOST,
  WELCOME,
  POLICY_RECEIPT,
  TRUST_ACK,
  TRUST_EPOCH,
  TRUST_HEAD,
  TRUST_STAND,
  TRUST_ACCUSATION,
];

export interface HostValue {
  readonly name: string;
  readonly datacenter: string;
  readonly zone: string;
  /** The advertised IP address. */
  readonly address: string;
  readonly gossipPort: number;
  readonly inboundPort: number;
  readonly version: string;
}

/** The value of a `policy-receipt` record. */
export interface PolicyReceiptValue {
  /** As `Policies.revision`. */
  readonly revision: string;
}

/** The value of a `trust-epoch` record. */
export interface TrustEpochValue {
  readonly epoch: number;
  /** The encoded epoch record, base64. */
  readonly record: string;
}

/** The value of a `trust-ack` record, in generations of roots. */
export interface TrustAckValue {
  readonly believes: readonly number[];
  /** Certificates that this host still presents come from this root or later ones. */
  readonly uses: number;
  /** When the last of them expires; 0 where there is none. */
  readonly lastsUntil: number;
  /**
   * The same of those alone that it had signed for keys of others, who use them whether or not it is there. Agents did
   * not always say it: then `lastsUntil` may be of such a one.
   */
  readonly externalUntil?: number;
  /**
   * What it promised as a trustee, or the key that it alone had, cannot be read any more there: it holds no office, and
   * others take its seat.
   */
  readonly withdrawn: boolean;
}

/** The value of a `trust-head` record. */
export interface TrustHeadValue {
  /** As `encodeHead` gives it, base64. */
  readonly head: string;
}

/** The value of a `trust-stand` record. */
export interface TrustStandValue {
  readonly epoch: number;
  /** Of the descriptor of that epoch, hex. */
  readonly hash: string;
}

/** The value of a `trust-accusation` record. */
export interface TrustAccusationValue {
  readonly detail: string;
  /** `encodeEquivocation`, base64, of a `fork`; empty of a `twin`. */
  readonly evidence: string;
  readonly at: number;
}

/** The value of a `root-rotation` record. */
export interface RootRotationValue {
  /** This root and earlier ones are to be replaced. */
  readonly generation: number;
}

/** The value of a `recovery` record of key `key`. */
export interface RecoveryKeyValue {
  /** Ed25519, hex; empty for none. */
  readonly key: string;
  /** At most so many; 0 for half of those who must sign. */
  readonly seats: number;
}

/** The value of a `recovery` record of key `drill`. */
export interface RecoveryDrillValue {
  readonly epoch: number;
  readonly at: number;
}

export type CheckStatus = 'passing' | 'warning' | 'critical';

export interface CheckValue {
  readonly name: string;
  readonly status: CheckStatus;
  readonly notes: string;
  readonly output: string;
  /** '' for a check of the host itself. */
  readonly serviceId: string;
  readonly type: CheckType;
}

export type CheckType = 'http' | 'tcp' | 'grpc' | 'ttl' | 'script' | 'maintenance';

/** What is checked, how often, and how many results in a row change the status. */
export interface CheckDefinition {
  readonly id: string;
  readonly name: string;
  readonly notes: string;
  readonly type: CheckType;
  /** URL for http, `host:port` for tcp, `host:port[/service]` for grpc, after https:// where it is asked by TLS, '' else. */
  readonly target: string;
  readonly method: string;
  readonly header: Readonly<{ [name: string]: readonly string[] }>;
  readonly body: string;
  readonly tlsSkipVerify: boolean;
  /** argv of a script check; only ever from a file on this host's disk. */
  readonly args: readonly string[];
  /** 0 for ttl checks. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** 0 unless it is a ttl check. */
  readonly ttlMs: number;
  /** Consecutive results needed beyond the first: Consul's SuccessBeforePassing, FailuresBeforeCritical. */
  readonly successBeforePassing: number;
  readonly failuresBeforeCritical: number;
  readonly failuresBeforeWarning: number;
  /** 0 means never. */
  readonly deregisterCriticalAfterMs: number;
  readonly initialStatus: CheckStatus;
}

export interface UpstreamDefinition {
  readonly destination: string;
  readonly bindAddress: string;
  readonly bindPort: number;
  /** '' means the one of the host that calls. */
  readonly datacenter: string;
}

/** The value of a `service` record: a Consul service definition, checked and completed. */
export interface ServiceDefinition {
  readonly id: string;
  readonly name: string;
  /** '' means the host's own address, and 127.0.0.1 for the host's proxy. */
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<{ [key: string]: string }>;
  readonly weights: { readonly passing: number; readonly warning: number };
  readonly enableTagOverride: boolean;
  /** User name or decimal uid that the application runs as; '' when not said. */
  readonly user: string;
  /** `user` looked up on the registering host; null when not said. */
  readonly uid: number | null;
  /** False only when the definition says so: no inbound listener, not callable through the mesh. */
  readonly inMesh: boolean;
  readonly upstreams: readonly UpstreamDefinition[];
  readonly checks: readonly CheckDefinition[];
  /** `api`, or `file:<path>` for one that goes when its file goes. */
  readonly source: string;
}

/** The value of a `check-definition` record. */
export interface StandaloneCheck {
  /** '' for a check of the host itself. */
  readonly serviceId: string;
  readonly check: CheckDefinition;
}

/** A service or host name: DNS labels. */
export const serviceNamePattern: RegExp = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** How hosts are named in logs: the first eight hex digits. */
export function shortId(id: HostId): string {
  return id.slice(0, 8);
}
