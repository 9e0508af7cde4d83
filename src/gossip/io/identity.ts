/** Who a libp2p peer is to us: its Ed25519 public key, both ways. */
import { privateKeyFromRaw, publicKeyFromRaw } from '@libp2p/crypto/keys';
import type { PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { assert, ed25519Signer, type HostId, isHex } from '../../core.ts';

/** The host behind a libp2p peer; null for a peer whose key is not Ed25519. */
export function hostIdOf(peerId: PeerId): HostId | null {
  if (peerId.type !== 'Ed25519') return null;
  return Buffer.from(peerId.publicKey.raw).toString('hex');
}

/** The libp2p peer of a host. */
export function peerIdOf(host: HostId): PeerId {
  assert(isHex(host, 32), `host id ${host}`);
  return peerIdFromPublicKey(publicKeyFromRaw(Buffer.from(host, 'hex')));
}

/** The host key as libp2p wants it, from its 32-byte seed. */
export function privateKeyFromSeed(seed: Uint8Array): PrivateKey {
  assert(seed.length === 32, 'an Ed25519 seed has 32 bytes');
  // libp2p would derive the public half in JavaScript, which takes 20 ms.
  return privateKeyFromRaw(Buffer.concat([seed, Buffer.from(ed25519Signer(seed).publicKey, 'hex')]));
}
