/**
 * The key of a root that one host holds whole, and is to forget: whoever signs with it refers to it through this,
 * so that one call lets go of it for all of them. Pure.
 */
import { Fault, type HostId, type Signer } from '../../core.ts';

export class SoleKey implements Signer {
  readonly publicKey: HostId;
  #signer: Signer | null;

  constructor(signer: Signer) {
    this.publicKey = signer.publicKey;
    this.#signer = signer;
  }

  get isDropped(): boolean {
    return this.#signer === null;
  }

  /** Throws `Fault('root-key-dropped')`. */
  sign(message: Uint8Array): Uint8Array {
    if (this.#signer === null) throw new Fault('root-key-dropped', 'this host signs with that root no more');
    return this.#signer.sign(message);
  }

  /** For good. The key itself goes once the garbage is collected, see `io/garbage.ts`. */
  drop(): void {
    this.#signer = null;
  }
}
