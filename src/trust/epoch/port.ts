/** What the epoch agreement takes in, what it asks of its driver, and how long it waits for what. */
import type { HostId, Millis, Random, Signer, Verify } from '../../core.ts';
import type { Refounding } from './chain.ts';
import type { CryptoOrder, CryptoReport, ShareName } from './crypto-port.ts';
import type { EpochDescriptor } from './descriptor.ts';
import type { TrusteePolicy } from './policy.ts';
import type { RecoveryOrder } from './recovery.ts';
import type { TrusteeView } from './rules.ts';

export type EpochInput =
  | { readonly type: 'wake' }
  /** One whole message; `from` is the key that the channel proved. One sent to oneself comes back so too. */
  | { readonly type: 'message'; readonly from: HostId; readonly bytes: Uint8Array }
  /** What this host sees now; replaces what it saw before. */
  | { readonly type: 'view'; readonly view: TrusteeView }
  | { readonly type: 'crypto'; readonly report: CryptoReport }
  /** An epoch record from anywhere, such as the replica; it proves itself. */
  | { readonly type: 'record'; readonly bytes: Uint8Array }
  /** The keys of these generations have nothing left to sign: their shares may go. */
  | { readonly type: 'spent'; readonly generations: readonly number[] }
  /** Too few trustees are left: carry this through. Answered by what `EpochAgreement.status` says. */
  | { readonly type: 'recover'; readonly order: RecoveryOrder };

export type EpochStoreOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

/** To be kept encrypted under a key of its own, in a file that can be overwritten and unlinked. */
export interface SecretToKeep {
  readonly name: ShareName;
  readonly bytes: Uint8Array;
}

export type EpochEffect =
  /** May be lost. `to` may be this host itself: feed it back as an input. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  /**
   * Write the secrets, then all `ops` at once; only when both are durable release `then`, in order. Persists are
   * carried out in the order they came. What is in `then` may be lost in a crash, but nothing else of it.
   */
  | {
      readonly type: 'persist';
      readonly ops: readonly EpochStoreOp[];
      readonly secrets: readonly SecretToKeep[];
      readonly sync: true;
      readonly then: readonly EpochEffect[];
    }
  /** Overwrite and unlink these secrets. Nothing durable names them any more. */
  | { readonly type: 'shred'; readonly names: readonly ShareName[] }
  | { readonly type: 'crypto'; readonly order: CryptoOrder }
  /** Let everybody know of the epoch in force, by gossip. */
  | { readonly type: 'publish'; readonly epoch: number; readonly bytes: Uint8Array }
  /** Let everybody know that this host stands by a new root: more than half of all hosts put it into force. */
  | { readonly type: 'stand'; readonly epoch: number; readonly hash: string }
  /**
   * This epoch is in force here, durably; `share` is this host's part of its key. Comes at the start, with each
   * new epoch, and once more when a late share arrives.
   */
  | { readonly type: 'entered'; readonly descriptor: EpochDescriptor; readonly share: ShareName | null }
  /**
   * Something an operator should know. `malformed`, `unjustified`, `not-a-successor`, `epoch-forged`,
   * `epoch-forked`: what `subject` sent; `blamed`: it broke the cryptography's protocol; `silent`: it is here, and
   * said nothing in several dealings; `root-split`: some hosts believe another root of this generation;
   * `share-lost`: the store of secrets of this host lost a share; other trustees will give it a new one.
   */
  | { readonly type: 'alarm'; readonly code: string; readonly subject: HostId; readonly detail: string };

export interface EpochTimings {
  /** What was not answered is sent again after this long. */
  readonly resendMs: Millis;
  /** How long a leader waits for promises, for votes, for acceptances: each. */
  readonly roundMs: Millis;
  /** How long the making of shares may take. */
  readonly dealMs: Millis;
  /** How much longer a leader waits for the last shares once there are enough. */
  readonly graceMs: Millis;
  readonly signMs: Millis;
  /** How long a trustee lets one leader finish before it follows another. */
  readonly leaseMs: Millis;
  /**
   * How long whoever was promised a ballot has to show that a quorum follows it: a round trip and some. All others
   * together must not be able to fill `roundMs` with it at every trustee in turn.
   */
  readonly holdMs: Millis;
  /** Who is told to wait longer asks again after this all the same: the one that is waited for may be gone by then. */
  readonly busyMs: Millis;
  /** Between the first attempts of one trustee and the next in the order of seats. */
  readonly staggerMs: Millis;
  /** The longest pause between attempts that failed; the first is a second or two. */
  readonly maxPauseMs: Millis;
  /** How often it is considered whether something is to change, and, by those who expect one, asked for a record. */
  readonly reviewMs: Millis;
}

export const defaultTimings: EpochTimings = {
  resendMs: 1000,
  roundMs: 5000,
  dealMs: 20_000,
  graceMs: 2000,
  signMs: 10_000,
  leaseMs: 30_000,
  holdMs: 400,
  busyMs: 5000,
  staggerMs: 3000,
  maxPauseMs: 30_000,
  reviewMs: 5000,
};

export interface EpochOptions {
  /** This host's key. */
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  /** Epoch 0, which everybody computes from the genesis (`genesisEpoch`). */
  readonly genesis: EpochDescriptor;
  readonly policy: TrusteePolicy;
  /** Absent where no new root is ever believed but by the word of the one before. */
  readonly refounding?: Refounding;
  readonly timings: EpochTimings;
  /** What the store held under `epochPrefix`, in any order. */
  readonly saved: Iterable<readonly [key: string, value: Uint8Array]>;
  /** Which secrets the store of secrets held; `genesisShare` where this host holds the genesis root. */
  readonly secrets: Iterable<ShareName>;
  /**
   * Follows the chain and takes no other part, whatever seat it has: for a host that does not know any more what it
   * promised. It takes up what is whole of the chain and nothing else, and writes nothing, so that it knows of its
   * loss at the next start too.
   */
  readonly withdrawn?: boolean;
}

/** Every key the agreement writes to the store begins with this. */
export const epochPrefix = 'epoch/';
