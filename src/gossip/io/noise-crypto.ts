/**
 * Noise's ciphers, all of them Node's own. Those that the library brings for small messages are WebAssembly: an
 * agent sends few, and to have them ready costs each 5 MB and a twentieth of its start.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import type { ICryptoInterface } from '@libp2p/noise';

type Bytes = Parameters<ICryptoInterface['hashSHA256']>[0];
type KeyPair = ReturnType<ICryptoInterface['generateX25519KeyPair']>;

const cipherName = 'chacha20-poly1305';
const keyBytes = 32;
const tagBytes = 16;
/** What RFC 8410 puts in front of 32 bytes of an X25519 key. */
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
const publicPrefix = Buffer.from('302a300506032b656e032100', 'hex');
const nothing = new Uint8Array(0);

function privateKeyOf(seed: Bytes): KeyObject {
  const key = Buffer.concat([privatePrefix, seed.subarray()]);
  return createPrivateKey({ key, type: 'pkcs8', format: 'der' });
}

function publicKeyOf(point: Bytes): KeyObject {
  const key = Buffer.concat([publicPrefix, point.subarray()]);
  return createPublicKey({ key, type: 'spki', format: 'der' });
}

function pointOf(key: KeyObject): Uint8Array {
  return key.export({ type: 'spki', format: 'der' }).subarray(publicPrefix.length);
}

export const noiseCrypto: ICryptoInterface = {
  hashSHA256(data) {
    return createHash('sha256').update(data.subarray()).digest();
  },

  getHKDF(chainingKey, input) {
    const keys = Buffer.from(hkdfSync('sha256', input, chainingKey, nothing, 3 * keyBytes));
    return [keys.subarray(0, keyBytes), keys.subarray(keyBytes, 2 * keyBytes), keys.subarray(2 * keyBytes)];
  },

  generateX25519KeyPair(): KeyPair {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    const seed = privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(privatePrefix.length);
    return { publicKey: pointOf(publicKey), privateKey: seed };
  },

  generateX25519KeyPairFromSeed(seed): KeyPair {
    return { publicKey: pointOf(createPublicKey(privateKeyOf(seed))), privateKey: seed };
  },

  generateX25519SharedKey(privateKey, publicKey) {
    return diffieHellman({ privateKey: privateKeyOf(privateKey), publicKey: publicKeyOf(publicKey) });
  },

  chaCha20Poly1305Encrypt(plaintext, nonce, associated, key) {
    const cipher = createCipheriv(cipherName, key, nonce, { authTagLength: tagBytes });
    cipher.setAAD(associated, { plaintextLength: plaintext.byteLength });
    const text = cipher.update(plaintext.subarray());
    cipher.final();
    return Buffer.concat([text, cipher.getAuthTag()]);
  },

  /** Throws when the message was not made with this key. */
  chaCha20Poly1305Decrypt(ciphertext, nonce, associated, key) {
    const message = ciphertext.subarray();
    const end = message.byteLength - tagBytes;
    const decipher = createDecipheriv(cipherName, key, nonce, { authTagLength: tagBytes });
    decipher.setAAD(associated, { plaintextLength: end });
    decipher.setAuthTag(message.subarray(end));
    const text = decipher.update(message.subarray(0, end));
    decipher.final();
    return text;
  },
};
