/** What a group of trustees holds together: a public key with everything to check shares by, and each a share. */
import { assert, ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';
import {
  decodeElement,
  decodeScalar,
  type Element,
  elementBytes,
  encodeElement,
  encodeScalar,
  multiplyBase,
  type Scalar,
  scalarBytes,
} from './group.ts';
import { evaluateCommitments, maxSeats, type Seat } from './polynomial.ts';

const groupKeyVersion = 2;

/**
 * Whether `threshold` of `seats` is a group that signs and is safe: two disjoint quorums must not both exist,
 * and one trustee alone must not sign.
 */
export function isSoundThreshold(threshold: number, seats: number): boolean {
  return threshold >= 2 && threshold <= seats && seats <= maxSeats && 2 * threshold > seats;
}

/** Strictly ascending, each from 1 to 255. */
export function areSeats(seats: readonly Seat[]): boolean {
  return seats.every(
    (seat, i) => Number.isInteger(seat) && seat >= 1 && seat <= 255 && (i === 0 || seat > seats[i - 1]!),
  );
}

/** Fewer than sign, so that whoever opens them all can do nothing alone; and none is a trustee's. */
export function areColdSeats(cold: readonly Seat[], seats: readonly Seat[], threshold: number): boolean {
  return areSeats(cold) && cold.length < threshold && cold.every((seat) => !seats.includes(seat));
}

/** Public: what verifies signatures and each trustee's part in them. */
export class GroupKey {
  readonly threshold: number;
  /** Ascending. */
  readonly seats: readonly Seat[];
  /** Ascending; seats that are nobody's: their shares are sealed away, and do not sign. */
  readonly coldSeats: readonly Seat[];
  /** To the coefficients of the polynomial that nobody knows; the first is the public key. */
  readonly commitments: readonly Element[];
  /** The Ed25519 public key, hex. */
  readonly publicKey: HostId;
  private readonly publicShares = new Map<Seat, Element>();

  constructor(seats: readonly Seat[], commitments: readonly Element[], coldSeats: readonly Seat[] = []) {
    assert(areSeats(seats) && isSoundThreshold(commitments.length, seats.length), 'a group is sound');
    assert(areColdSeats(coldSeats, seats, commitments.length), 'cold seats are few, and nobody has them');
    this.threshold = commitments.length;
    this.seats = seats;
    this.coldSeats = coldSeats;
    this.commitments = commitments;
    this.publicKey = Buffer.from(encodeElement(commitments[0]!)).toString('hex');
  }

  /** Whether the seat has a share, be it a cold one. */
  has(seat: Seat): boolean {
    return this.seats.includes(seat) || this.coldSeats.includes(seat);
  }

  /** The share of `seat` times the base point. The group must have it. */
  publicShare(seat: Seat): Element {
    assert(this.has(seat), 'only seats of the group have shares');
    let share = this.publicShares.get(seat);
    if (share === undefined) {
      share = evaluateCommitments(this.commitments, seat);
      this.publicShares.set(seat, share);
    }
    return share;
  }

  encode(): Uint8Array {
    const writer = new ByteWriter().u8(groupKeyVersion).u8(this.seats.length);
    for (const seat of this.seats) writer.u8(seat);
    writer.u8(this.coldSeats.length);
    for (const seat of this.coldSeats) writer.u8(seat);
    writer.u8(this.threshold);
    for (const commitment of this.commitments) writer.raw(encodeElement(commitment));
    return writer.done();
  }

  /** Throws `Fault('malformed')`. About a millisecond a commitment: each one's subgroup is checked. */
  static decode(bytes: Uint8Array): GroupKey {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== groupKeyVersion) throw new Fault('malformed', 'a group key of an unknown version');
    const seats = [...reader.raw(reader.varint(maxSeats))];
    const coldSeats = [...reader.raw(reader.varint(maxSeats))];
    const threshold = reader.u8();
    if (!areSeats(seats) || !isSoundThreshold(threshold, seats.length))
      throw new Fault('malformed', `${threshold} of ${seats.length} trustees make no sound group`);
    if (!areColdSeats(coldSeats, seats, threshold)) throw new Fault('malformed', 'unsound cold seats');
    const encoded = Array.from({ length: threshold }, () => reader.raw(elementBytes));
    reader.end();
    return new GroupKey(seats, encoded.map(decodeElement), coldSeats);
  }
}

/** One trustee's secret. It is no property: printing or serialising a share never shows it. */
export class KeyShare {
  readonly seat: Seat;
  readonly #secret: Scalar;

  constructor(seat: Seat, secret: Scalar) {
    this.seat = seat;
    this.#secret = secret;
  }

  /** For arithmetic with it; never to be kept or shown. */
  reveal(): Scalar {
    return this.#secret;
  }

  /** Whether it is the share that `group` expects of this seat. */
  belongsTo(group: GroupKey): boolean {
    return group.has(this.seat) && multiplyBase(this.#secret).equals(group.publicShare(this.seat));
  }

  /** Secret bytes: only ever to be sealed, and then wiped. */
  encode(): Uint8Array {
    return new ByteWriter().u8(this.seat).raw(encodeScalar(this.#secret)).done();
  }

  /** Throws `Fault('malformed')`. */
  static decode(bytes: Uint8Array): KeyShare {
    const reader = new ByteReader(bytes);
    const seat = reader.u8();
    const secret = decodeScalar(reader.raw(scalarBytes));
    reader.end();
    if (!areSeats([seat])) throw new Fault('malformed', 'a share has a seat');
    return new KeyShare(seat, secret);
  }
}
