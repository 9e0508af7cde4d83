/** The certificate authority of the mesh, as status pages, metrics, findings and operators see it from one host. */
import type { HostId, Millis, Signer } from '../../core.ts';
import type { RootState } from '../../trust/bundle.ts';
import type { ColdPlan } from '../../trust/epoch/descriptor.ts';
import type { IdentityStatus } from '../port.ts';
import type { ReadRecovery, Recover, RecoveryDrill } from './recovery-port.ts';

export interface CaRoot {
  readonly generation: number;
  readonly state: RootState;
  readonly active: boolean;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Since when it has signed; null before. */
  readonly activeSince: Millis | null;
  /** Names of hosts that keep it from its next turn: from signing, or from being retired. */
  readonly waitingFor: readonly string[];
}

export interface CaTrustee {
  readonly id: HostId;
  readonly name: string;
  readonly alive: boolean;
  readonly self: boolean;
}

/** A host that cheated or said nothing while shares were made, as this host saw it. */
export interface CaReproach {
  readonly id: HostId;
  readonly name: string;
  /** Until when it is given no seat, and others take the one it has; null while it was missed too seldom for that. */
  readonly until: Millis | null;
}

/** Another root of one generation, which hosts here do not believe and whose hosts do not believe those here. */
export interface CaSplit {
  readonly generation: number;
  /** Whether the operator's root, which stays, is the one here. */
  readonly isOurs: boolean;
  /** Names of hosts that hold the other and are here. */
  readonly holders: readonly string[];
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
  /** Shares of the key in force that are put away for a recovery, and when somebody last looked after them. */
  readonly cold: (ColdPlan & { readonly drill: RecoveryDrill | null }) | null;
  /** Known to trustees only, each by what it saw itself. */
  readonly reproached: readonly CaReproach[];
  /** Null while nobody is known to hold another root of any generation. */
  readonly split: CaSplit | null;
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

/** What was signed with the mesh's roots, as the logs of all trustees tell it. Answered with a `CaLog`. */
export interface ReadCaLog {
  readonly type: 'read-ca-log';
  /** Only what this host asked for, by name or id; null for everything. */
  readonly host: string | null;
}

/** Begins another issuance log on this host in the place of one that cannot be read. Answered with null. */
export interface ResetLog {
  readonly type: 'reset-log';
  readonly operator: Signer;
}

/** Has a signing request (DER) for a service that this host may be answered with a certificate, a `SignedChain`. */
export interface SignCsr {
  readonly type: 'sign-csr';
  readonly csr: Uint8Array;
  /** How long it is to last; null for as long as those of this host. */
  readonly ttlMs: number | null;
  /** The user of this host that asks; null for who owns the host, or may change the mesh. */
  readonly user: number | null;
}

export interface SignedChain {
  /** The host that answers for it. */
  readonly host: HostId;
  readonly spiffeId: string;
  /** Hex. */
  readonly serial: string;
  /** The certificate, then what links its root to the one before while that is believed. */
  readonly certPem: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Of the root that signed it. */
  readonly generation: number;
}

/** What this host answers later, for it asks others first. */
export type CaQuestion = ReadCaLog | ResetLog | SignCsr | ReadRecovery | Recover;

/** One signature, however many trustees took part in it. */
export interface CaLogEntry {
  /** SHA-256 of what was signed, hex. */
  readonly digest: string;
  /** A SPIFFE ID, or what else is certified or stated. */
  readonly subject: string;
  /** Hex; empty for what is no certificate. */
  readonly serial: string;
  /** 0 for what is no certificate. */
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** When the first of the witnesses took part, by its clock. */
  readonly at: Millis;
  readonly requester: HostId;
  readonly requesterName: string;
  /** Names of the trustees that have it in their logs. */
  readonly witnesses: readonly string[];
}

/** One trustee's log as it was read. */
export interface CaLogSource {
  readonly id: HostId;
  readonly name: string;
  /** The number of its last entry, by its signed head; null where no head was shown. */
  readonly sequence: number | null;
  /** How many entries were read, each bound to the next and the last to the head. */
  readonly entries: number;
  /** The number of the first of them: a log keeps its last 4,096. Null where none was read. */
  readonly from: number | null;
  /**
   * Why it was not read to its end, or is not what its trustee told before: see `LogWalk`. `left` and `denied` for a
   * trustee that is not asked, because it is out of the mesh. Null where all is well.
   */
  readonly problem: string | null;
}

/** A trustee that signed two heads which cannot be of one log, or that some host saw running twice. */
export interface CaLogAlarm {
  readonly id: HostId;
  readonly name: string;
  readonly detail: string;
  /** `encodeEquivocation`, hex: anybody can check it. Empty where it is one host's word. */
  readonly evidence: string;
}

export interface CaLog {
  /** The newest first. */
  readonly entries: readonly CaLogEntry[];
  readonly sources: readonly CaLogSource[];
  readonly alarms: readonly CaLogAlarm[];
}

export function isCaQuestion<T extends { readonly type: string }>(
  command: T,
): command is Extract<T, CaQuestion> {
  switch (command.type) {
    case 'read-ca-log':
    case 'reset-log':
    case 'sign-csr':
    case 'read-recovery':
    case 'recover':
      return true;
    default:
      return false;
  }
}
