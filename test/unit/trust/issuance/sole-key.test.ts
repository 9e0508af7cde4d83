/** A root key that one host holds, and forgets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Signer, ed25519Verify, Fault } from '../../../../src/core.ts';
import { SoleKey } from '../../../../src/trust/issuance/sole-key.ts';

test('a key signs until it is dropped, and never again', () => {
  const signer = ed25519Signer(new Uint8Array(32).fill(7));
  const key = new SoleKey(signer);
  const message = Buffer.from('a certificate');
  assert.equal(key.publicKey, signer.publicKey);
  assert.ok(ed25519Verify(key.publicKey, message, key.sign(message)));
  key.drop();
  key.drop();
  assert.ok(key.isDropped);
  assert.throws(
    () => key.sign(message),
    (error: unknown) => error instanceof Fault && error.code === 'root-key-dropped',
  );
});
