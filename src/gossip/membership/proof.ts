/** A member's signature over its own incarnation: without it, anybody could make it look refuted or stale. */
import { ByteWriter, type HostId, type Signer, type Verify } from '../../core.ts';

const domain = new TextEncoder().encode('starling alive 1\0');

/** 64 bytes that prove that the signer was alive at this incarnation. */
export function aliveProof(signer: Signer, incarnation: number): Uint8Array {
  return signer.sign(message(signer.publicKey, incarnation));
}

export function isAliveProof(verify: Verify, id: HostId, incarnation: number, proof: Uint8Array): boolean {
  return verify(id, message(id, incarnation), proof);
}

function message(id: HostId, incarnation: number): Uint8Array {
  return new ByteWriter().raw(domain).hex(id).varint(incarnation).done();
}
