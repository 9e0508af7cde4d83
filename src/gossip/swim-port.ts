/**
 * How the two halves of the gossip room talk. Membership runs apart from the rest, in production on a thread
 * of its own, so that a busy agent neither misses a probe nor takes its own delay for another's death.
 * Orders go to it, reports come back; both are plain data that survive a copy between threads.
 */
import type { HostId, Millis } from '../core.ts';
import type { Coordinate } from './coordinates/coordinate.ts';
import type { Digest, SwimFrame } from './frames.ts';
import type { MembershipStats } from './membership/membership-stats.ts';
import type { MemberState, MemberStatus } from './port.ts';

/** A datagram, or the connection between the two agents, which is there or is dialled. */
export type Via = 'datagram' | 'stream';

/** What membership is told by the rest of its agent. */
export type SwimOrder =
  /** Admitted to the mesh. */
  | { readonly type: 'add'; readonly id: HostId }
  /** The admission was taken back. */
  | { readonly type: 'remove'; readonly id: HostId }
  /** What a member said of itself in a record it signed; or, `departed`, what an operator did of it. */
  | {
      readonly type: 'lifecycle';
      readonly id: HostId;
      readonly state: 'active' | 'left' | 'departed';
      readonly incarnation: number;
    }
  /** Digest of this agent's replica, for its acks. */
  | { readonly type: 'root'; readonly root: Digest }
  /** This agent goes; it neither probes nor accuses nor refutes any more. */
  | { readonly type: 'leave' }
  /** It is back after having left at this incarnation. */
  | { readonly type: 'rejoin'; readonly leftAt: number }
  /** A frame that came over a connection instead of as a datagram. */
  | { readonly type: 'frame'; readonly from: HostId; readonly bytes: Uint8Array }
  /** What happened to connections; each is a hint, never a verdict. */
  | { readonly type: 'connected' | 'disconnected' | 'unreachable'; readonly peer: HostId };

/** What membership tells the rest of its agent. */
export type SwimReport =
  | { readonly type: 'member'; readonly member: MemberStatus; readonly was: MemberState | null }
  /** Keep a long-lived connection to this neighbour, or let it go. */
  | { readonly type: 'connect' | 'disconnect'; readonly peer: HostId }
  /** A member said what its replica's digest is. Only told when it differs, and once when it no longer does. */
  | { readonly type: 'root'; readonly peer: HostId; readonly root: Digest }
  /** A member answered: the smoothed round trip to it, milliseconds, its incarnation, and what its clock says. */
  | {
      readonly type: 'measured';
      readonly id: HostId;
      readonly roundTripMs: number;
      readonly incarnation: number;
      /** How far its clock is ahead of this agent's. */
      readonly clockAheadMs: number;
    }
  /** A member says that it is elsewhere than last told, by more than matters; or this agent itself is. */
  | { readonly type: 'coordinate'; readonly id: HostId; readonly coordinate: Coordinate }
  /** This agent's own incarnation rose. */
  | { readonly type: 'incarnation'; readonly incarnation: number }
  | { readonly type: 'stats'; readonly stats: SwimStats }
  /** Send it over the connection to `to`. */
  | { readonly type: 'frame'; readonly to: HostId; readonly bytes: Uint8Array };

export interface SwimStats extends Readonly<MembershipStats> {
  /** 0 is well; see `LocalHealth`. */
  readonly localHealth: number;
  /** Members that keep answering over connections only, some of them if there are many; see `Detours`. */
  readonly withoutDatagrams: readonly HostId[];
  /** Members that answer others, and never this agent; see `Detours`. */
  readonly throughHelpers: readonly HostId[];
  /** Members that say of the living that they are down; see `Claims`. */
  readonly discredited: readonly HostId[];
}

export type SwimInput =
  | { readonly type: 'wake' }
  /** One whole frame from an authenticated, admitted peer. */
  | { readonly type: 'datagram'; readonly from: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'order'; readonly order: SwimOrder };

export type SwimEffect =
  | { readonly type: 'datagram'; readonly to: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'report'; readonly report: SwimReport };

export type MembershipInput =
  | { readonly type: 'wake' }
  | { readonly type: 'frame'; readonly from: HostId; readonly frame: SwimFrame; readonly via: Via }
  | { readonly type: 'connected' | 'disconnected' | 'unreachable'; readonly peer: HostId };

export type MembershipEffect =
  | { readonly type: 'send'; readonly to: HostId; readonly frame: SwimFrame; readonly via: Via }
  | Extract<SwimReport, { type: 'member' | 'connect' | 'disconnect' | 'root' | 'measured' | 'coordinate' }>;

/** When a stats report follows the last one at the earliest. */
export const statsEveryMs: Millis = 1000;
