/** What may follow an epoch: what everybody can check of it for ever, and what trustees check with their own eyes. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import { precedes } from '../admission/admission.ts';
import { type EpochDescriptor, type EpochPlan, historyAfter, keepsKey } from './descriptor.ts';
import { type ColdWish, coldPlanFor, rowOf, type TrusteePolicy } from './policy.ts';
import {
  type Candidate,
  isAbsentFor,
  isGone,
  maxNewcomers,
  mayHold,
  newcomersOf,
  sameSeats,
  zoneCap,
} from './selection.ts';

/** What is to be replaced although nobody comes or goes: an operator asked for it, or its time has come. */
export interface Renewals {
  /** A new root key if the present one is of this generation or an earlier one; null for none. */
  readonly rotateGeneration: number | null;
  /** New shares of the key if the present epoch is this one or an earlier one; null for none. */
  readonly refreshEpoch: number | null;
}

/** What a host sees of the mesh, as far as it matters to who holds the root. */
export interface TrusteeView extends Renewals {
  /** Every host that is a trustee or may become one. */
  readonly candidates: readonly Candidate[];
  /** What it goes along with: by the clocks of others the time may have come already. */
  readonly allowed: Renewals;
  /** What an operator wants sealed to a key of his; null for nothing. */
  readonly cold: ColdWish | null;
}

const noRenewals: Renewals = { rotateGeneration: null, refreshEpoch: null };

export const emptyView: TrusteeView = { candidates: [], ...noRenewals, allowed: noRenewals, cold: null };

export function wantsRotation(view: Renewals, current: EpochDescriptor): boolean {
  return view.rotateGeneration !== null && current.plan.generation <= view.rotateGeneration;
}

export function wantsRefresh(view: Renewals, current: EpochDescriptor): boolean {
  return view.refreshEpoch !== null && current.plan.epoch <= view.refreshEpoch;
}

/** Whether other cold seats are wanted than there are; a quorum's own key, made anew, has the right ones at once. */
export function wantsOtherCold(view: TrusteeView, { plan }: EpochDescriptor): boolean {
  return plan.threshold > 1 && !sameCold(plan, view, plan.threshold);
}

function sameCold(plan: Pick<EpochPlan, 'cold'>, view: TrusteeView, threshold: number): boolean {
  const wanted = coldPlanFor(view.cold, threshold);
  return plan.cold?.key === wanted?.key && plan.cold?.seats === wanted?.seats;
}

function isSubset(hosts: readonly HostId[], of: readonly HostId[]): boolean {
  return hosts.every((host) => of.includes(host));
}

/**
 * What is true of a successor whoever looks and whenever. The key of a founder alone existed whole on one
 * host, so it is never shared out: the first quorum makes a new one. Throws `Fault('not-a-successor')`.
 */
export function checkSuccession(plan: EpochPlan, current: EpochDescriptor): void {
  const before = current.plan;
  const wrong = (field: string, message: string): Fault => new Fault('not-a-successor', message, { field });
  if (plan.mesh !== before.mesh) throw wrong('mesh', 'of another mesh');
  if (plan.previous !== current.hash) throw wrong('previous', 'follows another epoch of that number');
  const { formers, weakest } = historyAfter(before, plan.kind, plan);
  if (plan.weakest !== weakest || plan.formers.join() !== formers.join())
    throw wrong('formers', 'tells another history of the key');
  if (plan.kind === 'recover') {
    checkRecovery(plan, before, wrong);
    return;
  }
  if (plan.kind === 'refound') {
    checkRefounding(plan, before, wrong);
    return;
  }
  if (plan.epoch !== before.epoch + 1) throw wrong('epoch', `does not follow epoch ${before.epoch}`);
  if (plan.coldDealt !== 0) throw wrong('coldDealt', 'trustees decide on it, and trustees deal');
  const left = before.trustees.filter((host) => !plan.trustees.includes(host)).length;
  if (left > before.trustees.length - before.threshold)
    throw wrong('trustees', `${left} trustees leave at once: too many to hand over`);
  if (plan.kind === 'generate') {
    if (plan.generation !== before.generation + 1) throw wrong('generation', 'skips a generation');
    if (plan.dealers.length !== plan.trustees.length || !isSubset(plan.dealers, plan.trustees))
      throw wrong('dealers', 'a new key is dealt by all who will hold it');
  } else if (plan.kind === 'reshare') {
    if (before.threshold === 1) throw wrong('kind', 'a key that one host held whole is not shared out');
    if (plan.generation !== before.generation) throw wrong('generation', 'the key stays, so does its number');
    if (plan.dealers.length !== before.threshold || !isSubset(plan.dealers, before.trustees))
      throw wrong('dealers', 'exactly a quorum of the present trustees deals');
  } else throw wrong('kind', 'there is one genesis');
}

