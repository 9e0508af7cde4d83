/**
 * A secret at rest: under AES-256-GCM with a key of its own that is kept apart from it, so that destroying
 * 32 bytes destroys the secret, whatever copies a disk keeps of it.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { assert, ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';

export const sealKeyBytes = 32;
export const sealNonceBytes = 12;
/** Far more than a share with its group takes. */
export const maxSecretBytes = 4096;
const sealVersion = 1;
const tagBytes = 16;
const sealTag = 'starling-sealed-secret-1\0';

/** What a sealed secret is, and whose: it opens as nothing else. */
export interface SealContext {
  readonly name: string;
  /** Whose it is. */
  readonly host: HostId;
}

function associatedData({ name, host }: SealContext): Uint8Array {
  return new ByteWriter().raw(Buffer.from(sealTag)).string(name).hex(host).done();
}

/** `nonce` is `sealNonceBytes` that this key, of `sealKeyBytes`, never sealed with before. */
export function sealSecret(
  secret: Uint8Array,
  context: SealContext,
  key: Uint8Array,
  nonce: Uint8Array,
): Uint8Array {
  assert(key.length === sealKeyBytes, 'a secret is sealed with a 32-byte key');
  assert(nonce.length === sealNonceBytes, 'a secret is sealed with a 12-byte nonce');
  assert(secret.length <= maxSecretBytes, 'a secret is small');
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associatedData(context));
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
  return new ByteWriter().u8(sealVersion).raw(nonce).bytes(ciphertext).raw(cipher.getAuthTag()).done();
}

/** Throws `Fault`: `malformed`, or `secret-unreadable` for another key, context or bytes. */
export function openSecret(sealed: Uint8Array, context: SealContext, key: Uint8Array): Uint8Array {
  const reader = new ByteReader(sealed);
  if (reader.u8() !== sealVersion) throw new Fault('malformed', 'a sealed secret of an unknown version');
  const nonce = reader.raw(sealNonceBytes);
  const ciphertext = reader.bytes(maxSecretBytes);
  const tag = reader.raw(tagBytes);
  reader.end();
  if (key.length !== sealKeyBytes) throw new Fault('secret-unreadable', 'the key is not one');
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(associatedData(context));
  decipher.setAuthTag(tag);
  const secret = decipher.update(ciphertext);
  try {
    decipher.final();
  } catch (error) {
    secret.fill(0);
    throw new Fault('secret-unreadable', 'the secret was sealed as something else', { cause: error });
  }
  // Never a view of a buffer that is shared with others.
  const own = Uint8Array.from(secret);
  secret.fill(0);
  return own;
}
