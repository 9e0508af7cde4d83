/** The shares of root keys that this host holds in memory, by name, and the nonces promised with each. */
import { ByteReader, ByteWriter, ed25519Signer, Fault, type Millis, type Signer } from '../../core.ts';
import { genesisShare, type ShareName } from '../epoch/crypto-port.ts';
import { GroupKey, KeyShare } from '../frost/keys.ts';
import { NonceIds, NoncePool } from '../frost/nonce-pool.ts';

/** One share, and the group it is of. */
export interface HeldShare {
  readonly group: GroupKey;
  readonly share: KeyShare;
  readonly pool: NoncePool;
}

/** A share as the store keeps it, in an array of its own. */
export interface SecretShare {
  readonly name: ShareName;
  readonly secret: Uint8Array<ArrayBuffer>;
}

const secretVersion = 1;
const maxGroupBytes = 2048;
const maxShareBytes = 64;
const seedBytes = 32;
/** More than the agreement ever names: shares of older keys, and those that may become one. Beyond, none is held. */
const maxHeld = 128;
/** Shares made here that nobody said are kept: of dealings that came to nothing. The oldest go. */
const maxUnconfirmed = 16;

/** What the store of secrets keeps: enough to sign with, on its own. A secret. */
export function encodeSecret(group: GroupKey, share: KeyShare): Uint8Array {
  const secret = share.encode();
  const bytes = new ByteWriter().u8(secretVersion).bytes(group.encode()).bytes(secret).done();
  secret.fill(0);
  return bytes;
}

/** Throws `Fault('malformed')`, also for a share that is not one of its group. */
export function decodeSecret(bytes: Uint8Array): { readonly group: GroupKey; readonly share: KeyShare } {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== secretVersion) throw new Fault('malformed', 'a secret of an unknown version');
  const group = GroupKey.decode(reader.bytes(maxGroupBytes));
  const share = KeyShare.decode(reader.bytes(maxShareBytes));
  reader.end();
  if (!share.belongsTo(group)) throw new Fault('malformed', 'the share is not one of its group');
  return { group, share };
}

/** Printing or serialising it shows no share. */
export class HeldShares {
  private readonly nonceIds: NonceIds;
  /** Secrets from the store that nothing was done with yet: to decode one takes milliseconds. */
  readonly #encoded = new Map<ShareName, Uint8Array>();
  readonly #decoded = new Map<ShareName, HeldShare>();
  /** Made here and not known to be durable, oldest first. */
  private readonly unconfirmed = new Set<ShareName>();

  /** `nonceCount`: how many nonces this boot has named before. */
  constructor(bootId: string, nonceCount: number) {
    this.nonceIds = new NonceIds(bootId, nonceCount);
  }

  get nonceCount(): number {
    return this.nonceIds.count;
  }

  get size(): number {
    return this.#encoded.size + this.#decoded.size;
  }

  /** Holds a copy of a secret from the store. A share that is held already stays as it is. */
  hold(name: ShareName, secret: Uint8Array): void {
    if (this.#encoded.has(name) || this.#decoded.has(name) || this.size >= maxHeld) return;
    this.#encoded.set(name, Uint8Array.from(secret));
  }

  /**
   * Holds a share that was made just now. Whether it counts is agreed elsewhere, and may be so after its
   * dealing has ended here: so it stays until it is forgotten, or many later ones were never confirmed either.
   */
  establish(name: ShareName, group: GroupKey, share: KeyShare): void {
    this.forget([name]);
    for (const oldest of this.unconfirmed) {
      if (this.unconfirmed.size < maxUnconfirmed && this.size < maxHeld) break;
      this.forget([oldest]);
    }
    this.#decoded.set(name, { group, share, pool: new NoncePool(share, this.nonceIds) });
    this.unconfirmed.add(name);
  }

  /** The share is durable. */
  confirm(name: ShareName): void {
    this.unconfirmed.delete(name);
  }

  /** What is only referred to, such as a number in JavaScript, is left to the garbage collector. */
  forget(names: readonly ShareName[]): void {
    for (const name of names) {
      this.#encoded.get(name)?.fill(0);
      this.#encoded.delete(name);
      this.#decoded.delete(name);
      this.unconfirmed.delete(name);
    }
  }

  /** Whether no nonces are promised, and every share made here is known to be durable. */
  isIdle(now: Millis): boolean {
    return this.unconfirmed.size === 0 && [...this.#decoded.values()].every(({ pool }) => pool.isIdle(now));
  }

  /** Hands every secret over, as the store keeps it, and holds none any more. */
  release(): SecretShare[] {
    const decoded = [...this.#decoded].map(
      ([name, { group, share }]) => [name, encodeSecret(group, share)] as const,
    );
    const secrets = [...this.#encoded, ...decoded].map(([name, secret]) => ({
      name,
      secret: Uint8Array.from(secret),
    }));
    for (const [, secret] of decoded) secret.fill(0);
    this.forget([...this.#encoded.keys(), ...this.#decoded.keys()]);
    return secrets;
  }

  /** Throws `Fault('share-unknown')`, also where what was stored is damaged. */
  share(name: ShareName): HeldShare {
    const known = this.#decoded.get(name);
    if (known !== undefined) return known;
    const encoded = this.secret(name);
    try {
      const { group, share } = decodeSecret(encoded);
      const held = { group, share, pool: new NoncePool(share, this.nonceIds) };
      this.forget([name]);
      this.#decoded.set(name, held);
      return held;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new Fault('share-unknown', `share ${name} is damaged: ${error.message}`, { cause: error });
    }
  }

  /** The key of the genesis root, whole. Throws `Fault('share-unknown')`. */
  genesis(): Signer {
    const seed = this.secret(genesisShare);
    if (seed.length !== seedBytes) throw new Fault('share-unknown', 'the genesis key is damaged');
    return ed25519Signer(seed);
  }

  private secret(name: ShareName): Uint8Array {
    const encoded = this.#encoded.get(name);
    if (encoded === undefined) throw new Fault('share-unknown', `share ${name} is not held here`);
    return encoded;
  }
}
