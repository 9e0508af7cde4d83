/** What dealers send: public commitments to a polynomial, and to each receiver its value, which they bind. */
import { assert, ByteReader, ByteWriter, Fault } from '../../core.ts';
import type { Ceremony } from './ceremony.ts';
import { checkColdBlock, coldBlockBytes, coldEntropyBytes, maxColdSeats, sealColdShares } from './cold.ts';
import { digestBytes, digestOf } from './envelope.ts';
import {
  add,
  combine,
  commit,
  decodeScalar,
  decodeWire,
  type Element,
  elementBytes,
  encodeElement,
  encodeScalar,
  hashScalar,
  multiplyBase,
  multiplyBasePublic,
  type Scalar,
  scalarBytes,
  scalarFromEntropy,
  scalars,
  wideScalarBytes,
} from './group.ts';
import type { KeyShare } from './keys.ts';
import { evaluateCommitments, maxSeats, Polynomial, type Seat } from './polynomial.ts';

/** What can be wrong with what a dealer signed; each can be proved to anybody who has the envelopes. */
export type DealingFlaw =
  | 'malformed'
  | 'wrong-degree'
  | 'missing-proof'
  | 'wrong-proof'
  | 'wrong-constant'
  | 'wrong-share';

/** A proof that the dealer knows the secret it commits to: a commitment and a response. */
const proofBytes: number = elementBytes + scalarBytes;

/** Fresh random bytes that a dealer of this ceremony needs. */
export function dealingEntropyBytes(ceremony: Ceremony): number {
  const { previous, threshold, cold } = ceremony.terms;
  const polynomialBytes =
    previous === null
      ? Polynomial.entropyBytes(threshold) + wideScalarBytes
      : Polynomial.entropyBytes(threshold - 1);
  return polynomialBytes + (cold === null ? 0 : coldEntropyBytes);
}

/** A dealer's own: its polynomial, and the payload of its `dealing`. */
export interface OwnDealing {
  readonly polynomial: Polynomial;
  readonly payload: Uint8Array;
}

/**
 * Deals as `seat`: a secret drawn from `entropy` to generate a key, or the weighted `shares` of the previous
 * group: a trustee's one, or those of all cold seats that deal. `entropy` has `dealingEntropyBytes` and is never
 * used again.
 */
export function deal(
  ceremony: Ceremony,
  seat: Seat,
  shares: readonly KeyShare[],
  entropy: Uint8Array,
): OwnDealing {
  const { previous, threshold, cold, session } = ceremony.terms;
  assert(entropy.length === dealingEntropyBytes(ceremony), 'a dealing is drawn from the entropy it needs');
  const ownBytes = entropy.length - (cold === null ? 0 : coldEntropyBytes);
  const own = entropy.subarray(0, ownBytes);
  const sealed = (polynomial: Polynomial): Uint8Array =>
    cold === null
      ? new Uint8Array()
      : sealColdShares(polynomial, cold, session, seat, entropy.subarray(ownBytes));
  if (previous === null) {
    const polynomial = Polynomial.draw(threshold, own.subarray(wideScalarBytes));
    const nonce = scalarFromEntropy(own.subarray(0, wideScalarBytes));
    const proof = (constant: Element): Uint8Array => prove(ceremony, seat, polynomial, constant, nonce);
    return encodeDealing(polynomial, proof, sealed(polynomial));
  }
  const dealt = ceremony.seatsOf(seat);
  assert(
    shares.length === dealt.length &&
      shares.every((share, i) => share.seat === dealt[i] && share.belongsTo(previous)),
    'a dealer has its own share',
  );
  const constant = shares.reduce(
    (sum, share) => scalars.add(sum, scalars.mul(ceremony.weightOf(share.seat), share.reveal())),
    0n,
  );
  const polynomial = Polynomial.drawThrough(constant, threshold, own);
  return encodeDealing(polynomial, () => new Uint8Array(), sealed(polynomial));
}

function encodeDealing(
  polynomial: Polynomial,
  proof: (constant: Element) => Uint8Array,
  cold: Uint8Array,
): OwnDealing {
  const commitments = polynomial.commitments();
  const writer = new ByteWriter().u8(commitments.length);
  for (const { wire } of commitments) writer.raw(wire);
  return { polynomial, payload: writer.bytes(proof(commitments[0]!.element)).bytes(cold).done() };
}

/** Bound to the ceremony and the seat: a proof heard elsewhere is worth nothing here. */
function proofChallenge(ceremony: Ceremony, seat: Seat, constant: Element, nonce: Element): Scalar {
  const parts = [ceremony.id, Uint8Array.of(seat), encodeElement(constant), encodeElement(nonce)];
  return hashScalar('dkg', ...parts);
}

