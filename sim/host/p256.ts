/**
 * Service keys of simulated hosts. OpenSSL draws its own randomness for a P-256 key and for each ECDSA
 * signature; a run that repeats needs both from the seed. So the key comes from the host's stream, and the
 * signing request is signed with a nonce derived from key and message, as RFC 6979 has it in spirit. For
 * simulation only: nothing here runs in constant time.
 */
import { createECDH, createHash, createPrivateKey, hash, type KeyObject } from 'node:crypto';
import type { Random } from '../../src/core.ts';
import { createCsr, maxCsrBytes } from '../../src/trust/x509/csr.ts';
import {
  bitString,
  embed,
  encode,
  readDer,
  sequence,
  tags,
  unsignedInteger,
} from '../../src/trust/x509/der.ts';
import { drawBytes } from './keys.ts';

/** Order of the group (FIPS 186-4, D.1.2.3). */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export interface ServiceKey {
  readonly csr: Uint8Array;
  readonly keyPem: string;
}

/** A key drawn from `random` and a request for it to be certified under these names. */
export function drawServiceKey(random: Random, spiffeId: string, dnsNames: readonly string[]): ServiceKey {
  const secret = (toInteger(drawBytes(random, 32)) % (order - 1n)) + 1n;
  const key = keyObject(secret);
  return {
    csr: resign(createCsr(key, spiffeId, dnsNames), secret),
    keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function keyObject(secret: bigint): KeyObject {
  const point = multiplyBase(secret);
  const part = (from: number): string => point.subarray(from, from + 32).toString('base64url');
  const d = toBytes(secret).toString('base64url');
  return createPrivateKey({ key: { kty: 'EC', crv: 'P-256', x: part(1), y: part(33), d }, format: 'jwk' });
}

/** The same request with a signature that depends on key and content alone. */
function resign(csr: Uint8Array, secret: bigint): Uint8Array {
  const fields = readDer(csr, maxCsrBytes).inside(tags.sequence);
  const info = fields.next().der();
  const algorithm = fields.next().der();
  return encode(sequence(embed(info), embed(algorithm), bitString(signature(info, secret))));
}

/** ECDSA with SHA-256 (FIPS 186-4, section 6.4) as DER. */
function signature(message: Uint8Array, secret: bigint): Uint8Array {
  const digest = createHash('sha256').update(message).digest();
  const nonceSeed = Buffer.concat([toBytes(secret), digest]);
  const nonce = (toInteger(hash('sha256', nonceSeed, 'buffer')) % (order - 1n)) + 1n;
  const r = toInteger(multiplyBase(nonce).subarray(1, 33)) % order;
  const s = (inverse(nonce) * ((toInteger(digest) + r * secret) % order)) % order;
  return encode(sequence(unsignedInteger(toBytes(r)), unsignedInteger(toBytes(s))));
}

/** The uncompressed point `scalar * G`. */
function multiplyBase(scalar: bigint): Buffer {
  const exchange = createECDH('prime256v1');
  exchange.setPrivateKey(toBytes(scalar));
  return exchange.getPublicKey();
}

/** By Fermat: the order is prime. */
function inverse(value: bigint): bigint {
  let result = 1n;
  let base = value % order;
  for (let exponent = order - 2n; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = (result * base) % order;
    base = (base * base) % order;
  }
  return result;
}

function toInteger(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function toBytes(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
}