/**
 * A recovery leaves room before its number: whatever those who are away have decided meanwhile, or will, comes
 * before it, and so ends with it wherever the two meet.
 */
function checkRecovery(
  plan: EpochPlan,
  before: EpochPlan,
  wrong: (field: string, message: string) => Fault,
): void {
  if (plan.epoch <= before.epoch + 1) throw wrong('epoch', `leaves no room after epoch ${before.epoch}`);
  if (plan.generation !== before.generation) throw wrong('generation', 'the key stays, so does its number');
  if (before.cold === null) throw wrong('coldDealt', `epoch ${before.epoch} has no cold seats`);
  if (plan.coldDealt < 1 || plan.coldDealt > before.cold.seats)
    throw wrong('coldDealt', `epoch ${before.epoch} has ${before.cold.seats} cold seats`);
  const { dealers } = plan;
  if (dealers.length + plan.coldDealt !== before.threshold || !isSubset(dealers, before.trustees))
    throw wrong('dealers', 'trustees of the epoch and its cold seats deal, exactly as many as sign');
}

/** It leaves room as a recovery does. Who holds the key before has no part in it, be it one host alone. */
function checkRefounding(
  plan: EpochPlan,
  before: EpochPlan,
  wrong: (field: string, message: string) => Fault,
): void {
  if (plan.epoch <= before.epoch + 1) throw wrong('epoch', `leaves no room after epoch ${before.epoch}`);
  if (plan.generation !== before.generation + 1) throw wrong('generation', 'skips a generation');
  if (plan.threshold < 2) throw wrong('threshold', 'a key that no host holds is shared');
  if (plan.coldDealt !== 0) throw wrong('coldDealt', 'no share of an older key makes a new one');
  if (plan.dealers.join() !== plan.trustees.join())
    throw wrong('dealers', 'a new key is dealt by all who will hold it');
}

/** Also of the key that a plan became. Throws `Fault('not-a-successor')`. */
export function checkSuccessor(descriptor: EpochDescriptor, current: EpochDescriptor): void {
  checkSuccession(descriptor.plan, current);
  if ((descriptor.rootKey === current.rootKey) !== keepsKey(descriptor.plan.kind))
    throw new Fault('not-a-successor', 'resharing keeps the key, generating makes another', {
      field: 'rootKey',
    });
}

/**
 * Whether this host would have it so. Its view need not be the proposer's, so it is lenient where a few
 * seconds of gossip make the difference: half the time of absence, twice the time of settling. Throws a
 * `Fault`: `quorum-not-allowed`, `nothing-to-change`, `rotation-not-asked`, `newcomer-unknown`,
 * `newcomer-absent`, `too-many-newcomers`, `seat-in-use`, `seniority`, `zone-cap`, `other-cold-seats`.
 */
export function judgePlan(
  plan: EpochPlan,
  current: EpochDescriptor,
  view: TrusteeView,
  policy: TrusteePolicy,
  repair: boolean,
  now: Millis,
): void {
  const known = new Map(view.candidates.map((candidate) => [candidate.host, candidate]));
  const before = current.plan;
  const row = policy.rows.find(({ threshold }) => threshold === plan.threshold);
  if (row === undefined || row.trustees < plan.trustees.length)
    throw new Fault(
      'quorum-not-allowed',
      `${plan.threshold} of ${plan.trustees.length} is not this policy's`,
    );
  const present = rowOf(policy, before.threshold, before.trustees.length);
  if (row.threshold < present.threshold) throw new Fault('quorum-not-allowed', 'the threshold would fall');
  if (row !== present && plan.trustees.length < row.trustees)
    throw new Fault('quorum-not-allowed', 'a larger quorum begins with all of its seats taken');
  if (!sameCold(plan, view, plan.threshold))
    throw new Fault('other-cold-seats', 'shares are to be sealed otherwise than the operators want');
  judgeReason(plan, current, view, repair);
  const newcomers = plan.trustees.filter((host) => !before.trustees.includes(host));
  if (newcomers.length > maxNewcomers(before, plan.threshold))
    throw new Fault('too-many-newcomers', 'the newcomers could sign on their own');
  for (const host of newcomers) judgeNewcomer(known.get(host));
  for (const host of before.trustees)
    if (!plan.trustees.includes(host)) judgeDeparture(known.get(host), policy, now);
  judgeSeniority(plan, newcomers, known, policy, now);
}

