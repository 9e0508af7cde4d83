import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pureJsCrypto as theirs } from '@libp2p/noise';
import { noiseCrypto as ours } from '../../../../src/gossip/io/noise-crypto.ts';

const bytes = (length: number, from: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (from + 7 * i) & 255);
const hex = (data: { subarray(): Uint8Array }): string => Buffer.from(data.subarray()).toString('hex');
const key = bytes(32, 1);
const nonce = bytes(12, 2);

describe("Noise's ciphers by Node", () => {
  test('seal as those of the library do', () => {
    for (const length of [0, 1, 200, 3000]) {
      const text = bytes(length, 3);
      const sealed = theirs.chaCha20Poly1305Encrypt(text, nonce, bytes(32, 4), key);
      assert.equal(hex(ours.chaCha20Poly1305Encrypt(text, nonce, bytes(32, 4), key)), hex(sealed));
      assert.equal(hex(ours.chaCha20Poly1305Decrypt(sealed, nonce, bytes(32, 4), key)), hex(text));
    }
  });

  test('open nothing that was changed or cut', () => {
    const sealed = ours.chaCha20Poly1305Encrypt(bytes(20, 3), nonce, new Uint8Array(0), key).subarray();
    for (const wrong of [
      Uint8Array.from(sealed, (byte, i) => (i === 4 ? byte ^ 1 : byte)),
      sealed.subarray(0, 9),
    ])
      assert.throws(() => ours.chaCha20Poly1305Decrypt(wrong, nonce, new Uint8Array(0), key));
    assert.throws(() => ours.chaCha20Poly1305Decrypt(sealed, nonce, bytes(32, 4), key));
  });

  test('agree on keys and derive them as those of the library do', () => {
    const [one, two] = [ours.generateX25519KeyPair(), theirs.generateX25519KeyPair()];
    assert.equal(
      hex(ours.generateX25519SharedKey(one.privateKey, two.publicKey)),
      hex(theirs.generateX25519SharedKey(two.privateKey, one.publicKey)),
    );
    const again = ours.generateX25519KeyPairFromSeed(one.privateKey);
    assert.equal(hex(again.publicKey), hex(one.publicKey));
    for (const input of [new Uint8Array(0), bytes(32, 5)])
      assert.deepEqual(ours.getHKDF(key, input).map(hex), theirs.getHKDF(key, input).map(hex));
    assert.equal(hex(ours.hashSHA256(bytes(99, 6))), hex(theirs.hashSHA256(bytes(99, 6))));
  });
});