/** Schnorr's proof of knowledge of the constant term, which keeps dealers from building on others' secrets. */
function prove(
  ceremony: Ceremony,
  seat: Seat,
  polynomial: Polynomial,
  constant: Element,
  nonce: Scalar,
): Uint8Array {
  const { element, wire } = commit(nonce);
  const challenge = proofChallenge(ceremony, seat, constant, element);
  const response = scalars.add(nonce, scalars.mul(polynomial.constant, challenge));
  return new ByteWriter().raw(wire).raw(encodeScalar(response)).done();
}

function provesKnowledge(ceremony: Ceremony, seat: Seat, constant: Element, proof: Uint8Array): boolean {
  const nonce = decodeWire(proof.subarray(0, elementBytes));
  const response = decodeScalar(proof.subarray(elementBytes));
  const challenge = proofChallenge(ceremony, seat, constant, nonce);
  return multiplyBasePublic(response).equals(add(nonce, combine([constant], [challenge])));
}

/** A dealing that was checked. */
export interface Dealing {
  readonly digest: Uint8Array;
  readonly commitments: readonly Element[];
  /** What it sealed for the cold seats; empty where there are none. */
  readonly cold: Uint8Array;
}

/** What a check came to. */
export type Checked<T> =
  | { readonly type: 'sound'; readonly value: T }
  | { readonly type: 'flawed'; readonly flaw: DealingFlaw };

function flawed(flaw: DealingFlaw): { readonly type: 'flawed'; readonly flaw: DealingFlaw } {
  return { type: 'flawed', flaw };
}

/** Reads what its sender signed: what cannot be read is the sender's flaw. */
function readSigned<T>(read: () => Checked<T>): Checked<T> {
  try {
    return read();
  } catch (error) {
    if (error instanceof Fault) return flawed('malformed');
    throw error;
  }
}

/** Checks the payload of a `dealing` signed by the dealer of `seat`. Everybody comes to the same result. */
export function checkDealing(ceremony: Ceremony, seat: Seat, payload: Uint8Array): Checked<Dealing> {
  return readSigned(() => {
    const reader = new ByteReader(payload);
    const wires = Array.from({ length: reader.varint(maxSeats) }, () => reader.raw(elementBytes));
    const proof = reader.bytes(proofBytes);
    const cold = Uint8Array.from(reader.bytes(coldBlockBytes(maxColdSeats)));
    reader.end();
    checkColdBlock(cold, ceremony.terms.cold?.seats.length ?? 0);
    if (wires.length !== ceremony.terms.threshold) return flawed('wrong-degree');
    const commitments = wires.map(decodeWire);
    const flaw = checkConstant(ceremony, seat, commitments[0]!, proof);
    if (flaw !== null) return flawed(flaw);
    return { type: 'sound', value: { digest: digestOf(payload), commitments, cold } };
  });
}

function checkConstant(
  ceremony: Ceremony,
  seat: Seat,
  constant: Element,
  proof: Uint8Array,
): DealingFlaw | null {
  if (ceremony.terms.previous === null) {
    if (proof.length === 0) return 'missing-proof';
    if (proof.length !== proofBytes) return 'malformed';
    return provesKnowledge(ceremony, seat, constant, proof) ? null : 'wrong-proof';
  }
  if (proof.length > 0) return 'malformed';
  return constant.equals(ceremony.expectedConstant(seat)) ? null : 'wrong-constant';
}

/** The payload of a `share`: which dealing it is of, and the value for `receiver`. Secret. */
export function encodeShare(dealing: OwnDealing, receiver: Seat): Uint8Array {
  const value = encodeScalar(dealing.polynomial.evaluate(receiver));
  return new ByteWriter().raw(digestOf(dealing.payload)).raw(value).done();
}

/** Checks the payload of a `share` for `receiver` against the dealing it must be of. */
export function checkShare(dealing: Dealing, receiver: Seat, payload: Uint8Array): Checked<Scalar> {
  return readSigned(() => {
    const reader = new ByteReader(payload);
    const digest = reader.raw(digestBytes);
    const value = decodeScalar(reader.raw(scalarBytes));
    reader.end();
    const isOfDealing = Buffer.compare(digest, dealing.digest) === 0;
    return isOfDealing && bindsShare(dealing, receiver, value)
      ? { type: 'sound', value }
      : flawed('wrong-share');
  });
}

/** Whether a value is what the dealing's commitments bind the dealer to for `receiver` (Feldman). */
export function bindsShare(dealing: Dealing, receiver: Seat, value: Scalar): boolean {
  return multiplyBase(value).equals(evaluateCommitments(dealing.commitments, receiver));
}
