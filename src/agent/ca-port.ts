/** The certificate authority of the mesh, as status pages, metrics, findings and operators see it from one host. */
import type { HostId, Millis, Signer } from '../core.ts';
import type { RootState } from '../trust/bundle.ts';
import type { IdentityStatus } from './port.ts';

export interface CaRoot {
  readonly generation: number;
  readonly state: RootState;
  readonly active: boolean;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Since when it has signed; null before. */
  readonly activeSince: Millis | null;
  /** Names of live hosts that keep it from its next turn: from signing, or from being retired. */
  readonly waitingFor: readonly string[];
}

export interface CaTrustee {
  readonly id: HostId;
  readonly name: string;
  readonly alive: boolean;
  readonly self: boolean;
}

/**
 * How far the replacement of a root is. `asked`: its key is not made yet. `introducing`: its key is made, and it
 * signs once every live host believes it. `retiring`: it signs, and an older one is believed still.
 */
export type RotationState = 'none' | 'asked' | 'introducing' | 'retiring';

export interface CaStatus {
  readonly trustDomain: string;
  /** Every root there ever was, by generation. */
  readonly roots: readonly CaRoot[];
  /** The epoch in force: its number, and the generation of the root that its trustees hold. */
  readonly epoch: number;
  readonly generation: number;
  /** So many of the trustees sign together. */
  readonly threshold: number;
  /** In the order of their seats. */
  readonly trustees: readonly CaTrustee[];
  readonly alive: number;
  /** Whether enough of them are here to sign. */
  readonly quorum: boolean;
  readonly isTrustee: boolean;
  /** Whether this host has a share of the key in force; a trustee that has none is given one by the others. */
  readonly holdsShare: boolean;
  readonly rotation: RotationState;
  /** Why a root waits for its next turn, or why the last attempt to turn it failed; known to trustees only. */
  readonly waiting: string | null;
  /** Why this host's last attempt to change the trustees came to nothing. */
  readonly lastFailure: string | null;
  readonly identities: readonly IdentityStatus[];
}

/** Has the trustees replace the active root. Answered with a `RootRotation`. */
export interface RotateRoot {
  readonly type: 'rotate-root';
  readonly operator: Signer;
}

/** What `rotate-root` answers. */
export interface RootRotation {
  /** The root that is to be replaced, and the one that will be in its place. */
  readonly generation: number;
  readonly next: number;
  readonly threshold: number;
  /** Names. */
  readonly trustees: readonly string[];
  /** Trustees that are not here now. */
  readonly absent: readonly string[];
}
