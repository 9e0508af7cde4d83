import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import {
  maxNonces,
  maxNoncesPerRequester,
  NonceIds,
  NoncePool,
  nonceLifetimeMs,
} from '../../../../src/trust/frost/nonce-pool.ts';
import { nonceEntropyBytes } from '../../../../src/trust/frost/nonces.ts';
import { dealtKeys, entropyOf, hostOf, range } from './parties.ts';

const share = dealtKeys(2, range(1, 3)).shares.get(1)!;
const bootId = 'ab'.repeat(16);
const [requester, other] = [hostOf('requester').publicKey, hostOf('other').publicKey];
const isFault = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;
const fresh = (i: number): Uint8Array => entropyOf(`pool ${i}`, nonceEntropyBytes);

test('nonces are given out once, to whom they were promised', () => {
  const pool = new NoncePool(share, new NonceIds(bootId));
  const offer = pool.offer(requester, fresh(1), 0);
  assert.throws(() => pool.take(other, offer.id, 0), isFault('nonce-unknown'));
  const nonces = pool.take(requester, offer.id, 0);
  assert.equal(nonces.commitment, offer.commitment);
  assert.throws(() => pool.take(requester, offer.id, 0), isFault('nonce-unknown'));
  assert.equal(pool.size, 0);
});

test('nonces promised before a restart are unknown after it', () => {
  const { id } = new NoncePool(share, new NonceIds(bootId)).offer(requester, fresh(1), 0);
  const restarted = new NoncePool(share, new NonceIds('cd'.repeat(16)));
  restarted.offer(requester, fresh(2), 0);
  assert.throws(() => restarted.take(requester, id, 0), isFault('nonce-unknown'));
});

test('no two pools of a boot use one name for their nonces', () => {
  const ids = new NonceIds(bootId);
  const names = [1, 2, 3, 4].map((i) => new NoncePool(share, ids).offer(requester, fresh(i), 0).id);
  assert.equal(new Set(names).size, 4);
  const later = new NoncePool(share, new NonceIds(bootId, ids.count)).offer(requester, fresh(5), 0);
  assert.ok(!names.includes(later.id), 'nor does one that goes on in the same boot');
});

test('nonces that nobody comes for expire', () => {
  const pool = new NoncePool(share, new NonceIds(bootId));
  const { id } = pool.offer(requester, fresh(1), 0);
  assert.throws(() => pool.take(requester, id, nonceLifetimeMs), isFault('nonce-unknown'));
});

test('a requester that leaves its nonces unused gets no more, and takes none from others', () => {
  const pool = new NoncePool(share, new NonceIds(bootId));
  for (const i of range(1, maxNoncesPerRequester)) pool.offer(requester, fresh(i), 0);
  assert.throws(() => pool.offer(requester, fresh(99), 0), isFault('nonce-quota'));
  pool.offer(other, fresh(100), 0);
  pool.offer(requester, fresh(101), nonceLifetimeMs);
});

test('the pool has a limit, whoever asks', () => {
  const pool = new NoncePool(share, new NonceIds(bootId));
  for (const i of range(1, maxNonces)) pool.offer(`${i >> 3}`, fresh(i), 0);
  assert.throws(() => pool.offer(requester, fresh(0), 0), isFault('nonces-exhausted'));
  pool.offer(requester, fresh(0), nonceLifetimeMs);
});
