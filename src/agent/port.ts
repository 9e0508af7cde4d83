/** The agent as the HTTP API, the DNS server and the CLI's server side see it: what to read, what to ask for. */
import type { HostId, Millis, Signer } from '../core.ts';
import type { Hlc } from '../gossip/replica/record.ts';
import type { DataPlaneStats } from '../proxy/dataplane.ts';
import type { OnTap, TapFilter } from '../proxy/observe/tap.ts';
import type { IdentityView, MeshView } from '../proxy/view.ts';
import type { OperatorStanding } from '../trust/authority.ts';
import type { CaQuestion, CaStatus, RotateRoot } from './ca/ca-port.ts';
import type { DenialStatus, Deny } from './ca/denial-port.ts';
import type { NoteDrill, SetRecoveryKey } from './ca/recovery-port.ts';
import type { Catalog, HostEntry, Topic } from './catalog/catalog.ts';
import type { ForcedDeparture } from './catalog/member-status.ts';
import type { EntryChange } from './entries/consistency.ts';
import type { EntryVersion } from './entries/history.ts';
import type { EventLog } from './events.ts';
import type { CheckDefinition, CheckStatus, ServiceDefinition } from './kinds.ts';
import type { Convergence } from './policy/receipts.ts';

/** A change somebody asks of this agent. `operator` signs what concerns the whole mesh, then is forgotten. */
export type Command =
  /** Replaces an instance of the same id on this host. */
  | { readonly type: 'register-service'; readonly definition: ServiceDefinition }
  | { readonly type: 'deregister-service'; readonly id: string }
  /** A check beside those of its service's definition, or of the host (`serviceId` ''). */
  | { readonly type: 'register-check'; readonly serviceId: string; readonly check: CheckDefinition }
  | { readonly type: 'deregister-check'; readonly id: string }
  /** The result an application reports for its TTL check. */
  | {
      readonly type: 'report-ttl';
      readonly checkId: string;
      readonly status: CheckStatus;
      readonly output: string;
    }
  /** `serviceId` '' means the host. */
  | {
      readonly type: 'maintenance';
      readonly serviceId: string;
      readonly enable: boolean;
      readonly reason: string;
    }
  /** `entry` was validated by `parseConfigEntry`. */
  | {
      readonly type: 'put-config-entry';
      readonly kind: string;
      readonly name: string;
      readonly entry: StoredEntry['entry'];
      readonly operator: Signer;
    }
  /** Several, all of them or none; each validated by `parseConfigEntry`, none twice. */
  | {
      readonly type: 'change-config-entries';
      readonly changes: readonly EntryChange[];
      readonly operator: Signer;
    }
  | {
      readonly type: 'delete-config-entry';
      readonly kind: string;
      readonly name: string;
      readonly operator: Signer;
    }
  | {
      readonly type: 'create-token';
      readonly services: readonly string[];
      readonly roles: readonly string[];
      readonly uses: number;
      readonly ttlMs: number;
      readonly operator: Signer;
    }
  /** Answered with a `RevokedToken`. */
  | { readonly type: 'revoke-token'; readonly id: string; readonly operator: Signer }
  | RotateRoot
  | SetRecoveryKey
  | NoteDrill
  | Deny
  | CaQuestion
  /** Says for a host that cannot say it any more that it left. Answered with a `ForcedLeave`. */
  | { readonly type: 'force-leave'; readonly host: HostId; readonly operator: Signer }
  /** Drain, tell the mesh, stop. Resolves when told. */
  | { readonly type: 'leave' };

/** What `create-token` answers: shown once. `operatorSeed` (hex) only for the role `operator`. */
export interface CreatedToken {
  readonly id: string;
  readonly token: string;
  readonly operatorSeed: string | null;
  readonly services: readonly string[];
  readonly roles: readonly string[];
  readonly uses: number;
  readonly expiresAt: Millis;
}

/** The bounds of a token's life. */
export const minTokenTtlMs = 1000;
export const maxTokenTtlMs: number = 30 * 24 * 3_600_000;

/** A token that was made: what it allows and what became of it, without its secret. */
export interface TokenStatus {
  readonly id: string;
  readonly roles: readonly string[];
  /** Empty means any. */
  readonly services: readonly string[];
  /** How many hosts may join by it, and how many have. */
  readonly uses: number;
  readonly used: number;
  readonly createdAt: Millis;
  readonly expiresAt: Millis;
  readonly revokedAt: Millis | null;
  /** By which what its operator writes is signed, and known in histories; null where it makes none. */
  readonly operatorKey: HostId | null;
}

/** What `revoke-token` answers; not `changed` when it was revoked before. */
export interface RevokedToken extends TokenStatus {
  readonly changed: boolean;
}

/** What `force-leave` answers; not `changed` when the host had left before. */
export interface ForcedLeave {
  readonly host: HostId;
  readonly name: string;
  /** Only a higher one, which the host itself must say, undoes it. */
  readonly incarnation: number;
  readonly changed: boolean;
}

