import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import {
  EpochKey,
  openShare,
  type SealContext,
  sealNonceBytes,
  sealShare,
} from '../../../../src/trust/frost/sealing.ts';
import { dealtKeys, entropyOf, range } from './parties.ts';

const { group, shares } = dealtKeys(2, range(1, 3));
const share = shares.get(2)!;
const context: SealContext = { trustDomain: 'mesh.example', generation: 1, epoch: 7, group };
const nonce = entropyOf('seal', sealNonceBytes);
const newKey = (): EpochKey => new EpochKey(entropyOf('epoch 7', 32));
const isFault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

test('a sealed share opens with the key and the context it was sealed with', () => {
  const sealed = sealShare(share, context, newKey(), nonce);
  const opened = openShare(sealed, context, newKey());
  assert.equal(opened.seat, share.seat);
  assert.equal(opened.reveal(), share.reveal());
});

test('a sealed share does not show the share', () => {
  const sealed = Buffer.from(sealShare(share, context, newKey(), nonce));
  assert.equal(sealed.includes(Buffer.from(share.encode()).subarray(1)), false);
});

test('no other key, epoch, root, trust domain, group or byte opens it', () => {
  const sealed = sealShare(share, context, newKey(), nonce);
  const others: SealContext[] = [
    { ...context, epoch: 8 },
    { ...context, generation: 2 },
    { ...context, trustDomain: 'other.example' },
    { ...context, group: dealtKeys(2, range(1, 3), 'other').group },
  ];
  for (const other of others)
    assert.throws(() => openShare(sealed, other, newKey()), isFault('share-unreadable'));
  assert.throws(
    () => openShare(sealed, context, new EpochKey(new Uint8Array(32))),
    isFault('share-unreadable'),
  );
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.map((byte, i) => (i === at ? byte ^ 0x40 : byte));
    assert.throws(() => openShare(changed, context, newKey()), Fault);
    assert.throws(() => openShare(sealed.subarray(0, at), context, newKey()), isFault('malformed'));
  }
});

test('with the key of its epoch destroyed, a share is gone', () => {
  const bytes = entropyOf('epoch 7', 32);
  const key = new EpochKey(bytes);
  const sealed = sealShare(share, context, key, nonce);
  key.destroy();
  assert.ok(key.isDestroyed);
  assert.ok(bytes.every((byte) => byte === 0));
  assert.throws(() => openShare(sealed, context, key), isFault('epoch-destroyed'));
  assert.throws(() => sealShare(share, context, key, nonce), isFault('epoch-destroyed'));
  assert.deepEqual(JSON.stringify(newKey()), '{}');
});
