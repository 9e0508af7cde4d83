import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify } from '../../../../src/core.ts';
import { createGenesis, parseGenesis } from '../../../../src/trust/admission/genesis.ts';
import {
  faultCode,
  founder,
  genesis,
  operator,
  rootSigner,
  signerOf,
  startedAt,
  trustDomain,
} from '../mesh.ts';

const fields = {
  trustDomain,
  founderName: 'first',
  defaultIntention: 'deny',
  createdAt: startedAt,
  rootLifetimeMs: 1e9,
} as const;

test('a genesis reads back as it was made, and the same inputs make the same one', () => {
  const parsed = parseGenesis(genesis.bytes, ed25519Verify);
  assert.deepEqual(parsed, genesis);
  assert.equal(parsed.meshId, parsed.hash.slice(0, 16));
  assert.equal(parsed.root.publicKey, rootSigner.publicKey);
  const keys = { operator, founder, root: rootSigner };
  const again = createGenesis({ ...fields, rootLifetimeMs: 3650 * 24 * 3_600_000 }, keys, ed25519Verify);
  assert.deepEqual(again.bytes, genesis.bytes);
});

test('two meshes of one trust domain have different hashes', () => {
  const keys = { operator: signerOf('another operator'), founder, root: rootSigner };
  assert.notEqual(createGenesis(fields, keys, ed25519Verify).hash, genesis.hash);
});

test('no byte of a genesis can be changed', () => {
  for (let index = 0; index < genesis.bytes.length; index++) {
    const bytes = Uint8Array.from(genesis.bytes);
    bytes[index]! ^= 1;
    const code = faultCode(() => parseGenesis(bytes, ed25519Verify));
    assert.ok(code === 'genesis-malformed' || code === 'genesis-forged', `byte ${index}: ${code}`);
  }
});

test('a genesis must be signed by the operator and by the founder', () => {
  for (const offset of [128, 64]) {
    const bytes = Uint8Array.from(genesis.bytes);
    bytes.fill(7, bytes.length - offset, bytes.length - offset + 32);
    assert.equal(
      faultCode(() => parseGenesis(bytes, ed25519Verify)),
      'genesis-forged',
    );
  }
});

test('trust domains and names that could not be names are refused', () => {
  const keys = { operator, founder, root: rootSigner };
  for (const bad of ['', 'UPPER', 'a_b', 'a..b', '-a', `${'a'.repeat(60)}.${'b'.repeat(10)}`])
    assert.equal(
      faultCode(() => createGenesis({ ...fields, trustDomain: bad }, keys, ed25519Verify)),
      'genesis-malformed',
      bad,
    );
  for (const bad of ['', 'UPPER', 'a.b', 'a'.repeat(64)])
    assert.equal(
      faultCode(() => createGenesis({ ...fields, founderName: bad }, keys, ed25519Verify)),
      'genesis-malformed',
      bad,
    );
});
