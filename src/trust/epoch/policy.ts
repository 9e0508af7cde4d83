/** How many trustees share the root, how many of them sign, and when a seat is given to somebody else. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { ColdPlan } from './descriptor.ts';

/** One size of the quorum: `threshold` of `trustees` sign. */
export interface SeatRow {
  readonly trustees: number;
  readonly threshold: number;
}

export interface TrusteePolicy {
  /** Ascending in both numbers; the first is the founder alone. */
  readonly rows: readonly SeatRow[];
  /** A trustee that nobody reached for this long loses its seat once somebody can take it. */
  readonly replaceAfterMs: Millis;
  /** A host must have been alive for this long before it is given a seat. */
  readonly settleMs: Millis;
  /** The shares of a key are made anew so often, if nothing else makes them anew. */
  readonly refreshMs: Millis;
}

/** Cost grows with the square: key generation by 7 of 13 takes a party most of a second. */
export const maxTrustees = 13;

/** Survives the loss of two in seven; one trustee that lies in an agreement can split it. */
export const standardPolicy: TrusteePolicy = {
  rows: [
    { trustees: 1, threshold: 1 },
    { trustees: 3, threshold: 2 },
    { trustees: 5, threshold: 3 },
    { trustees: 7, threshold: 4 },
  ],
  replaceAfterMs: 10 * 60_000,
  settleMs: 30_000,
  refreshMs: 24 * 3_600_000,
};

/**
 * Agreement survives f liars while 2k - n > f: two, of five and of seven. It pays with availability: one of
 * five, two of seven may be down. Three hosts cannot have both, so they begin like everybody.
 */
export const highAssurancePolicy: TrusteePolicy = {
  ...standardPolicy,
  rows: [
    { trustees: 1, threshold: 1 },
    { trustees: 3, threshold: 2 },
    { trustees: 5, threshold: 4 },
    { trustees: 7, threshold: 5 },
  ],
};

/** The founder keeps the root, whoever else there is: for a mesh that trusts that host as a whole. */
export const founderPolicy: TrusteePolicy = {
  ...standardPolicy,
  rows: [{ trustees: 1, threshold: 1 }],
};

/**
 * Whether any two quorums share a trustee, without which one epoch could have two successors; and whether
 * there are as many trustees as must sign.
 */
export function isSafeQuorum(threshold: number, trustees: number): boolean {
  return threshold >= 1 && threshold <= trustees && trustees <= maxTrustees && 2 * threshold > trustees;
}

/** Refuses a policy that is unsafe or does not begin with the founder alone: `Fault('trustee-policy')`. */
export function checkPolicy(policy: TrusteePolicy): void {
  const wrong = (field: string, message: string): Fault => new Fault('trustee-policy', message, { field });
  const [first] = policy.rows;
  if (first?.trustees !== 1 || first.threshold !== 1)
    throw wrong('rows', 'the first size must be one trustee of one');
  for (const [i, row] of policy.rows.entries()) {
    if (!Number.isInteger(row.trustees) || !Number.isInteger(row.threshold))
      throw wrong('rows', 'sizes must be whole numbers');
    if (!isSafeQuorum(row.threshold, row.trustees))
      throw wrong('rows', `${row.threshold} of ${row.trustees} is no quorum: more than half must sign`);
    const before = policy.rows[i - 1];
    if (before !== undefined && (row.trustees <= before.trustees || row.threshold <= before.threshold))
      throw wrong('rows', 'sizes and thresholds must ascend');
  }
  if (!(policy.replaceAfterMs >= 1000)) throw wrong('replaceAfterMs', 'must be at least a second');
  if (!(policy.refreshMs >= 1000)) throw wrong('refreshMs', 'must be at least a second');
  if (!(policy.settleMs >= 0)) throw wrong('settleMs', 'must not be negative');
}

/**
 * The row that a quorum belongs to: that of its threshold, so that vacant seats do not lower it; of another
 * policy's quorum, the smallest that seats everybody.
 */
export function rowOf(policy: TrusteePolicy, threshold: number, trustees: number): SeatRow {
  return (
    policy.rows.find((row) => row.threshold === threshold && row.trustees >= trustees) ??
    policy.rows.find((row) => row.trustees >= trustees) ??
    policy.rows.at(-1)!
  );
}

/** An operator's wish that shares be sealed to a key of his for the day when too few trustees are left. */
export interface ColdWish {
  /** Ed25519, hex. */
  readonly key: HostId;
  /** At most so many; null for half of those who must sign. */
  readonly seats: number | null;
}

/** What fits an epoch's descriptor. */
const maxColdSeats = 6;

/** The cold seats of a quorum: always fewer than sign, so that whoever has the key can do nothing alone. */
export function coldPlanFor(wish: ColdWish | null, threshold: number): ColdPlan | null {
  if (wish === null) return null;
  const seats = Math.min(wish.seats ?? Math.floor(threshold / 2), threshold - 1, maxColdSeats);
  return seats < 1 ? null : { key: wish.key, seats };
}

/** How many new trustees must hold their share durably before an epoch may be proposed: one may die then. */
export function sharesNeeded(threshold: number, trustees: number): number {
  return Math.min(threshold + 1, trustees);
}
