import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import {
  openSecret,
  type SealContext,
  sealKeyBytes,
  sealNonceBytes,
  sealSecret,
} from '../../../../src/trust/frost/sealing.ts';
import { entropyOf, hostOf } from './parties.ts';

const secret = entropyOf('secret', 300);
const context: SealContext = { name: 'ab'.repeat(32), host: hostOf('h1').publicKey };
const nonce = entropyOf('seal', sealNonceBytes);
const key = entropyOf('key', sealKeyBytes);
const isFault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

test('a sealed secret opens with the key and as what it was sealed', () => {
  const opened = openSecret(sealSecret(secret, context, key, nonce), context, key);
  assert.deepEqual(Buffer.from(opened), Buffer.from(secret));
  assert.equal(
    opened.buffer.byteLength,
    secret.length,
    'it can be handed over whole, with nothing around it',
  );
});

test('a sealed secret does not show the secret', () => {
  const sealed = Buffer.from(sealSecret(secret, context, key, nonce));
  for (let at = 0; at + 8 <= secret.length; at += 8)
    assert.equal(sealed.includes(Buffer.from(secret.subarray(at, at + 8))), false);
});

test('no other key, name, host or byte opens it', () => {
  const sealed = sealSecret(secret, context, key, nonce);
  for (const other of [
    { ...context, name: 'cd'.repeat(32) },
    { ...context, name: 'genesis' },
    { ...context, host: hostOf('h2').publicKey },
  ])
    assert.throws(() => openSecret(sealed, other, key), isFault('secret-unreadable'));
  for (const wrong of [new Uint8Array(sealKeyBytes), key.subarray(1), new Uint8Array()])
    assert.throws(() => openSecret(sealed, context, wrong), isFault('secret-unreadable'));
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.map((byte, i) => (i === at ? byte ^ 0x40 : byte));
    assert.throws(() => openSecret(changed, context, key), Fault);
    assert.throws(() => openSecret(sealed.subarray(0, at), context, key), isFault('malformed'));
  }
});
