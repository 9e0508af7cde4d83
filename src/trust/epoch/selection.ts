/**
 * Who should be a trustee: the hosts admitted first (nobody can make itself older), spread over zones, and
 * whoever has a seat keeps it until it has been absent for long or is gone.
 */
import type { HostId, Millis } from '../../core.ts';
import { precedes } from '../admission/admission.ts';
import { rowOf, type SeatRow, type TrusteePolicy } from './policy.ts';

/** What a host knows of another that may be, or is, a trustee. */
export interface Candidate {
  readonly host: HostId;
  readonly admittedAt: Millis;
  /** Failure domain; hosts that name none share the domain ''. */
  readonly zone: string;
  /** Whether its grant lets it hold a share. */
  readonly eligible: boolean;
  /** Since when it has been alive without a break; null while it is not. */
  readonly aliveSince: Millis | null;
  /** Since when nobody has reached it; null while it is alive. */
  readonly absentSince: Millis | null;
  /** Left for good, denied, or no longer admitted: not to hold a share any more. */
  readonly gone: boolean;
  /** It said nothing in dealings, as this host alone saw it. */
  readonly silent?: boolean;
}

export interface Seats {
  readonly trustees: readonly HostId[];
  readonly threshold: number;
}

/** Hosts that may be given a seat, the senior first. `settleMs` is how long they must have been alive. */
export function newcomersOf(
  candidates: readonly Candidate[],
  seated: readonly HostId[],
  settleMs: Millis,
  now: Millis,
): Candidate[] {
  return candidates
    .filter(
      (candidate) =>
        !isGone(candidate) &&
        candidate.aliveSince !== null &&
        candidate.aliveSince <= now - settleMs &&
        !seated.includes(candidate.host),
    )
    .sort((a, b) => (precedes(a, b) ? -1 : 1));
}

/** Whether a host is not to keep its seat or be given one: it may not hold a share, or is silent. */
export function isGone(candidate: Candidate | undefined): boolean {
  return candidate === undefined || candidate.silent === true || !mayHold(candidate);
}

/** Whether a host may hold a share, by what all hosts know of it. */
export function mayHold({ gone, eligible }: Candidate): boolean {
  return eligible && !gone;
}

/** Whether nobody has reached a host for `ms`. */
export function isAbsentFor(candidate: Candidate, ms: Millis, now: Millis): boolean {
  return candidate.absentSince !== null && candidate.absentSince <= now - ms;
}

/**
 * How many newcomers an epoch may seat: fewer than can sign, so that those who came by one change cannot act
 * on their own. The founder alone has nobody to keep them company.
 */
export function maxNewcomers(current: Seats, threshold: number): number {
  return current.threshold === 1 ? Number.MAX_SAFE_INTEGER : threshold - 1;
}

/**
 * The seats a zone may have: losing it must leave a quorum. Where there are too few zones for that, the least
 * number that still seats everybody.
 */
export function zoneCap(zones: readonly string[], row: SeatRow): number {
  const counts = new Map<string, number>();
  for (const zone of zones) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  for (let cap = Math.max(1, row.trustees - row.threshold); cap < row.trustees; cap++) {
    let seats = 0;
    for (const count of counts.values()) seats += Math.min(count, cap);
    if (seats >= row.trustees) return cap;
  }
  return row.trustees;
}

/** The seniors of `pool` up to `wanted`, no zone above `cap` together with those `kept`. */
function seat(kept: readonly Candidate[], pool: readonly Candidate[], cap: number, wanted: number): HostId[] {
  const counts = new Map<string, number>();
  for (const { zone } of kept) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  const seated: HostId[] = [];
  for (const { host, zone } of pool) {
    if (seated.length >= wanted) break;
    const count = counts.get(zone) ?? 0;
    if (count >= cap) continue;
    counts.set(zone, count + 1);
    seated.push(host);
  }
  return seated;
}

