/** What the agent core takes in and what it asks of its driver: the shell in production, the simulator else. */
import type { Fault, HostId } from '../core.ts';
import type { StoreOp } from '../gossip/port.ts';
import type { Record } from '../gossip/replica/record.ts';
import type { SwimOrder, SwimReport } from '../gossip/swim-port.ts';
import type { ProxyConfig } from '../proxy/config.ts';
import type { ShareName } from '../trust/epoch/crypto-port.ts';
import type { SecretToKeep } from '../trust/epoch/port.ts';
import type { SavedIdentity } from '../trust/issuance/svid.ts';
import type { IssuanceEntry } from '../trust/log/issuance-log.ts';
import type { EngineOrder, EngineReport } from '../trust/quorum/engine-port.ts';
import type { Topic } from './catalog/catalog.ts';
import type { MeshEvent } from './events.ts';
import type { CheckDefinition, CheckStatus, ServiceDefinition } from './kinds.ts';
import type { Command } from './port.ts';

/** What an earlier run of this agent left behind. */
export interface SavedState {
  /** The store's entries under the keys that the core wrote with `persist`. */
  readonly entries: readonly { readonly key: string; readonly value: Uint8Array }[];
  readonly identities: readonly SavedIdentity[];
  /** Which shares of root keys the store of secrets holds; the engine was given the shares themselves. */
  readonly secrets: readonly ShareName[];
  /** This host's signed `admission` record, from joining; null when the store has it or the host founded the mesh. */
  readonly admission: Uint8Array | null;
}

export type AgentInput =
  /** Once, first. */
  | { readonly type: 'start'; readonly saved: SavedState }
  | { readonly type: 'wake' }
  /** One whole frame from an authenticated, admitted peer. */
  | { readonly type: 'frame'; readonly from: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'delta'; readonly bytes: Uint8Array }
  | { readonly type: 'connected'; readonly peer: HostId }
  | { readonly type: 'disconnected'; readonly peer: HostId }
  | { readonly type: 'unreachable'; readonly peer: HostId }
  | { readonly type: 'swim'; readonly report: SwimReport }
  /** A stranger asks to be admitted; answered by `join-reply` with the same `exchange`. */
  | { readonly type: 'join-request'; readonly exchange: number; readonly bytes: Uint8Array }
  /** A stranger says that it belongs to the mesh, and how. */
  | { readonly type: 'introduction'; readonly bytes: Uint8Array }
  /** A local caller asks for a change; answered by `reply` or `fail` with the same `request`. */
  | {
      readonly type: 'command';
      readonly request: number;
      readonly command: Command;
      /** Fresh randomness for secrets the command may have to make: 64 bytes that nobody else has seen. */
      readonly entropy: Uint8Array;
    }
  /** Own writes that are durable, and from now on visible to everybody. */
  | { readonly type: 'durable'; readonly records: readonly Record[] }
  /** Own writes that the disk refused: they were never made. */
  | { readonly type: 'not-durable'; readonly records: readonly Record[] }
  /** Every definition that files now hold; those of files that are gone are deregistered. */
  | { readonly type: 'files'; readonly definitions: readonly ServiceDefinition[] }
  | {
      readonly type: 'check-result';
      readonly checkId: string;
      readonly status: CheckStatus;
      readonly output: string;
    }
  /** The data plane serves by this configuration now. */
  | { readonly type: 'configured'; readonly config: ProxyConfig }
  | { readonly type: 'engine'; readonly report: EngineReport }
  /** What rested on a write of this host's part in the root, which is durable now. */
  | { readonly type: 'epoch'; readonly event: EpochEvent }
  /** Answers `make-key`. */
  | {
      readonly type: 'key-made';
      readonly service: string;
      readonly csr: Uint8Array;
      readonly keyPem: string;
    };

/** What becomes of an epoch, or of what was signed, on this host. */
export type EpochEvent =
  | { readonly type: 'entered' }
  /** Let everybody know of it. */
  | { readonly type: 'publish'; readonly epoch: number; readonly bytes: Uint8Array }
  /** Let everybody know that this host stands by a new root. */
  | { readonly type: 'stand'; readonly epoch: number; readonly hash: string }
  /** The issuance log is on disk up to this entry. */
  | { readonly type: 'logged'; readonly entry: IssuanceEntry };

export type AgentEffect =
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'publish'; readonly bytes: Uint8Array }
  | { readonly type: 'connect'; readonly peer: HostId }
  | { readonly type: 'disconnect'; readonly peer: HostId }
  /** The host is admitted no more: cut every connection with it, now. */
  | { readonly type: 'expel'; readonly peer: HostId }
  /** For membership, which is driven beside the core; see `Swim`. Its reports come back as `swim` inputs. */
  | { readonly type: 'swim'; readonly order: SwimOrder }
  /** Where a host now is, or first was heard to be: membership's datagrams for it go there. */
  | { readonly type: 'locate'; readonly host: HostId; readonly address: string; readonly port: number }
  /**
   * Write `ops`, in the order of the effects; once they are durable (`sync`) or handed over (not `sync`)
   * carry out `then`, in order. An empty synced write is a barrier behind all that came before. `secrets`
   * are durable in the store of secrets before `ops` are written.
   */
  | {
      readonly type: 'persist';
      readonly ops: readonly StoreOp[];
      readonly sync: boolean;
      readonly secrets?: readonly SecretToKeep[];
      readonly then: readonly AgentEffect[];
    }
  /** Overwrite and unlink these shares of root keys. */
  | { readonly type: 'shred'; readonly names: readonly ShareName[] }
  /** For the engine of threshold cryptography; its reports come back as `engine` inputs. */
  | { readonly type: 'engine'; readonly order: EngineOrder }
  | { readonly type: 'input'; readonly input: AgentInput }
  /** To a host that may take this one for a stranger: each in a datagram of its own, in order. */
  | { readonly type: 'introduce'; readonly to: HostId; readonly introductions: readonly Uint8Array[] }
  | { readonly type: 'join-reply'; readonly exchange: number; readonly bytes: Uint8Array }
  | { readonly type: 'reply'; readonly request: number; readonly value: unknown }
  | { readonly type: 'fail'; readonly request: number; readonly fault: Fault }
  | { readonly type: 'run-check'; readonly check: CheckDefinition }
  /** Make a key and a signing request for it; answer with `key-made`. */
  | {
      readonly type: 'make-key';
      readonly service: string;
      readonly spiffeId: string;
      readonly dnsNames: readonly string[];
    }
  /** Keep a service's certificate and key (a secret) for the next start; or delete it. */
  | { readonly type: 'keep-identity'; readonly identity: SavedIdentity }
  | { readonly type: 'drop-identity'; readonly service: string }
  /** A new configuration for the data plane; sent only when it differs from the one before. */
  | { readonly type: 'configure'; readonly config: ProxyConfig }
  | { readonly type: 'changed'; readonly topics: ReadonlySet<Topic> }
  /** For whoever follows what happens in the mesh. */
  | { readonly type: 'happened'; readonly events: readonly MeshEvent[] }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly event: string;
      readonly fields: { readonly [name: string]: string | number | boolean };
    }
  /** Told the mesh: the process may stop. */
  | { readonly type: 'stop' };
