/** What the agent's thread and the thread of the threshold cryptography say to each other. */
import type { EngineOrder, EngineReport } from '../quorum/engine-port.ts';
import type { EngineTimings } from '../quorum/run.ts';

/** Given to the thread at its start. */
export interface EngineThreadData {
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  readonly trustDomain: string;
  readonly timings: EngineTimings;
}

export type ToEngineThread =
  | { readonly type: 'order'; readonly order: EngineOrder }
  | { readonly type: 'stop' };

/** What one order or deadline led to. */
export interface FromEngineThread {
  readonly reports: readonly EngineReport[];
}
