/**
 * What the engine of threshold cryptography is told and what it says. It alone holds shares of root keys and
 * the nonces promised with them, beside the main thread in an agent, in line in a simulation.
 */
import type { HostId } from '../../core.ts';
import type { CryptoOrder, CryptoReport, ShareName } from '../epoch/crypto-port.ts';

export type EngineOrder =
  | CryptoOrder
  /** A secret from the store, once at the start for each; later ones the engine has made itself. */
  | { readonly type: 'hold'; readonly name: ShareName; readonly secret: Uint8Array }
  /** Wipe these: their files are unlinked. */
  | { readonly type: 'forget'; readonly names: readonly ShareName[] }
  /** Promise a pair of nonces to `requester`. Answered by `offered` or `declined`. */
  | {
      readonly type: 'offer';
      readonly exchange: number;
      readonly requester: HostId;
      readonly share: ShareName;
    }
  /**
   * Sign `message` with the promised nonces, which are gone whatever comes of it. Comes once what the signature
   * says was approved and is durable. Answered by `contributed` or `declined`.
   */
  | {
      readonly type: 'contribute';
      readonly exchange: number;
      readonly requester: HostId;
      readonly share: ShareName;
      readonly nonceId: string;
      readonly commitments: Uint8Array;
      readonly message: Uint8Array;
    };

export type EngineReport =
  | CryptoReport
  | {
      readonly type: 'offered';
      readonly exchange: number;
      readonly nonceId: string;
      readonly commitment: Uint8Array;
    }
  /** A signature share; of the genesis key, which one host holds whole, the signature. */
  | { readonly type: 'contributed'; readonly exchange: number; readonly share: Uint8Array }
  /** `share-unknown`, `nonce-quota`, `nonces-exhausted`, `nonce-unknown`, or what is wrong with the request. */
  | {
      readonly type: 'declined';
      readonly exchange: number;
      readonly code: string;
      readonly detail: string;
    };
