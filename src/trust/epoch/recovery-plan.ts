/** What a recovery comes to where it is possible, and else why it is not: see `Recovery`. */
import { Fault, type Millis } from '../../core.ts';
import { type EpochDescriptor, type EpochPlan, historyAfter } from './descriptor.ts';
import { coldPlanFor, type SeatRow, type TrusteePolicy } from './policy.ts';
import { canSign, type TrusteeView } from './rules.ts';
import { newcomersOf } from './selection.ts';

/** A quorum that is away while it is recovered may decide on this many epochs, and some, before the two meet. */
const roomForEpochs = 1000;

/** What whoever plans a recovery knows. */
export interface RecoveryView {
  readonly current: EpochDescriptor;
  readonly view: TrusteeView;
  readonly policy: TrusteePolicy;
  /** When the mesh was founded: a recovery is numbered by the seconds since then, so that no two have one number. */
  readonly foundedAt: Millis;
}

/**
 * All trustees that are left deal, and as many cold seats as are missing. Throws a `Fault`: `not-shared`,
 * `quorum-here`, `no-cold-seats`, `too-few-left`, `too-few-hosts`.
 */
export function planRecovery({ current, view, policy, foundedAt }: RecoveryView, now: Millis): EpochPlan {
  const before = current.plan;
  const known = new Map(view.candidates.map((candidate) => [candidate.host, candidate]));
  const left = before.trustees.filter((host) => canSign(known.get(host)));
  refuseUnlessPossible(before, left.length);
  const others = newcomersOf(view.candidates, before.trustees, policy.settleMs, now).map(({ host }) => host);
  const row = rowFor(policy, before.threshold, left.length + others.length);
  const trustees = [...left, ...others].slice(0, row.trustees);
  const seats = { trustees, threshold: row.threshold };
  return {
    mesh: before.mesh,
    epoch: before.epoch + roomForEpochs + Math.max(0, Math.floor((now - foundedAt) / 1000)),
    previous: current.hash,
    generation: before.generation,
    kind: 'recover',
    ...seats,
    dealers: left,
    ballot: 0,
    proposedAt: Math.floor(now),
    cold: coldPlanFor(view.cold, row.threshold),
    coldDealt: before.threshold - left.length,
    ...historyAfter(before, 'recover', seats),
  };
}

function refuseUnlessPossible({ trustees, threshold, cold, epoch }: EpochPlan, left: number): void {
  const held = `root shares of epoch ${epoch} are held by ${trustees.length} trustees, of which ${threshold} sign`;
  if (threshold === 1)
    throw new Fault('not-shared', 'one host holds the root: bring it back, or its disk from a backup');
  if (left >= threshold)
    throw new Fault('quorum-here', `${held}, and ${left} are here: nothing needs to be recovered`);
  if (cold === null) throw new Fault('no-cold-seats', `${held}; ${left} are left, and none was put away`);
  if (left === 0 || left + cold.seats < threshold)
    throw new Fault('too-few-left', `${held}; ${left} are left, and ${cold.seats} were put away`);
}

/**
 * A new key for hosts that are here, those that are left of the trustees first. Throws a `Fault`: `quorum-here`,
 * `too-few-hosts`.
 */
export function planRefounding({ current, view, policy, foundedAt }: RecoveryView, now: Millis): EpochPlan {
  const before = current.plan;
  const known = new Map(view.candidates.map((candidate) => [candidate.host, candidate]));
  const left = before.trustees.filter((host) => canSign(known.get(host)));
  if (left.length >= before.threshold)
    throw new Fault('quorum-here', `${left.length} trustees are here, and ${before.threshold} sign together`);
  const others = newcomersOf(view.candidates, before.trustees, policy.settleMs, now).map(({ host }) => host);
  const row = rowFor(policy, Math.max(2, before.threshold), left.length + others.length);
  const trustees = [...left, ...others].slice(0, row.trustees);
  const seats = { trustees, threshold: row.threshold };
  return {
    mesh: before.mesh,
    epoch: before.epoch + roomForEpochs + Math.max(0, Math.floor((now - foundedAt) / 1000)),
    previous: current.hash,
    generation: before.generation + 1,
    kind: 'refound',
    ...seats,
    dealers: trustees,
    ballot: 0,
    proposedAt: Math.floor(now),
    cold: coldPlanFor(view.cold, row.threshold),
    coldDealt: 0,
    ...historyAfter(before, 'refound', seats),
  };
}

/** The largest that all hosts here can fill, no larger than it was; or the smallest, with seats left vacant. */
function rowFor(policy: TrusteePolicy, threshold: number, hosts: number): SeatRow {
  const rows = policy.rows.filter((row) => row.trustees > 1 && row.threshold <= threshold);
  const row =
    rows.findLast(({ trustees }) => trustees <= hosts) ?? rows.find((one) => one.threshold <= hosts);
  if (row === undefined)
    throw new Fault(
      'too-few-hosts',
      `${hosts} hosts that may be trustees are here: a root is held by two or more`,
    );
  return row;
}
