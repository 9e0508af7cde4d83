/** What the embedded data plane is given from outside. */
import type { HostId, Millis, Random } from '../../core.ts';
import type { EngineContext } from '../engine.ts';
import type { TrafficTable } from '../observe/traffic.ts';
import type { Peers } from './peers.ts';
import type { QuietLog } from './quiet-log.ts';
import type { Violations } from './violations.ts';

/** Who a peer is, by the DER of its leaf certificate whose chain was verified already. */
export type VerifyPeer = (der: Uint8Array) => VerifiedPeer | { readonly problem: string };

export interface VerifiedPeer {
  readonly spiffeId: string;
  readonly service: string;
  /** The host that the certificate was issued to, and its serial number, hex. */
  readonly host: HostId;
  readonly serial: string;
}

export type Log = (
  level: 'info' | 'warn' | 'error',
  event: string,
  fields: Readonly<{ [key: string]: unknown }>,
) => void;

/** The two ends of a connection as the system names them. */
export interface SocketEnds {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** Tells which uid owns the socket with these ends; null when it cannot be found. */
export type UidOfSocket = (ends: SocketEnds, done: (uid: number | null) => void) => void;

export interface DataPlaneOptions {
  /** May be fractional: request durations are measured with it. */
  now(): Millis;
  readonly random: Random;
  readonly verifyPeer: VerifyPeer;
  readonly log: Log;
  /** Other threads of this process bind the same ports, and the kernel spreads connections over them. */
  readonly sharesPorts?: boolean;
  /** Replaces the look into `/proc/net/tcp`. */
  readonly uidOfSocket?: UidOfSocket;
}

/** What the parts of one data plane share. */
export interface Plane {
  readonly context: EngineContext;
  readonly traffic: TrafficTable;
  readonly peers: Peers;
  readonly violations: Violations;
  readonly log: Log;
  /** For what others may bring about as often as they like. */
  readonly quietLog: QuietLog;
  readonly sharesPorts: boolean;
  readonly uidOfSocket: UidOfSocket;
}
