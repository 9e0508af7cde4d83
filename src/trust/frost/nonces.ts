/** Round one of signing: nonces that can be used once, and the commitments to them that are made public. */
import { assert, ByteReader, ByteWriter, Fault } from '../../core.ts';
import {
  commit,
  decodeWire,
  type Element,
  elementBytes,
  encodeElement,
  encodeScalar,
  hashScalar,
  type Scalar,
} from './group.ts';
import { areSeats, type KeyShare } from './keys.ts';
import { maxSeats, type Seat } from './polynomial.ts';

/** Fresh random bytes that one pair of nonces is made from. */
export const nonceEntropyBytes = 64;

/** What one signer makes public before it signs. */
export interface NonceCommitment {
  readonly seat: Seat;
  readonly hiding: Element;
  readonly binding: Element;
  /** As RFC 9591 encodes an element: what binding factors are hashed from. */
  readonly hidingBytes: Uint8Array;
  readonly bindingBytes: Uint8Array;
  /** Seat and both commitments as messages carry them: see `decodeWire`. */
  readonly wire: Uint8Array;
}

/** Bytes of `NonceCommitment.wire`. */
export const nonceCommitmentBytes: number = 1 + 2 * elementBytes;

function nonceCommitment(seat: Seat, hiding: Element, binding: Element, wire: Uint8Array): NonceCommitment {
  return {
    seat,
    hiding,
    binding,
    hidingBytes: encodeElement(hiding),
    bindingBytes: encodeElement(binding),
    wire,
  };
}

/** Throws `Fault('malformed')`. */
export function decodeNonceCommitment(bytes: Uint8Array): NonceCommitment {
  const reader = new ByteReader(bytes);
  const seat = reader.u8();
  const hiding = reader.raw(elementBytes);
  const binding = reader.raw(elementBytes);
  reader.end();
  if (!areSeats([seat])) throw new Fault('malformed', 'a nonce commitment has a seat');
  return nonceCommitment(seat, decodeWire(hiding), decodeWire(binding), Uint8Array.from(bytes));
}

/** A list of commitments as one message: who signs, and with which nonces. Ascending by seat. */
export function encodeNonceCommitments(commitments: readonly NonceCommitment[]): Uint8Array {
  const sorted = commitments.toSorted((a, b) => a.seat - b.seat);
  const writer = new ByteWriter().varint(sorted.length);
  for (const { wire } of sorted) writer.raw(wire);
  return writer.done();
}

/** Throws `Fault('malformed')`, also where a seat is out of order or twice there. */
export function decodeNonceCommitments(bytes: Uint8Array): NonceCommitment[] {
  const reader = new ByteReader(bytes);
  const wires = Array.from({ length: reader.varint(maxSeats) }, () => reader.raw(nonceCommitmentBytes));
  reader.end();
  if (!areSeats(wires.map((wire) => wire[0]!)))
    throw new Fault('malformed', 'commitments must be in the order of their seats');
  return wires.map(decodeNonceCommitment);
}

/** The two secrets behind one commitment. */
export interface NonceSecrets {
  readonly hiding: Scalar;
  readonly binding: Scalar;
}

/**
 * A pair of nonces, good for one signature share: a second one from the same pair gives the key share away.
 * The secrets are no property and leave it once, so it can be neither copied, nor stored, nor used again.
 */
export class SigningNonces {
  readonly commitment: NonceCommitment;
  #secrets: NonceSecrets | null;

  private constructor(commitment: NonceCommitment, secrets: NonceSecrets) {
    this.commitment = commitment;
    this.#secrets = secrets;
  }

  /**
   * From `nonceEntropyBytes` fresh random bytes, which are overwritten, hashed with the share, so that a weak
   * source of randomness alone gives nothing away (RFC 9591, section 4.1).
   */
  static create(share: KeyShare, entropy: Uint8Array): SigningNonces {
    assert(entropy.length === nonceEntropyBytes, 'a pair of nonces is made from 64 bytes');
    const secret = encodeScalar(share.reveal());
    const hiding = hashScalar('nonce', entropy.subarray(0, 32), secret);
    const binding = hashScalar('nonce', entropy.subarray(32), secret);
    entropy.fill(0);
    secret.fill(0);
    const [hidingPart, bindingPart] = [commit(hiding), commit(binding)];
    const wire = new ByteWriter().u8(share.seat).raw(hidingPart.wire).raw(bindingPart.wire).done();
    const commitment = nonceCommitment(share.seat, hidingPart.element, bindingPart.element, wire);
    return new SigningNonces(commitment, { hiding, binding });
  }

  get isSpent(): boolean {
    return this.#secrets === null;
  }

  /** Gives the secrets out and forgets them. A second call is a bug. */
  spend(): NonceSecrets {
    const secrets = this.#secrets;
    assert(secrets !== null, 'nonces are used once');
    this.#secrets = null;
    return secrets;
  }
}