/** Fills `row`: newcomers only, the senior first; the cap rises only where seats would else stay empty. */
function fill(kept: readonly Candidate[], pool: readonly Candidate[], row: SeatRow): HostId[] {
  const wanted = row.trustees - kept.length;
  let cap = zoneCap(
    [...kept, ...pool].map((candidate) => candidate.zone),
    row,
  );
  let seated = seat(kept, pool, cap, wanted);
  while (seated.length < wanted && seated.length < pool.length && cap < row.trustees)
    seated = seat(kept, pool, ++cap, wanted);
  return seated;
}

/** Those who lose their seat, the gone before the absent, the longest absent first. */
function departures(
  current: Seats,
  known: ReadonlyMap<HostId, Candidate>,
  policy: TrusteePolicy,
  now: Millis,
): { readonly gone: HostId[]; readonly absent: HostId[] } {
  const gone = current.trustees.filter((host) => isGone(known.get(host)));
  const absent = current.trustees
    .filter((host) => !gone.includes(host) && isAbsentFor(known.get(host)!, policy.replaceAfterMs, now))
    .sort((a, b) => known.get(a)!.absentSince! - known.get(b)!.absentSince!);
  return { gone, absent };
}

/**
 * The seats as they should be; those of `current`, in their order, when nothing is to change. At most n - k
 * trustees leave in one epoch, so that a quorum of those who knew the last one stays. An absent trustee leaves
 * only for a successor, unless `mayVacate`, as where everybody seated has to take part; a gone one leaves its
 * seat vacant while nobody can take it. The threshold never falls.
 */
export function selectSeats(
  current: Seats,
  candidates: readonly Candidate[],
  policy: TrusteePolicy,
  now: Millis,
  mayVacate = false,
): Seats {
  const known = new Map(candidates.map((candidate) => [candidate.host, candidate]));
  const pool = newcomersOf(candidates, current.trustees, policy.settleMs, now);
  const { gone, absent } = departures(current, known, policy, now);
  const mayLeave = current.trustees.length - current.threshold;
  const leaving = [...gone, ...absent].slice(0, mayLeave);
  const row = rowOf(policy, current.threshold, current.trustees.length);
  for (const larger of policy.rows.toReversed())
    if (larger.trustees > row.trustees) {
      const grown = seatsIn(larger, current, leaving, known, pool);
      if (grown.trustees.length === larger.trustees) return grown;
    }
  const goneNow = leaving.filter((host) => gone.includes(host));
  const absentNow = leaving.filter((host) => absent.includes(host));
  // Newcomers first take the seats that are vacant anyway; only those left over replace who is absent.
  const vacant = row.trustees - current.trustees.length + goneNow.length;
  const replacements = Math.min(pool.length, maxNewcomers(current, row.threshold)) - vacant;
  const replaced = mayVacate ? absentNow : absentNow.slice(0, Math.max(0, replacements));
  return seatsIn(row, current, [...goneNow, ...replaced], known, pool);
}

function seatsIn(
  row: SeatRow,
  current: Seats,
  leaving: readonly HostId[],
  known: ReadonlyMap<HostId, Candidate>,
  pool: readonly Candidate[],
): Seats {
  const kept = current.trustees.filter((host) => !leaving.includes(host));
  const keptKnown = kept.map((host) => known.get(host)).filter((candidate) => candidate !== undefined);
  const seated = fill(keptKnown, pool, { ...row, trustees: row.trustees - (kept.length - keptKnown.length) });
  const trustees = [...kept, ...seated.slice(0, maxNewcomers(current, row.threshold))];
  // A quorum that nobody can fill is not a change to make.
  return trustees.length < row.threshold ? current : { trustees, threshold: row.threshold };
}

/** Whether two seatings are the same but for their order. */
export function sameSeats(a: Seats, b: Seats): boolean {
  return (
    a.threshold === b.threshold &&
    a.trustees.length === b.trustees.length &&
    a.trustees.every((host) => b.trustees.includes(host))
  );
}
