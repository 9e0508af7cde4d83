/** What trust needs to know of a replicated record, and how it says no. Declared here, supplied by the agent. */
import type { HostId, Millis } from '../core.ts';

/** One signed statement whose signature by `author` was already verified. */
export interface SignedStatement {
  /** `host`: about its author, written by it alone. `policy`: about the mesh, written by operators. */
  readonly scope: 'host' | 'policy';
  readonly author: HostId;
  readonly kind: string;
  readonly key: string;
  /** Hybrid logical clock: milliseconds since the epoch times 1024, plus a counter. */
  readonly hlc: number;
  readonly deleted: boolean;
  /** JSON; empty where `deleted`. */
  readonly value: Uint8Array;
}

/** Why a well-formed statement may not enter; `later` means that it may once more is known. */
export interface Refusal {
  /** Stable kebab-case. */
  readonly code: string;
  readonly later: boolean;
  readonly message: string;
}

export const admissionKind = 'admission';
export const grantKind = 'grant';
export const denialKind = 'deny';
export const trustRootKind = 'trust-root';

/** How far clocks of honest hosts may be apart, either way. */
export const clockSkewMs: number = 2 * 60_000;

/** The wall-clock part of a hybrid logical clock. */
export function wallClock(hlc: number): Millis {
  return Math.floor(hlc / 1024);
}

export function refuse(code: string, message: string, later = false): Refusal {
  return { code, later, message };
}
