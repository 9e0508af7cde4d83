/** One run of a protocol of the threshold cryptography on one host, and what all kinds of them are made from. */
import type { HostId, Millis, Signer, Verify } from '../../core.ts';
import type { Agree } from '../frost/key-agreement.ts';
import type { EngineReport } from './engine-port.ts';

/** Takes nothing amiss: what another sends is taken in, ignored, or held against it, but never throws. */
export interface Run {
  start(now: Millis): readonly EngineReport[];
  /** `from` is who the channel proved. */
  deliver(from: HostId, bytes: Uint8Array, now: Millis): readonly EngineReport[];
  /** The share that was reported is durable; others are to be told so, with this receipt. */
  kept(receipt: Uint8Array, now: Millis): readonly EngineReport[];
  wake(now: Millis): readonly EngineReport[];
  /** Nothing of it is needed any more: its secrets are overwritten. */
  end?(now: Millis): void;
  nextWake(): Millis | null;
}

export interface EngineTimings {
  /** How long a dealing may take. The agreement ends it before: this is for when it does not. */
  readonly dealMs: Millis;
  /**
   * How long it should take: whoever was not heard by then is told of. Less than its leader waits, so that all who
   * take part have seen it before another dealing takes this one's place.
   */
  readonly missMs: Millis;
  /** How long the coordinator of a signature waits for enough trustees to be there. */
  readonly gatherMs: Millis;
  /** How long a trustee that is there may take for each of its two answers. */
  readonly answerMs: Millis;
}

/** Gathering, and then one trustee that falls silent, fit into the time the agreement gives a signature. */
export const defaultEngineTimings: EngineTimings = {
  dealMs: 60_000,
  missMs: 15_000,
  gatherMs: 8000,
  answerMs: 3000,
};

export interface EngineOptions {
  /** This host's key: signs what it says in dealings. */
  readonly signer: Signer;
  readonly verify: Verify;
  /** As many fresh random bytes, from a source fit for keys. They are overwritten once used. */
  readonly entropy: (bytes: number) => Uint8Array;
  /** Opens what is sealed for this host's key; absent where nothing ever is. */
  readonly agree?: Agree;
  readonly trustDomain: string;
  /** 16 random bytes of hex, drawn anew whenever the process starts. */
  readonly bootId: string;
  /** How many nonces engines before this one named under the same boot id. */
  readonly nonceCount?: number;
  readonly timings: EngineTimings;
}
