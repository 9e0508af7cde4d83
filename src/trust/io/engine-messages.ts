/** What the agent's thread and the thread of the threshold cryptography say to each other. */
import type { EngineEstate } from '../quorum/engine.ts';
import type { EngineOrder, EngineReport } from '../quorum/engine-port.ts';
import type { EngineTimings } from '../quorum/run.ts';

/** Given to the thread at each of its starts. */
export interface EngineThreadData {
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  readonly trustDomain: string;
  readonly timings: EngineTimings;
  /** Of the process, not of the thread: by it others tell a trustee that runs twice from one that rested. */
  readonly bootId: string;
  /** Nonces that threads before this one named under it. */
  readonly nonceCount: number;
}

export type ToEngineThread =
  | { readonly type: 'order'; readonly order: EngineOrder }
  /** Nothing was asked for a while. Answered by `rested` or `busy`; no order comes before the answer. */
  | { readonly type: 'rest' }
  | { readonly type: 'stop' };

export type FromEngineThread =
  /** What one order or deadline led to. */
  | { readonly type: 'reports'; readonly reports: readonly EngineReport[] }
  /** The thread ends: this is what it leaves. */
  | { readonly type: 'rested'; readonly estate: EngineEstate }
  | { readonly type: 'busy' };
