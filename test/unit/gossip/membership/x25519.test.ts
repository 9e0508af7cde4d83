import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { test } from 'node:test';
import { ed25519Signer } from '../../../../src/core.ts';
import { agree, agreementKey, montgomery } from '../../../../src/gossip/membership/x25519.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** RFC 8032, section 7.1: seeds and public keys. */
const edwardsVectors = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  },
] as const;

/** The u-coordinate that node:crypto finds for the private key, without any use of the Edwards point. */
function rawX25519Public(seed: Uint8Array): Buffer {
  return createPublicKey(agreementKey(seed)).export({ format: 'der', type: 'spki' }).subarray(-32);
}

test('the public key of a converted secret is the converted public key', () => {
  for (const { seed, publicKey } of edwardsVectors) {
    assert.equal(ed25519Signer(hex(seed)).publicKey, publicKey);
    assert.deepEqual(Buffer.from(montgomery(hex(publicKey))), rawX25519Public(hex(seed)));
  }
});

test('the base point of edwards25519 becomes that of curve25519, u = 9 (RFC 7748, section 4.1)', () => {
  const basePoint = hex(`58${'66'.repeat(31)}`);
  assert.deepEqual(Buffer.from(montgomery(basePoint)), hex(`09${'00'.repeat(31)}`));
});

test('the sign of x does not matter', () => {
  const { publicKey } = edwardsVectors[0];
  const negated = hex(publicKey);
  negated[31]! ^= 0x80;
  assert.deepEqual(montgomery(negated), montgomery(hex(publicKey)));
});

test('both sides agree, and on what plain X25519 over the same keys gives', () => {
  const [a, b] = edwardsVectors;
  const secret = agree(agreementKey(hex(a.seed)), b.publicKey);
  assert.deepEqual(secret, agree(agreementKey(hex(b.seed)), a.publicKey));
  const plain = diffieHellman({
    privateKey: agreementKey(hex(a.seed)),
    publicKey: createPublicKey(agreementKey(hex(b.seed))),
  });
  assert.deepEqual(Buffer.from(secret), plain);
});

test('the secret is not kept in any clear form of the seed: a scalar is the clamped half of its hash', () => {
  const der = agreementKey(hex(edwardsVectors[0].seed)).export({ format: 'der', type: 'pkcs8' });
  // SHA-512 of the seed, first half (RFC 8032, section 5.1.5), before clamping.
  assert.equal(
    der.subarray(-32).toString('hex'),
    '357c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de90f',
  );
});

/** RFC 7748, section 5.2, first vector, through the same key import that `agree` relies on. */
test('X25519 of the platform computes the vector of RFC 7748', () => {
  const privateKey = createPrivateKey({
    key: Buffer.concat([
      hex('302e020100300506032b656e04220420'),
      hex('a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4'),
    ]),
    format: 'der',
    type: 'pkcs8',
  });
  const publicKey = createPublicKey({
    key: Buffer.concat([
      hex('302a300506032b656e032100'),
      hex('e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c'),
    ]),
    format: 'der',
    type: 'spki',
  });
  assert.equal(
    diffieHellman({ privateKey, publicKey }).toString('hex'),
    'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
  );
});

/** Edwards points of order 1, 2, 4 and 8, as all y-coordinates that are no more than noise as a key. */
const smallOrder = [
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '00'.repeat(32),
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  // The same as the first and the third, not reduced modulo the prime.
  `ee${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
];

test('a key of small order is refused, in every encoding, whoever asks', () => {
  for (const { seed } of edwardsVectors)
    for (const publicKey of smallOrder)
      for (const signed of [
        publicKey,
        `${publicKey.slice(0, 62)}${(Number.parseInt(publicKey.slice(62), 16) | 0x80).toString(16)}`,
      ])
        assert.throws(
          () => agree(agreementKey(hex(seed)), signed),
          { name: 'Fault', code: 'bad-key' },
          signed,
        );
});

test('what is no 32-byte key is refused as a fault, not as a bug', () => {
  const own = agreementKey(hex(edwardsVectors[0].seed));
  for (const id of ['', 'no hex at all', 'ab'.repeat(33), 'ff'.repeat(64)])
    assert.throws(() => agree(own, id), { name: 'Fault', code: 'bad-key' }, id);
});

test('a seed of another length is a bug', () => {
  assert.throws(() => agreementKey(new Uint8Array(31)), /an Ed25519 seed has 32 bytes/);
});
