/**
 * A share that is given in public and that one receiver alone reads. The receiver names a key that it made for this
 * dealer in this ceremony; the dealer hides the share with a pad that only the two can make (Diffie-Hellman in the
 * group). Whoever opens to garbage shows its key to all, who then see the same: that gives away nothing but what a
 * cheat dealt, for every dealer has a key of its own.
 */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import type { Ceremony } from './ceremony.ts';
import { bindsShare, type Checked, type Dealing, type DealingFlaw } from './dealing.ts';
import {
  commit,
  decodeScalar,
  decodeWire,
  elementBytes,
  encodeElement,
  encodeScalar,
  hashScalar,
  multiplySecret,
  type Scalar,
  scalarBytes,
  scalars,
} from './group.ts';
import { padOf } from './key-agreement.ts';
import { areSeats } from './keys.ts';
import { maxSeats, type Seat } from './polynomial.ts';

/** Fresh random bytes that all keys and answers of one party in one ceremony come from. */
export const answerSeedBytes = 32;

/** What a receiver lacks: by the dealer's seat, the wire of the key that its answer is to be for. */
export type Claim = ReadonlyMap<Seat, Uint8Array>;

/** The secret of a receiver for the answer of one dealer. */
export function answerKey(seed: Uint8Array, ceremony: Ceremony, dealer: Seat): Scalar {
  return hashScalar('answer-key', seed, ceremony.id, Uint8Array.of(dealer));
}

/** The payload of a `missing`: the seats of the dealers whose shares are lacking, ascending, each with a key. */
export function encodeClaim(seed: Uint8Array, ceremony: Ceremony, lacking: readonly Seat[]): Uint8Array {
  const writer = new ByteWriter().varint(lacking.length);
  for (const seat of lacking) writer.u8(seat).raw(commit(answerKey(seed, ceremony, seat)).wire);
  return writer.done();
}

/** Throws `Fault('malformed')`. */
export function decodeClaim(ceremony: Ceremony, payload: Uint8Array): Claim {
  const reader = new ByteReader(payload);
  const entries = Array.from(
    { length: reader.varint(maxSeats) },
    () => [reader.u8(), Uint8Array.from(reader.raw(elementBytes))] as const,
  );
  reader.end();
  const seats = entries.map(([seat]) => seat);
  if (!areSeats(seats) || seats.some((seat) => ceremony.dealer(seat) === null))
    throw new Fault('malformed', 'a claim names dealers');
  for (const [, wire] of entries) decodeWire(wire);
  return new Map(entries);
}

/** Only both ends know it: of this dealer's answer to this receiver, for this key, in this ceremony. */
function padFor(
  ceremony: Ceremony,
  dealer: Seat,
  receiver: Seat,
  shared: Uint8Array,
  wires: readonly Uint8Array[],
): Scalar {
  return padOf(shared, ceremony.id, Uint8Array.of(dealer, receiver), ...wires);
}

/** The payload of an `answer`: the key it is for, what opens it together with that, the share under its pad. */
export function sealAnswer(
  seed: Uint8Array,
  ceremony: Ceremony,
  dealer: Seat,
  receiver: Seat,
  key: Uint8Array,
  value: Scalar,
): Uint8Array {
  const own = hashScalar('answer', seed, ceremony.id, Uint8Array.of(dealer, receiver), key);
  const { wire } = commit(own);
  const shared = encodeElement(multiplySecret(decodeWire(key), own));
  const pad = padFor(ceremony, dealer, receiver, shared, [key, wire]);
  return new ByteWriter()
    .raw(key)
    .raw(wire)
    .raw(encodeScalar(scalars.add(value, pad)))
    .done();
}

export const answerBytes: number = 2 * elementBytes + scalarBytes;

/** The key that an answer says it is for. Throws `Fault('malformed')`. */
export function answeredKey(payload: Uint8Array): Uint8Array {
  if (payload.length !== answerBytes) throw new Fault('malformed', 'an answer has a key, a key and a share');
  return payload.subarray(0, elementBytes);
}

/**
 * The share in the payload of an `answer` that the dealer of `dealing` signed for `receiver`; null where it is not for
 * the key of this secret, which convicts nobody.
 */
export function openAnswer(
  ceremony: Ceremony,
  dealing: Dealing,
  from: Seat,
  receiver: Seat,
  payload: Uint8Array,
  secret: Scalar,
): Checked<Scalar> | null {
  try {
    if (secret === 0n || !decodeWire(answeredKey(payload)).equals(commit(secret).element)) return null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
  const value = hiddenIn(ceremony, from, receiver, payload, secret);
  const flaw: DealingFlaw | null =
    value === null ? 'malformed' : bindsShare(dealing, receiver, value) ? null : 'wrong-share';
  return flaw === null ? { type: 'sound', value: value! } : { type: 'flawed', flaw };
}

/** Null where what the dealer wrote is no share. */
function hiddenIn(
  ceremony: Ceremony,
  from: Seat,
  receiver: Seat,
  payload: Uint8Array,
  secret: Scalar,
): Scalar | null {
  try {
    const reader = new ByteReader(payload);
    const wires = [reader.raw(elementBytes), reader.raw(elementBytes)] as const;
    const shared = encodeElement(multiplySecret(decodeWire(wires[1]), secret));
    const pad = padFor(ceremony, from, receiver, shared, wires);
    return scalars.sub(decodeScalar(reader.raw(scalarBytes)), pad);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
