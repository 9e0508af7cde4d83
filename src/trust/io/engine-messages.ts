/** What the agent's thread and the thread of the threshold cryptography say to each other. */
import type { EngineOrder, EngineReport } from '../quorum/engine-port.ts';
import type { SecretShare } from '../quorum/held-shares.ts';
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
  /** Nothing was asked for a while. Answered by `rested` or `busy`; no order comes before the answer. */
  | { readonly type: 'rest' }
  | { readonly type: 'stop' };

export type FromEngineThread =
  /** What one order or deadline led to. */
  | { readonly type: 'reports'; readonly reports: readonly EngineReport[] }
  /** The thread ends: these are the secrets that it held. */
  | { readonly type: 'rested'; readonly secrets: readonly SecretShare[] }
  | { readonly type: 'busy' };
