/**
 * Cold seats: shares of a group key that no host holds. Every dealer seals the values of these seats to one key,
 * that of whoever is to help when too few trustees are left; a seat's share is the sum of what all dealers sealed
 * for it. The holder of the key takes no part in a dealing, and those shares are as new as everybody's.
 *
 * Only the holder can tell whether a dealer sealed what it committed to (others see a pad and a sum), so it looks
 * after each dealing: `openColdShares`.
 */
import { type ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';
import { decodeScalar, encodeScalar, type Scalar, scalarBytes, scalars } from './group.ts';
import { type Agree, agreementEntropyBytes, agreementWireBytes, agreeWith, padOf } from './key-agreement.ts';
import { type GroupKey, KeyShare } from './keys.ts';
import { maxSeats, type Polynomial, type Seat } from './polynomial.ts';

/** Seats of one group whose shares are sealed to `key`, an Ed25519 key. */
export interface ColdSeats {
  readonly key: HostId;
  /** Ascending. */
  readonly seats: readonly Seat[];
}

/** With a dealing of thirteen, what all have sealed still fits an epoch's descriptor. */
export const maxColdSeats = 6;
export const coldEntropyBytes: number = agreementEntropyBytes;

/** What one dealer sealed: a fresh public key, and a scalar for each seat. */
export function coldBlockBytes(count: number): number {
  return count === 0 ? 0 : agreementWireBytes + count * scalarBytes;
}

/** Of one session and one dealer: a pad is used once. */
function padFor(secret: Uint8Array, session: string, dealer: Seat, seat: Seat): Scalar {
  return padOf(secret, Buffer.from(session, 'hex'), Uint8Array.of(dealer, seat));
}

/** Seals the values that `polynomial` has at the cold seats. `entropy` has `coldEntropyBytes`. */
export function sealColdShares(
  polynomial: Polynomial,
  cold: ColdSeats,
  session: string,
  dealer: Seat,
  entropy: Uint8Array,
): Uint8Array {
  const { wire, secret } = agreeWith(cold.key, entropy);
  const writer = new ByteWriter().raw(wire);
  for (const seat of cold.seats)
    writer.raw(encodeScalar(scalars.add(polynomial.evaluate(seat), padFor(secret, session, dealer, seat))));
  return writer.done();
}

/** Throws `Fault('malformed')` unless it is a block for so many seats; what is in it only the holder can tell. */
export function checkColdBlock(block: Uint8Array, count: number): void {
  if (block.length !== coldBlockBytes(count))
    throw new Fault('malformed', `no shares for ${count} cold seats`);
  for (let at = agreementWireBytes; at < block.length; at += scalarBytes)
    decodeScalar(block.subarray(at, at + scalarBytes));
}

/** What each dealer sealed, by its seat. */
export type ColdBlocks = ReadonlyMap<Seat, Uint8Array>;

export function writeColdBlocks(writer: ByteWriter, blocks: ColdBlocks): void {
  writer.varint(blocks.size);
  for (const [dealer, block] of blocks) writer.u8(dealer).bytes(block);
}

/** Throws `Fault('malformed')`. */
export function readColdBlocks(reader: ByteReader): ColdBlocks {
  const blocks = new Map<Seat, Uint8Array>();
  const count = reader.varint(maxSeats);
  for (let i = 0; i < count; i++)
    blocks.set(reader.u8(), Uint8Array.from(reader.bytes(coldBlockBytes(maxColdSeats))));
  return blocks;
}

/**
 * The shares of the cold seats of `group`, which the dealers of `session` sealed. Fewer than sign: nothing is put
 * together. Throws `Fault`: `malformed`; `cold-share-wrong`, naming the seats, where they do not fit the group.
 */
export function openColdShares(
  group: GroupKey,
  blocks: ColdBlocks,
  session: string,
  agree: Agree,
): readonly KeyShare[] {
  const { coldSeats } = group;
  const sums = coldSeats.map(() => 0n);
  for (const [dealer, block] of blocks) {
    checkColdBlock(block, coldSeats.length);
    const secret = agree(block.subarray(0, agreementWireBytes));
    for (const [i, seat] of coldSeats.entries()) {
      const at = agreementWireBytes + i * scalarBytes;
      const padded = decodeScalar(block.subarray(at, at + scalarBytes));
      const value = scalars.sub(padded, padFor(secret, session, dealer, seat));
      sums[i] = scalars.add(sums[i]!, value);
    }
  }
  const shares = coldSeats.map((seat, i) => new KeyShare(seat, sums[i]!));
  const wrong = shares.filter((share) => !share.belongsTo(group)).map(({ seat }) => seat);
  if (wrong.length > 0)
    throw new Fault(
      'cold-share-wrong',
      `the shares of the cold seats ${wrong.join(', ')} do not fit the root`,
    );
  return shares;
}
