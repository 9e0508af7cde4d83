/** What the agent's thread and a data plane in a thread of its own tell one another. */
import type { ProxyConfig } from '../config.ts';
import type { DataPlaneStats } from '../dataplane.ts';
import type { TapEvent, TapFilter } from '../observe/tap.ts';

export type ToWorker =
  | { readonly type: 'apply'; readonly request: number; readonly config: ProxyConfig }
  | { readonly type: 'refresh'; readonly request: number }
  | { readonly type: 'tap'; readonly tap: number; readonly filter: TapFilter }
  | { readonly type: 'untap'; readonly tap: number }
  /** `takenTogether` tapped requests more have arrived. */
  | { readonly type: 'taken' }
  | { readonly type: 'close'; readonly request: number; readonly graceMs: number };

export type FromWorker =
  /** What was asked for is done; `problem` says why not. */
  | { readonly type: 'done'; readonly request: number; readonly problem: string | null }
  | { readonly type: 'stats'; readonly stats: DataPlaneStats }
  | { readonly type: 'tapped'; readonly tap: number; readonly event: TapEvent }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly event: string;
      readonly fields: Readonly<{ [key: string]: unknown }>;
    };
