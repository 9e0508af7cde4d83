/** Deterministic service keys: the same stream gives the same request, and OpenSSL accepts it. */
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { drawServiceKey } from '../../sim/host/p256.ts';
import { seededRandom } from '../../src/core.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';

const spiffeId = 'spiffe://mesh.test/ns/default/dc/dc1/svc/web';
const dnsNames = ['web.default.dc1.internal.mesh.test'];

test('the same stream draws the same key and the same request', () => {
  const first = drawServiceKey(seededRandom(5), spiffeId, dnsNames);
  const second = drawServiceKey(seededRandom(5), spiffeId, dnsNames);
  assert.deepEqual(first, second);
  assert.notDeepEqual(first.csr, drawServiceKey(seededRandom(6), spiffeId, dnsNames).csr);
});

test('every request verifies and carries the key it came with', () => {
  const random = seededRandom(7);
  for (let i = 0; i < 20; i++) {
    const { csr, keyPem } = drawServiceKey(random, spiffeId, dnsNames);
    const parsed = parseCsr(csr);
    assert.equal(parsed.spiffeId, spiffeId);
    assert.deepEqual(parsed.dnsNames, dnsNames);
    const spki = createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' });
    assert.deepEqual(parsed.spki, spki);
  }
});
