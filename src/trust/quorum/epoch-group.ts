/** The group of trustees that an epoch's descriptor stands for, as the cryptography counts it: in seats. */
import { Fault, type HostId } from '../../core.ts';
import type { EpochDescriptor } from '../epoch/descriptor.ts';
import type { Party } from '../frost/ceremony.ts';
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

/** `held`, where its encoding is that outcome; else decoded, about a millisecond for each who must sign. */
function groupIn({ plan, outcome }: EpochDescriptor, held: GroupKey | null): GroupKey {
  if (held === null) return GroupKey.decode(outcome);
  if (Buffer.compare(held.encode(), outcome) !== 0)
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
  if (group.publicKey !== rootKey || group.threshold !== plan.threshold || !isOfTrustees)
    throw new Fault('outcome-unsound', `the group of epoch ${plan.epoch} is not what its descriptor says`);
  return group;
}
