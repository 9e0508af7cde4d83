/** What the agent's thread and the membership thread say to each other. Plain data: it is copied. */
import type { HostId, Millis } from '../../core.ts';
import type { Digest } from '../frames.ts';
import type { SwimParameters } from '../parameters.ts';
import type { SwimOrder, SwimReport } from '../swim-port.ts';

/** Given to the membership thread at its start. */
export interface SwimThreadData {
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  /** The hash of the mesh's genesis. */
  readonly mesh: Uint8Array;
  readonly epoch: number;
  readonly root: Digest;
  readonly bind: string;
  readonly port: number;
  readonly parameters: SwimParameters;
  readonly patience: Patience;
}

/** How the membership thread watches over the agent's own. */
export interface Patience {
  /** How often it looks for a sign of life, and asks for one. */
  readonly tickMs: Millis;
  /** Ticks in a row without one after which this host falls silent. */
  readonly ticks: number;
}

export const defaultPatience: Patience = { tickMs: 1000, ticks: 10 };

/** Where datagrams for a host go. */
export interface Location {
  readonly type: 'locate';
  readonly host: HostId;
  readonly address: string;
  readonly port: number;
}

export type ToSwimThread =
  | { readonly type: 'orders'; readonly orders: readonly (SwimOrder | Location)[] }
  | { readonly type: 'join-reply'; readonly exchange: number; readonly payload: Uint8Array }
  /** For a host that may take this one for a stranger: each in a datagram of its own. */
  | { readonly type: 'introduce'; readonly to: HostId; readonly introductions: readonly Uint8Array[] }
  /** The agent's thread has taken in one `reports`. */
  | { readonly type: 'taken' }
  | { readonly type: 'stop' };

export type FromSwimThread =
  /** Once, first: the thread is bound, or will end. */
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | {
      readonly type: 'reports';
      readonly reports: readonly SwimReport[];
      readonly counters: DatagramCounters;
      readonly health: ThreadHealth;
    }
  | { readonly type: 'join'; readonly exchange: number; readonly payload: Uint8Array }
  | { readonly type: 'introduction'; readonly payload: Uint8Array };

/** How the membership thread fares. */
export interface ThreadHealth {
  /** How late its timers fired, milliseconds: the worst of the last minute or two. */
  readonly lagMs: number;
  /** Reports that waited for the agent's thread when last looked at. */
  readonly waitingReports: number;
}

/** All since start. */
export interface DatagramCounters {
  sent: number;
  received: number;
  bytesSent: number;
  bytesReceived: number;
  /** No address known, or no key to seal with. */
  unsendable: number;
  sendErrors: number;
  malformed: number;
  stranger: number;
  forged: number;
  replayed: number;
  /** While the agent's own thread was stuck, and this host had to look dead. */
  muted: number;
  /** Frames for connections that the agent's thread was too slow to take. */
  reportsDropped: number;
  joinRequests: number;
  introductions: number;
  joinReplies: number;
  joinsDropped: number;
  /** Neither a sealed datagram nor a join request or an introduction. */
  joinsMalformed: number;
}

export function noDatagramCounters(): DatagramCounters {
  return {
    sent: 0,
    received: 0,
    bytesSent: 0,
    bytesReceived: 0,
    unsendable: 0,
    sendErrors: 0,
    malformed: 0,
    stranger: 0,
    forged: 0,
    replayed: 0,
    muted: 0,
    reportsDropped: 0,
    joinRequests: 0,
    introductions: 0,
    joinReplies: 0,
    joinsDropped: 0,
    joinsMalformed: 0,
  };
}
