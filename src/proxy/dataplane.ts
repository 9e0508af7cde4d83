/** The interface between the agent and whatever carries traffic on this host. */
import type { ProxyConfig } from './config.ts';

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

/** One row of traffic counters; all counts since the data plane started. */
export interface TrafficRow {
  /** `source`: counted where the caller is; `destination`: counted where the callee is. */
  readonly reporter: 'source' | 'destination';
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'http' | 'tcp';
  /** HTTP requests by status class (index 1 to 5; 0 is unused); TCP connections at index 2. */
  readonly byClass: readonly number[];
  readonly refused: Readonly<Partial<{ [reason in RefusalReason]: number }>>;
  /** Which rule denied, how often. */
  readonly deniedBy: Readonly<{ [rule: string]: number }>;
  readonly retries: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Cumulative histogram of request durations over `latencyBoundsMs`, then the sum in milliseconds. */
  readonly latencyBuckets: readonly number[];
  readonly latencySumMs: number;
}

export const latencyBoundsMs: readonly number[] = [
  0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
];

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
}

export interface DataPlane {
  /**
   * Swaps the configuration atomically: requests under way finish under the old one, new ones see the new
   * one. Resolves when every listener of the new configuration accepts or has failed (see `stats`).
   */
  apply(config: ProxyConfig): Promise<void>;
  stats(): DataPlaneStats;
  /** Stops accepting, lets requests under way finish for at most `graceMs`, then cuts. */
  close(graceMs: number): Promise<void>;
}
