/**
 * Key agreement with the keys that hosts already have: an Ed25519 host key has exactly one X25519 counterpart,
 * so that nobody needs to publish a second key. Pure.
 */
import { createHash, createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { assert, Fault, type HostId, isHex } from '../../core.ts';

/** PKCS #8 header of a raw X25519 private key (RFC 8410). */
const privateHeader = Buffer.from('302e020100300506032b656e04220420', 'hex');
/** SPKI header of a raw X25519 public key (RFC 8410). */
const publicHeader = Buffer.from('302a300506032b656e032100', 'hex');
/** The field's prime, 2^255 - 19. */
const prime = 2n ** 255n - 19n;

/** The X25519 private key of a 32-byte Ed25519 seed (RFC 8032, 5.1.5: the scalar is the hash's first half). */
export function agreementKey(seed: Uint8Array): KeyObject {
  assert(seed.length === 32, 'an Ed25519 seed has 32 bytes');
  const scalar = createHash('sha512').update(seed).digest().subarray(0, 32);
  return createPrivateKey({ key: Buffer.concat([privateHeader, scalar]), format: 'der', type: 'pkcs8' });
}

/**
 * 32 bytes that only the two hosts can compute. Throws `Fault('bad-key')` for what is no host id, and for one
 * of small order, with which everybody would agree on the same: no honest host has one.
 */
export function agree(own: KeyObject, peer: HostId): Uint8Array {
  if (!isHex(peer, 32)) throw new Fault('bad-key', 'a host id is 32 bytes in hex');
  try {
    const key = Buffer.concat([publicHeader, montgomery(Buffer.from(peer, 'hex'))]);
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
    return new Uint8Array(diffieHellman({ privateKey: own, publicKey }));
  } catch (error) {
    throw new Fault('bad-key', `${peer.slice(0, 8)} is no key to agree with`, { cause: error });
  }
}

/** The Montgomery u-coordinate of an Ed25519 public key: (1 + y) / (1 - y) (RFC 7748, section 4.1). */
export function montgomery(publicKey: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(publicKey).reverse();
  // The top bit is the sign of x, which u does not depend on.
  bytes[0]! &= 0x7f;
  const y = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  const u = ((1n + y) * inverse(1n - y)) % prime;
  return Buffer.from(u.toString(16).padStart(64, '0'), 'hex').reverse();
}

/** By Fermat: x^(p - 2). */
function inverse(x: bigint): bigint {
  let base = ((x % prime) + prime) % prime;
  let result = 1n;
  for (let exponent = prime - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % prime;
    base = (base * base) % prime;
  }
  return result;
}
