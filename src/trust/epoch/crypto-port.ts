/**
 * What the agreement asks of the threshold cryptography, as data: orders out, reports in. Key generation takes
 * hundreds of milliseconds, so whoever carries it out does so beside the main thread and answers later.
 */
import type { HostId } from '../../core.ts';
import type { EpochDescriptor, EpochPlan } from './descriptor.ts';

/** A share by the name under which it was to be kept: the session that made it, or `genesisShare`. */
export type ShareName = string;

/** The founder's: the genesis root, whole. */
export const genesisShare: ShareName = 'genesis';

/**
 * One run of a protocol of the cryptography among some hosts. Seats, where it counts in seats, follow from the
 * plan: the place of a host in `trustees`, of an old one in those of `from`.
 */
export type CryptoSession =
  /** A new key, dealt by the plan's trustees to themselves. */
  | { readonly kind: 'generate'; readonly id: string; readonly plan: EpochPlan }
  /** The key of `from` in new shares. `share`: this host's share of `from`; null where it only receives. */
  | {
      readonly kind: 'reshare';
      readonly id: string;
      readonly plan: EpochPlan;
      readonly from: EpochDescriptor;
      readonly share: ShareName | null;
      /** In a recovery, what the holder of the cold seats has dealt; else null. */
      readonly coldDealing: ColdDealing | null;
    }
  /**
   * A signature over `message` by any `from.plan.threshold` trustees of `from`, whoever answers the
   * coordinator first. `share` is null where this host coordinates without having one.
   */
  | {
      readonly kind: 'sign';
      readonly id: string;
      readonly from: EpochDescriptor;
      readonly share: ShareName | null;
      readonly coordinator: HostId;
      readonly message: Uint8Array;
    };

/** One in which shares are made. */
export type DealingSession = Extract<CryptoSession, { kind: 'generate' | 'reshare' }>;

/** What the holder of an epoch's cold seats deals in a recovery, for one who takes part. Opaque to the agreement. */
export interface ColdDealing {
  readonly dealing: Uint8Array;
  /** Sealed for the key of the host that gets it; empty for one that receives no share. */
  readonly share: Uint8Array;
}

export type CryptoOrder =
  /** Comes once for a session, ever: a host that crashes in one does not deal twice in it, but stays away. */
  | { readonly type: 'begin'; readonly session: CryptoSession }
  /** A message of another participant; in the order it was sent, each once. The channel proved `from`. */
  | { readonly type: 'deliver'; readonly session: string; readonly from: HostId; readonly bytes: Uint8Array }
  /**
   * The share that was reported as `established` is durable: others may be told that they can count on it. `receipt` is
   * told them with that, in one message, so that nobody gives the one without the other; at most 256 bytes.
   */
  | { readonly type: 'kept'; readonly session: string; readonly receipt: Uint8Array }
  /** Wipe everything of the session. Comes for every session begun, but not for any that a crash ended. */
  | { readonly type: 'end'; readonly session: string };

export type CryptoReport =
  /** To another participant (never to itself); at most `maxRelayBytes`, and `maxRelaySequence` to each. */
  | { readonly type: 'send'; readonly session: string; readonly to: HostId; readonly bytes: Uint8Array }
  /**
   * This host has its share. `outcome` and `rootKey` are the same at every receiver or the session is worth
   * nothing: they are functions of the transcript. `secret` goes to the store of secrets, nowhere else.
   */
  | {
      readonly type: 'established';
      readonly session: string;
      readonly rootKey: string;
      readonly outcome: Uint8Array;
      readonly secret: Uint8Array;
    }
  /** At the coordinator: the signature, verified. */
  | { readonly type: 'signed'; readonly session: string; readonly signature: Uint8Array }
  /** Another says that its share is durable. Of the receipt it was only seen that the host signed it. */
  | {
      readonly type: 'accepted';
      readonly session: string;
      readonly host: HostId;
      readonly receipt: Uint8Array;
    }
  /**
   * A dealing has taken as long as it should, and these others have not said to this host all that they should have;
   * perhaps none.
   */
  | { readonly type: 'unheard'; readonly session: string; readonly hosts: readonly HostId[] }
  /** Somebody broke the protocol, provably, after this host had its part of it. It goes on. */
  | { readonly type: 'blamed'; readonly session: string; readonly host: HostId; readonly detail: string }
  /** It cannot succeed here. `blamed` broke the protocol, provably; may be empty. */
  | {
      readonly type: 'failed';
      readonly session: string;
      readonly blamed: readonly HostId[];
      readonly detail: string;
    };

/** The carrier of orders, synchronous in a simulation, behind a worker thread in an agent. */
export interface EpochCrypto {
  order(order: CryptoOrder): readonly CryptoReport[];
}
