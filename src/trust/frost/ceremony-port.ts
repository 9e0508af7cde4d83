/** What one party of a dealing ceremony is given at the start, what it is told, and what it says. */
import type { Fault, HostId, Millis, Signer, Verify } from '../../core.ts';
import type { Ceremony } from './ceremony.ts';
import type { ColdBlocks } from './cold.ts';
import type { Blame } from './evidence.ts';
import type { GroupKey, KeyShare } from './keys.ts';
import type { Seat } from './polynomial.ts';

export type CeremonyInput =
  | { readonly type: 'start' }
  | { readonly type: 'message'; readonly bytes: Uint8Array }
  /** What the `persist` effect asked for is on disk. `receipt`: told to all with that, at most `maxReceiptBytes`. */
  | { readonly type: 'persisted'; readonly receipt: Uint8Array }
  | { readonly type: 'wake' }
  /** Nobody needs it any more. */
  | { readonly type: 'end' };

/**
 * Something that this party did not hear in time. An answer is missed by all but by those that had it; an accept of
 * one that no dealer owes anything. No proof.
 */
export interface Absence {
  readonly host: HostId;
  readonly of: 'dealing' | 'share' | 'answer' | 'accept';
}

export type CeremonyEffect =
  /** To every other host that takes part. */
  | { readonly type: 'broadcast'; readonly bytes: Uint8Array }
  /** Secret: over a channel that is encrypted and authenticated to that host, and nowhere else. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  /** To be durable before `persisted` is fed: others will count on this share. */
  | {
      readonly type: 'persist';
      readonly group: GroupKey;
      readonly share: KeyShare;
      /** What the dealers sealed for the cold seats of the group. */
      readonly cold: ColdBlocks;
    }
  /**
   * A quorum holds shares, as far as was heard here: whether others heard so too, and which key counts, is
   * agreed elsewhere. `share` is null for a dealer that receives nothing.
   */
  | {
      readonly type: 'done';
      readonly group: GroupKey;
      readonly share: KeyShare | null;
      readonly acceptedBy: readonly Seat[];
    }
  /** Another holds a share, and its receipt is this. */
  | { readonly type: 'accepted'; readonly host: HostId; readonly receipt: Uint8Array }
  /** It is over without a key: what was persisted is to be destroyed. */
  | { readonly type: 'failed'; readonly blame: Blame | null; readonly absences: readonly Absence[] }
  /** Whom it has not heard to the end within the time that it should take, if anybody. It goes on: they may be late. */
  | { readonly type: 'unheard'; readonly absences: readonly Absence[] }
  /** Somebody was convicted after it was done. */
  | { readonly type: 'blamed'; readonly blame: Blame }
  /** A message that proves nothing against anybody and was not taken in. */
  | { readonly type: 'dropped'; readonly fault: Fault };

export interface CeremonySetup {
  readonly ceremony: Ceremony;
  /** Of a host that takes part. */
  readonly signer: Signer;
  readonly verify: Verify;
  /** Of the previous group, for a dealer of a resharing; else null. */
  readonly share: KeyShare | null;
  /**
   * `dealingEntropyBytes` fresh random bytes for a dealer, which are overwritten; not read for others. A dealer
   * that loses its machine stays away from the session: dealing in it once more would be equivocation.
   */
  readonly entropy: Uint8Array;
  /**
   * `answerSeedBytes` fresh random bytes, for what is asked for and given in public. Overwritten at the end, and by who
   * deals nothing once it has its share.
   */
  readonly answerSeed: Uint8Array;
  readonly startedAt: Millis;
  /** After this long a receiver says what it lacks; and no sooner than after `claimLeastMs`, once another does. */
  readonly claimAfterMs: number;
  readonly claimLeastMs: number;
  /** Who claims later than this has no excuse: there would be no time to answer. */
  readonly heedUntilMs: number;
  /** Who deals or answers later than this is missed: there would be no time for what others have to say then. */
  readonly answerUntilMs: number;
  /** After this long it is said who was not heard. The last of these. */
  readonly tellAfterMs: number;
  /** After this long it is over. */
  readonly deadlineMs: number;
}
