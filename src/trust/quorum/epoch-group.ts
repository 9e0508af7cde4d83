/** The group of trustees that an epoch's descriptor stands for, as the cryptography counts it: in seats. */
import { ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';
import type { EpochDescriptor, EpochPlan } from '../epoch/descriptor.ts';
import type { Party } from '../frost/ceremony.ts';
import { type ColdBlocks, type ColdSeats, readColdBlocks, writeColdBlocks } from '../frost/cold.ts';
import { GroupKey } from '../frost/keys.ts';
import type { Seat } from '../frost/polynomial.ts';

/** The seats of trustees: their places, from 1. */
export function partiesOf(trustees: readonly HostId[]): Party[] {
  return trustees.map((host, i) => ({ seat: i + 1, host }));
}

/** The seat of `host`; null where it has none. */
export function seatOf(trustees: readonly HostId[], host: HostId): Seat | null {
  const place = trustees.indexOf(host);
  return place === -1 ? null : place + 1;
}

/** The cold seats of an epoch: they follow those of the trustees. */
export function coldSeatsOf({ trustees, cold }: EpochPlan): ColdSeats | null {
  if (cold === null) return null;
  return { key: cold.key, seats: Array.from({ length: cold.seats }, (_, i) => trustees.length + 1 + i) };
}

/** Of the cold seats of `before`, those that deal in the recovery `plan`. */
export function coldDealerOf(plan: EpochPlan, before: EpochPlan): ColdSeats | null {
  const cold = plan.coldDealt === 0 ? null : coldSeatsOf(before);
  return cold === null ? null : { key: cold.key, seats: cold.seats.slice(0, plan.coldDealt) };
}

const maxGroupBytes = 2048;

/** What everybody may know of the shares of an epoch: what checks them, and those that are sealed. */
export function encodeOutcome(group: GroupKey, cold: ColdBlocks): Uint8Array {
  const writer = new ByteWriter().bytes(group.encode());
  writeColdBlocks(writer, cold);
  return writer.done();
}

/** Throws `Fault('malformed')`, as for the genesis, which has none. */
function readOutcome(outcome: Uint8Array): { readonly encoded: Uint8Array; readonly cold: ColdBlocks } {
  const reader = new ByteReader(outcome);
  const encoded = reader.bytes(maxGroupBytes);
  const cold = readColdBlocks(reader);
  reader.end();
  return { encoded, cold };
}

/** What the dealers of an epoch sealed for its cold seats. Throws `Fault('malformed')`. */
export function coldBlocksOf({ outcome }: EpochDescriptor): ColdBlocks {
  return readOutcome(outcome).cold;
}

/** `held`, where its encoding is that outcome's; else decoded, about a millisecond for each who must sign. */
function groupIn({ plan, outcome }: EpochDescriptor, held: GroupKey | null): GroupKey {
  const { encoded } = readOutcome(outcome);
  if (held === null) return GroupKey.decode(encoded);
  if (Buffer.compare(held.encode(), encoded) !== 0)
    throw new Fault('share-foreign', `the share is not one of epoch ${plan.epoch}`);
  return held;
}

/**
 * The group in an epoch's outcome; `held` is the group of a share that should be of that epoch. Throws `Fault`:
 * `share-foreign` where it is not; `malformed`, as for the genesis, which has none; `outcome-unsound` where it
 * does not fit what else the descriptor says.
 */
export function groupOfEpoch(descriptor: EpochDescriptor, held: GroupKey | null = null): GroupKey {
  const { plan, rootKey } = descriptor;
  const group = groupIn(descriptor, held);
  const isOfTrustees =
    group.seats.length === plan.trustees.length && group.seats.every((seat, i) => seat === i + 1);
  const isCold = group.coldSeats.join() === (coldSeatsOf(plan)?.seats ?? []).join();
  if (group.publicKey !== rootKey || group.threshold !== plan.threshold || !isOfTrustees || !isCold)
    throw new Fault('outcome-unsound', `the group of epoch ${plan.epoch} is not what its descriptor says`);
  return group;
}