function judgeReason(plan: EpochPlan, current: EpochDescriptor, view: TrusteeView, repair: boolean): void {
  const mustGenerate = current.plan.threshold === 1;
  if (plan.kind === 'generate' && !mustGenerate && !wantsRotation(view.allowed, current))
    throw new Fault('rotation-not-asked', 'nobody who may asked for a new root key');
  if (plan.kind === 'generate' || repair) return;
  if (wantsRefresh(view.allowed, current) || wantsOtherCold(view, current)) return;
  if (sameSeats(plan, current.plan))
    throw new Fault('nothing-to-change', 'the same trustees, and nobody asked for it');
}

/**
 * Whether this trustee, one of too few, lends itself to a recovery by the holder of the cold seats, or this host, be
 * it a trustee or not, to a new root: only while it sees itself that too few are left, and only for shares to hosts
 * that are here and in the places of those that are not. Throws a `Fault`: `quorum-here`, `quorum-not-allowed`, `seat-in-use`, `newcomer-unknown`, `newcomer-absent`,
 * `other-cold-seats`.
 */
export function judgeRecovery(
  plan: EpochPlan,
  current: EpochDescriptor,
  view: TrusteeView,
  policy: TrusteePolicy,
): void {
  const known = new Map(view.candidates.map((candidate) => [candidate.host, candidate]));
  const { trustees, threshold } = current.plan;
  const here = trustees.filter((host) => canSign(known.get(host)));
  if (here.length >= threshold)
    throw new Fault('quorum-here', `${here.length} trustees are here, and ${threshold} can sign`);
  const row = policy.rows.find((one) => one.threshold === plan.threshold);
  if (row === undefined || row.trustees < plan.trustees.length)
    throw new Fault(
      'quorum-not-allowed',
      `${plan.threshold} of ${plan.trustees.length} is not this policy's`,
    );
  for (const host of here)
    if (!plan.trustees.includes(host))
      throw new Fault('seat-in-use', `${host.slice(0, 8)} is to lose its seat, but is there`);
  for (const host of plan.trustees) judgeNewcomer(known.get(host));
  if (!sameCold(plan, view, plan.threshold))
    throw new Fault('other-cold-seats', 'shares are to be sealed otherwise than the operators want');
}

/** Whether a trustee is here with all that it takes to sign. */
export function canSign(candidate: Candidate | undefined): boolean {
  return candidate !== undefined && !isGone(candidate) && candidate.aliveSince !== null;
}

/** Who was silent towards this host need not be towards others: whoever leads may try it. */
function judgeNewcomer(candidate: Candidate | undefined): void {
  if (candidate === undefined || !mayHold(candidate))
    throw new Fault('newcomer-unknown', 'a newcomer is not known here as one who may hold a share');
  if (candidate.aliveSince === null)
    throw new Fault('newcomer-absent', `${candidate.host.slice(0, 8)} is not alive here`);
}

function judgeDeparture(candidate: Candidate | undefined, policy: TrusteePolicy, now: Millis): void {
  if (candidate === undefined || isGone(candidate)) return;
  if (!isAbsentFor(candidate, policy.replaceAfterMs / 2, now))
    throw new Fault('seat-in-use', `${candidate.host.slice(0, 8)} is to lose its seat, but is there`);
}

/** The newcomers must be the oldest hosts that the zones allow, as far as this host has seen for long enough. */
function judgeSeniority(
  plan: EpochPlan,
  newcomers: readonly HostId[],
  known: ReadonlyMap<HostId, Candidate>,
  policy: TrusteePolicy,
  now: Millis,
): void {
  const candidates = [...known.values()];
  const zones = new Map<string, number>();
  for (const host of plan.trustees) {
    const zone = known.get(host)?.zone ?? '';
    zones.set(zone, (zones.get(zone) ?? 0) + 1);
  }
  const passedOver = newcomersOf(candidates, plan.trustees, policy.settleMs * 2, now);
  const choice = [...plan.trustees, ...passedOver.map((candidate) => candidate.host)];
  const cap = zoneCap(
    choice.map((host) => known.get(host)?.zone ?? ''),
    { trustees: plan.trustees.length, threshold: plan.threshold },
  );
  for (const host of newcomers) {
    const newcomer = known.get(host)!;
    // One seat more than the cap is what a zone may have while a host elsewhere is still unknown here.
    if (zones.get(newcomer.zone)! > cap + 1)
      throw new Fault('zone-cap', `zone '${newcomer.zone}' would have ${zones.get(newcomer.zone)} seats`);
    for (const senior of passedOver)
      if (precedes(senior, newcomer) && (zones.get(senior.zone) ?? 0) < cap)
        throw new Fault('seniority', `${senior.host.slice(0, 8)} is senior to ${host.slice(0, 8)}`);
  }
}