/** One config entry with where it came from. */
export interface StoredEntry {
  readonly kind: string;
  readonly name: string;
  /** As written, completed with defaults, CamelCase keys as Consul's API. */
  readonly entry: { readonly [field: string]: unknown };
  readonly author: HostId;
  readonly hlc: Hlc;
  readonly createIndex: number;
  readonly modifyIndex: number;
  /** When this version came to this host; null where an earlier run of the agent had it. */
  readonly reachedAt: Millis | null;
}

/** The entries in force on this host, by kind and name; `config` and `config:<kind>` are its topics. */
export interface PolicyStore {
  get(kind: string, name: string): StoredEntry | undefined;
  /** Sorted by name. */
  list(kind: string): readonly StoredEntry[];
}

export interface AgentSelf {
  readonly id: HostId;
  readonly name: string;
  readonly datacenter: string;
  readonly zone: string;
  readonly version: string;
  readonly advertise: string;
  readonly gossipPort: number;
  /** Null without a data plane. */
  readonly inboundPort: number | null;
  readonly trustDomain: string;
  /** First eight bytes of the genesis hash, hex: which mesh this is. */
  readonly meshId: string;
  readonly domain: string;
  readonly startedAt: Millis;
  /** Founder's operator key, hex; who signs mesh-wide policy. */
  readonly operatorKey: HostId;
}

/** What a blocking query for a service's certificate waits on. */
export function leafTopic(service: string): Topic {
  return `leaf:${service}`;
}

export interface IdentityStatus {
  readonly service: string;
  readonly spiffeId: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Why there is none yet, or why the last renewal failed; null when all is well. */
  readonly problem: string | null;
}

export interface RootStatus {
  readonly generation: number;
  readonly certPem: string;
  readonly active: boolean;
  readonly notAfter: Millis;
}

/** A finding of the agent's diagnosis of itself. */
export interface Finding {
  readonly grade: 'ok' | 'warning' | 'critical';
  readonly subject: string;
  readonly detail: string;
  /** What to do about it; '' for nothing. */
  readonly hint: string;
}

export interface AgentPort {
  readonly self: AgentSelf;
  readonly catalog: Catalog;
  readonly policy: PolicyStore;
  /** What happened since this agent started, the last of it. */
  readonly events: EventLog;
  /** What a config entry said, the newest version first; empty for one that never was. */
  entryHistory(kind: string, name: string): readonly EntryVersion[];
  /**
   * Which hosts have taken on this revision of policy, or a later one; null asks about what is here now.
   * `Fault('unknown-revision')`.
   */
  convergence(revision: string | null): Convergence;
  /** Definitions registered on this host, by id. */
  localServices(): readonly ServiceDefinition[];
  /** The view this host's proxy was last compiled from. */
  view(): MeshView;
  identities(): readonly IdentityStatus[];
  /** A service's certificate and key, which is a secret; null while it has none. */
  leaf(service: string): IdentityView | null;
  /** The roots to believe. */
  roots(): readonly RootStatus[];
  /** The certificate authority as this host knows it. */
  ca(): CaStatus;
  /** Every token ever made in this mesh, the newest first; `grants` is its topic. */
  tokens(): readonly TokenStatus[];
  /** Who and what is denied, the newest first; `denials` is its topic. */
  denials(): readonly DenialStatus[];
  /** Whether the holder of this key may sign for the mesh now, or why not. */
  operatorStanding(key: HostId): OperatorStanding;
  /** The round trip to expect between any two hosts, milliseconds; null when nothing is known of one of them. */
  estimateMs(a: HostId, b: HostId): number | null;
  /** By whose word a host counts as left; null for all others. */
  departureOf(host: HostEntry): ForcedDeparture | null;
  /** Its listeners are those of now, its counters may be as old as the last `freshDataPlane`; null without a data plane. */
  dataPlane(): DataPlaneStats | null;
  /** As `dataPlane`, of this very moment. */
  freshDataPlane(): Promise<DataPlaneStats | null>;
  /**
   * Tells of every request that ends on this host and matches, until what it returns is called.
   * `Fault('unavailable')` where this agent runs no proxy, `Fault('too-many-waiting')` where too many are told.
   */
  tap(filter: TapFilter, onTap: OnTap): () => void;
  check(): readonly Finding[];
  /** Ready: own records loaded, listeners up, in touch with the mesh or alone by right. */
  ready(): { readonly ready: boolean; readonly reason: string };
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Carries out a command; resolves once what it wrote is durable. Throws `Fault`, nothing changed. */
  command(command: Command): Promise<unknown>;
  /** Calls back after every change with the topics it touched. Returns how to stop. */
  onChange(listener: (topics: ReadonlySet<Topic>) => void): () => void;
  now(): Millis;
}
