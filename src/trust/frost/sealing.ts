/**
 * A share at rest: under AES-256-GCM with a key of its epoch that is kept apart from it, so that destroying
 * 32 bytes destroys the share, whatever copies a database or a disk keeps of it.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { assert, ByteReader, ByteWriter, Fault } from '../../core.ts';
import { type GroupKey, KeyShare } from './keys.ts';

export const epochKeyBytes = 32;
export const sealNonceBytes = 12;
const sealVersion = 1;
const tagBytes = 16;
const maxCiphertextBytes = 64;
const sealTag = 'starling-sealed-share-1\0';

/** The key of one epoch. The bytes are no property; once destroyed it opens nothing. */
export class EpochKey {
  #bytes: Uint8Array | null;

  /** Takes the array over: `destroy` overwrites it. */
  constructor(bytes: Uint8Array) {
    assert(bytes.length === epochKeyBytes, 'an epoch key has 32 bytes');
    this.#bytes = bytes;
  }

  get isDestroyed(): boolean {
    return this.#bytes === null;
  }

  /** Overwrites the key in memory. The file it came from is for its owner to overwrite and remove. */
  destroy(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  /** For ciphers. Throws `Fault('epoch-destroyed')`. */
  use(): Uint8Array {
    if (this.#bytes === null) throw new Fault('epoch-destroyed', 'the key of this epoch was destroyed');
    return this.#bytes;
  }
}

/** What a sealed share is of: opening it for anything else fails. */
export interface SealContext {
  readonly trustDomain: string;
  readonly generation: number;
  readonly epoch: number;
  readonly group: GroupKey;
}

function associatedData(context: SealContext): Uint8Array {
  return new ByteWriter()
    .raw(Buffer.from(sealTag))
    .string(context.trustDomain)
    .varint(context.generation)
    .varint(context.epoch)
    .raw(createHash('sha256').update(context.group.encode()).digest())
    .done();
}

/** `nonce` is `sealNonceBytes` that this key never sealed with before. Throws `Fault('epoch-destroyed')`. */
export function sealShare(
  share: KeyShare,
  context: SealContext,
  key: EpochKey,
  nonce: Uint8Array,
): Uint8Array {
  assert(nonce.length === sealNonceBytes, 'a share is sealed with a 12-byte nonce');
  assert(share.belongsTo(context.group), 'a share is sealed with its group');
  const cipher = createCipheriv('aes-256-gcm', key.use(), nonce);
  cipher.setAAD(associatedData(context));
  const secret = share.encode();
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
  secret.fill(0);
  return new ByteWriter().u8(sealVersion).raw(nonce).bytes(ciphertext).raw(cipher.getAuthTag()).done();
}

/** Throws `Fault`: `malformed`, `share-unreadable` for another key, context or bytes, `epoch-destroyed`. */
export function openShare(sealed: Uint8Array, context: SealContext, key: EpochKey): KeyShare {
  const reader = new ByteReader(sealed);
  if (reader.u8() !== sealVersion) throw new Fault('malformed', 'a sealed share of an unknown version');
  const nonce = reader.raw(sealNonceBytes);
  const ciphertext = reader.bytes(maxCiphertextBytes);
  const tag = reader.raw(tagBytes);
  reader.end();
  const decipher = createDecipheriv('aes-256-gcm', key.use(), nonce, { authTagLength: tagBytes });
  decipher.setAAD(associatedData(context));
  decipher.setAuthTag(tag);
  const secret = decipher.update(ciphertext);
  try {
    decipher.final();
  } catch (error) {
    throw new Fault('share-unreadable', 'the share was sealed for something else', { cause: error });
  }
  const share = KeyShare.decode(secret);
  secret.fill(0);
  if (!share.belongsTo(context.group))
    throw new Fault('share-unreadable', 'the share is not one of this group');
  return share;
}
