/** What the gossip machine takes in, what it asks of its driver, and what it needs to know of trust. */
import type { HostId, Millis } from '../core.ts';
import type { Record } from './replica/record.ts';
import type { SwimOrder, SwimReport } from './swim-port.ts';

/** SWIM's states; `left` is the graceful one, proven by the member's own signed record. */
export type MemberState = 'alive' | 'suspect' | 'down' | 'left';

/** What membership knows of a member. */
export interface MemberStatus {
  readonly id: HostId;
  readonly state: MemberState;
  readonly incarnation: number;
  /** Smoothed round trip, milliseconds; null until measured. */
  readonly roundTripMs: number | null;
}

export interface Member extends MemberStatus {
  /** When this agent saw the state begin, by the clock that all but membership goes by. */
  readonly since: Millis;
}

export type GossipInput =
  | { readonly type: 'wake' }
  /** One whole frame from an authenticated, admitted peer. */
  | { readonly type: 'frame'; readonly from: HostId; readonly bytes: Uint8Array }
  /** One batch of records that arrived by publish-subscribe, whoever relayed it. */
  | { readonly type: 'delta'; readonly bytes: Uint8Array }
  | { readonly type: 'connected'; readonly peer: HostId }
  /** A hint that starts a probe; never a verdict. */
  | { readonly type: 'disconnected'; readonly peer: HostId }
  /** A frame could not be delivered (refused, timed out). Also only a hint. */
  | { readonly type: 'unreachable'; readonly peer: HostId }
  /** What membership, which runs apart, has to say; see `Swim`. */
  | { readonly type: 'swim'; readonly report: SwimReport }
  /** What a `commit` effect held: own writes that are durable, and from now on visible to everybody. */
  | { readonly type: 'durable'; readonly records: readonly Record[] };

/**
 * Whether a delta is to be passed on. `reject` is for what no honest peer relays, and counts against whoever
 * did; what may only be early, or of a later release, is `ignore`.
 */
export type RelayVerdict = 'accept' | 'ignore' | 'reject';

export type StoreOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

export type GossipEffect =
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'publish'; readonly bytes: Uint8Array }
  /** Write; only when it is durable (`sync`) release `then`, in order. */
  | {
      readonly type: 'persist';
      readonly ops: readonly StoreOp[];
      readonly sync: boolean;
      readonly then: readonly GossipEffect[];
    }
  /**
   * Found only in the `then` of a synced `persist`: feed `{ type: 'durable', records }` back into the
   * machine. Only then does the write enter the replica, is announced as `applied` and published; a write
   * that the disk refused was never made.
   */
  | { readonly type: 'commit'; readonly records: readonly Record[] }
  /** Records that won their slot, tombstones included, in the order they were applied. */
  | { readonly type: 'applied'; readonly records: readonly Record[] }
  /** For membership, which runs apart; see `Swim`. */
  | { readonly type: 'swim'; readonly order: SwimOrder }
  /** Records that are no longer held: of authors long dead, and old tombstones. */
  | { readonly type: 'forgotten'; readonly records: readonly Record[] }
  | { readonly type: 'member'; readonly member: Member; readonly was: MemberState | null }
  /** Keep a long-lived connection to this neighbour, or let it go. */
  | { readonly type: 'connect'; readonly peer: HostId }
  | { readonly type: 'disconnect'; readonly peer: HostId }
  /** This host was shut out of the mesh: cut every connection with it, now. */
  | { readonly type: 'expel'; readonly peer: HostId }
  /** Something an operator should know, such as a writer who signed two records of one version. */
  | { readonly type: 'alarm'; readonly code: string; readonly subject: HostId; readonly detail: string };

/** Why a well-formed, well-signed record may not enter; `later` means it may once more is known. */
export interface Refusal {
  readonly code: string;
  readonly later: boolean;
}

/**
 * How strongly a policy record holds its slot, 0 or more, before any clock is compared: what is final stays,
 * whatever is written later. A function of the record alone, the same on all hosts.
 */
export type Finality = (record: Record) => number;

/** Declared here, answered by the agent: who may write what. Pure; may read the replica. */
export interface Authority {
  /** Null admits the record. Called after the signature was verified. */
  judge(record: Record, now: Millis): Refusal | null;
  /** Nothing is final unless this says so. */
  readonly finality?: Finality;
  /**
   * From when on a policy record may be forgotten, as far as it does not concern anybody any more; null for good.
   * A function of the record alone; from the full hour after it on, `judge` refuses the record.
   */
  readonly expiryOf?: (record: Record) => Millis | null;
}
