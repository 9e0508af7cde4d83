/**
 * Round two of FROST(Ed25519, SHA-512): signature shares, their verification, and the signature they add up
 * to, which is a plain Ed25519 signature (RFC 9591, sections 4 and 5).
 */
import { assert, ed25519Verify, Fault } from '../../core.ts';
import {
  add,
  combine,
  decodeScalar,
  type Element,
  encodeElement,
  encodeScalar,
  hashBytes,
  hashChallenge,
  hashScalar,
  multiplyBasePublic,
  type Scalar,
  scalars,
  sum,
} from './group.ts';
import type { GroupKey, KeyShare } from './keys.ts';
import type { NonceCommitment, SigningNonces } from './nonces.ts';
import { lagrangeWeight, type Seat } from './polynomial.ts';

/** Longest message to sign; certificates have about a kilobyte. */
export const maxSigningMessageBytes = 65_536;

/** What one signer contributes, apart from its secrets. */
interface Part {
  readonly commitment: NonceCommitment;
  readonly bindingFactor: Scalar;
  readonly weight: Scalar;
}

/** One signature in the making: who signs what with which nonces. Signers and coordinator compute the same. */
export class SigningSession {
  readonly group: GroupKey;
  readonly message: Uint8Array;
  /** Ascending. */
  readonly seats: readonly Seat[];
  /** The first half of the signature. */
  readonly groupCommitment: Uint8Array;
  readonly challenge: Scalar;
  private readonly parts: ReadonlyMap<Seat, Part>;

  /**
   * Sorts `commitments` by seat. Throws `Fault`: `message-too-long`, `too-few-signers`, `unknown-signer`,
   * `duplicate-signer`.
   */
  constructor(group: GroupKey, message: Uint8Array, commitments: readonly NonceCommitment[]) {
    if (message.length > maxSigningMessageBytes)
      throw new Fault('message-too-long', `a message to sign has at most ${maxSigningMessageBytes} bytes`);
    const sorted = sortedSigners(group, commitments);
    this.group = group;
    this.message = message;
    this.seats = sorted.map((commitment) => commitment.seat);
    const factors = bindingFactors(group, message, sorted);
    this.parts = new Map(
      sorted.map((commitment, i) => [
        commitment.seat,
        { commitment, bindingFactor: factors[i]!, weight: lagrangeWeight(this.seats, commitment.seat) },
      ]),
    );
    const hiding = sum(sorted.map((commitment) => commitment.hiding));
    const binding = combine(
      sorted.map((commitment) => commitment.binding),
      factors,
    );
    this.groupCommitment = encodeElement(add(hiding, binding));
    const publicKey = encodeElement(group.commitments[0]!);
    this.challenge = hashChallenge(this.groupCommitment, publicKey, message);
  }

  /** Throws `Fault('unknown-signer')`. */
  part(seat: Seat): Part {
    const part = this.parts.get(seat);
    if (part === undefined) throw new Fault('unknown-signer', `trustee ${seat} does not sign this`);
    return part;
  }
}

function sortedSigners(group: GroupKey, commitments: readonly NonceCommitment[]): NonceCommitment[] {
  if (commitments.length < group.threshold)
    throw new Fault('too-few-signers', `${group.threshold} trustees must sign, not ${commitments.length}`);
  const sorted = commitments.toSorted((a, b) => a.seat - b.seat);
  for (const [i, { seat }] of sorted.entries()) {
    if (!group.seats.includes(seat)) throw new Fault('unknown-signer', `no trustee has seat ${seat}`);
    if (i > 0 && sorted[i - 1]!.seat === seat)
      throw new Fault('duplicate-signer', `trustee ${seat} is named twice`);
  }
  return sorted;
}

function identifierBytes(seat: Seat): Uint8Array {
  return encodeScalar(BigInt(seat));
}

/** RFC 9591, section 4.4: ties each signer's nonces to the message and to everybody's commitments. */
function bindingFactors(
  group: GroupKey,
  message: Uint8Array,
  sorted: readonly NonceCommitment[],
): readonly Scalar[] {
  const encoded = sorted.flatMap(({ seat, hidingBytes, bindingBytes }) => [
    identifierBytes(seat),
    hidingBytes,
    bindingBytes,
  ]);
  const prefix = Buffer.concat([
    encodeElement(group.commitments[0]!),
    hashBytes('msg', message),
    hashBytes('com', ...encoded),
  ]);
  return sorted.map(({ seat }) => hashScalar('rho', prefix, identifierBytes(seat)));
}

/**
 * This trustee's share of the signature, 32 bytes (RFC 9591, section 5.2). The nonces are spent whatever
 * comes of it. Throws `Fault`: `unknown-signer`, `foreign-commitment` where the session has other commitments
 * for this seat than those of `nonces`.
 */
export function signShare(session: SigningSession, share: KeyShare, nonces: SigningNonces): Uint8Array {
  const { hiding, binding } = nonces.spend();
  const { commitment, bindingFactor, weight } = session.part(share.seat);
  const own = nonces.commitment;
  if (!commitment.hiding.equals(own.hiding) || !commitment.binding.equals(own.binding))
    throw new Fault('foreign-commitment', 'the session has commitments that are not of these nonces');
  const response = scalars.mul(scalars.mul(weight, share.reveal()), session.challenge);
  return encodeScalar(scalars.add(scalars.add(hiding, scalars.mul(binding, bindingFactor)), response));
}

/** Whether `seat` signed honestly (RFC 9591, section 5.4). Throws `Fault('unknown-signer')`. */
export function verifySignatureShare(session: SigningSession, seat: Seat, share: Uint8Array): boolean {
  const { commitment, bindingFactor, weight } = session.part(seat);
  const response = scalarOrNull(share);
  if (response === null) return false;
  const factors = [bindingFactor, scalars.mul(session.challenge, weight)];
  const rest: Element = combine([commitment.binding, session.group.publicShare(seat)], factors);
  return multiplyBasePublic(response).equals(add(commitment.hiding, rest));
}

function scalarOrNull(bytes: Uint8Array): Scalar | null {
  try {
    return decodeScalar(bytes);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

/** A signature that verifies under the group's key, or the seats whose shares spoilt it. */
export type Aggregation =
  | { readonly type: 'signed'; readonly signature: Uint8Array }
  | { readonly type: 'blamed'; readonly seats: readonly Seat[] };

/**
 * Adds the shares of all signers up (RFC 9591, section 5.3) and verifies the sum as a plain Ed25519
 * signature: shares are looked at one by one only where that fails. Throws `Fault('missing-share')`.
 */
export function aggregate(session: SigningSession, shares: ReadonlyMap<Seat, Uint8Array>): Aggregation {
  let response: Scalar | null = 0n;
  for (const seat of session.seats) {
    const share = shares.get(seat);
    if (share === undefined) throw new Fault('missing-share', `trustee ${seat} sent no share`);
    const term = scalarOrNull(share);
    response = response === null || term === null ? null : scalars.add(response, term);
  }
  if (response !== null) {
    const signature = Buffer.concat([session.groupCommitment, encodeScalar(response)]);
    if (ed25519Verify(session.group.publicKey, session.message, signature))
      return { type: 'signed', signature: Uint8Array.from(signature) };
  }
  const seats = session.seats.filter((seat) => !verifySignatureShare(session, seat, shares.get(seat)!));
  assert(seats.length > 0, 'shares that verify add up to a signature');
  return { type: 'blamed', seats };
}
