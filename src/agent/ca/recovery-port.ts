/** Shares of the root that are put away, and the recovery by them, as operators see it from one host. */
import type { Millis, Signer } from '../../core.ts';

/** What can be done now, if anything. */
export interface RecoveryOutlook {
  /** The encoded plan, base64; null where `refusal` says why there is none. */
  readonly plan: string | null;
  readonly refusal: { readonly code: string; readonly message: string } | null;
  /** Names of the hosts that would hold the root, and of the trustees that are lost. */
  readonly hosts: readonly string[];
  readonly lost: readonly string[];
}

/**
 * What `read-recovery` answers: all that the holder of the recovery key needs to look after it and to use it. The
 * outlook is that for the same root.
 */
export interface RecoveryStatus extends RecoveryOutlook {
  readonly trustDomain: string;
  readonly epoch: number;
  /** The descriptor of the epoch in force, base64: what is sealed is in it. */
  readonly descriptor: string;
  /** The key that shares of this epoch are sealed for, and how many are; null for none. */
  readonly cold: { readonly key: string; readonly seats: number } | null;
  /** The key that an operator wants them to be sealed for from the next epoch on; null for none. */
  readonly wanted: string | null;
  readonly drill: RecoveryDrill | null;
  /** That for a new root, which the first operator and more than half of all hosts put in the place of a lost one. */
  readonly newRoot: RecoveryOutlook;
}

/** The last time that somebody looked whether the cold shares are what they should be. */
export interface RecoveryDrill {
  readonly epoch: number;
  readonly at: Millis;
}

/** Answered with a `RecoveryStatus`. */
export interface ReadRecovery {
  readonly type: 'read-recovery';
}

/** Has shares sealed for another key from the next epoch on; `key` null for none. Answered with null. */
export interface SetRecoveryKey {
  readonly type: 'set-recovery-key';
  readonly key: string | null;
  /** At most so many shares; null for half of those who must sign. */
  readonly seats: number | null;
  readonly operator: Signer;
}

/** Tells the mesh that the shares of this epoch were looked after. Answered with null. */
export interface NoteDrill {
  readonly type: 'note-drill';
  readonly epoch: number;
  readonly operator: Signer;
}

/** Carries through what the holder of the recovery key has planned and dealt. Answered with null once begun. */
export interface Recover {
  readonly type: 'recover';
  /** The encoded plan. For a new root it is all there is: the operator signs it. */
  readonly plan: Uint8Array;
  readonly signature: Uint8Array;
  readonly dealing: Uint8Array;
  /** By host id. */
  readonly shares: ReadonlyMap<string, Uint8Array>;
  readonly operator: Signer;
}
