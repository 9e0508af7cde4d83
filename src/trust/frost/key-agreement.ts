/**
 * Secrets for the holder of an Ed25519 key who is not here: Diffie-Hellman in the same group, one fresh key a
 * message. Who seals proves nothing about itself: what is sealed is signed, or checked against commitments.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';
import {
  commit,
  decodeElement,
  decodeWire,
  elementBytes,
  encodeElement,
  hashScalar,
  multiplySecret,
  type Scalar,
  scalarFromEntropy,
  secretOfSeed,
  wideScalarBytes,
} from './group.ts';

/** What only the sender and the recipient know, and what tells the recipient. */
export interface Agreed {
  /** To be sent along, in the clear. */
  readonly wire: Uint8Array;
  readonly secret: Uint8Array;
}

/** Fresh random bytes that one agreement takes. */
export const agreementEntropyBytes: number = wideScalarBytes;
export const agreementWireBytes: number = elementBytes;

/** From what the sender put in the clear to what both know. Throws `Fault('malformed')`. */
export type Agree = (wire: Uint8Array) => Uint8Array;

/** With the holder of `recipient`. Throws `Fault('malformed')` for what is no key. */
export function agreeWith(recipient: HostId, entropy: Uint8Array): Agreed {
  const own = scalarFromEntropy(entropy);
  const shared = multiplySecret(decodeElement(Buffer.from(recipient, 'hex')), own);
  return { wire: commit(own).wire, secret: encodeElement(shared) };
}

/** The other side, by the 32-byte seed of its key, which is not kept. */
export function recipientOf(seed: Uint8Array): Agree {
  const own = secretOfSeed(seed);
  return (wire) => encodeElement(multiplySecret(decodeWire(wire), own));
}

/** A pad of the group's scalars: added to a secret it hides it perfectly, once. */
export function padOf(secret: Uint8Array, ...context: readonly Uint8Array[]): Scalar {
  return hashScalar('pad', secret, ...context);
}

const sealedVersion = 1;
const tagBytes = 16;
const zeroNonce = new Uint8Array(12);
const maxSealedBytes = 8192;
const keyTag = 'starling-sealed-message-1\0';

function cipherKey(secret: Uint8Array, wire: Uint8Array, recipient: HostId): Buffer {
  return createHash('sha256').update(keyTag).update(secret).update(wire).update(recipient, 'hex').digest();
}

/** For `recipient` alone; the key is of this message alone. Throws `Fault('malformed')` for what is no key. */
export function sealFor(recipient: HostId, message: Uint8Array, entropy: Uint8Array): Uint8Array {
  const { wire, secret } = agreeWith(recipient, entropy);
  const cipher = createCipheriv('aes-256-gcm', cipherKey(secret, wire, recipient), zeroNonce);
  const ciphertext = Buffer.concat([cipher.update(message), cipher.final()]);
  return new ByteWriter().u8(sealedVersion).raw(wire).bytes(ciphertext).raw(cipher.getAuthTag()).done();
}

/** Throws `Fault`: `malformed`, or `secret-unreadable` for what is sealed for somebody else or was changed. */
export function openSealed(self: HostId, agree: Agree, sealed: Uint8Array): Uint8Array {
  const reader = new ByteReader(sealed);
  if (reader.u8() !== sealedVersion) throw new Fault('malformed', 'a sealed message of an unknown version');
  const wire = reader.raw(agreementWireBytes);
  const ciphertext = reader.bytes(maxSealedBytes);
  const tag = reader.raw(tagBytes);
  reader.end();
  const decipher = createDecipheriv('aes-256-gcm', cipherKey(agree(wire), wire, self), zeroNonce);
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch (error) {
    throw new Fault('secret-unreadable', 'the message is not sealed for this key, or was changed', {
      cause: error,
    });
  }
}
