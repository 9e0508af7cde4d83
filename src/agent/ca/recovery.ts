/**
 * Recovery as an operator deals with it: the key that shares of the root are sealed for, whether the trustees that
 * are left can be helped by them, and the start of that. Pure.
 */
import { Fault, type HostId, isHex, type Millis } from '../../core.ts';
import type { EpochAgreement } from '../../trust/epoch/agreement.ts';
import { decodePlan, type EpochPlan, encodePlan } from '../../trust/epoch/descriptor.ts';
import type { ColdWish, TrusteePolicy } from '../../trust/epoch/policy.ts';
import type { RecoveryOrder } from '../../trust/epoch/recovery.ts';
import { planRecovery, planRefounding } from '../../trust/epoch/recovery-plan.ts';
import type { TrusteeView } from '../../trust/epoch/rules.ts';
import { recoveryStatement } from '../../trust/epoch/voucher.ts';
import { maxColdSeats } from '../../trust/frost/cold.ts';
import type { TrustState } from '../../trust/state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { PolicyWrite } from '../commands.ts';
import { RECOVERY, type RecoveryDrillValue, type RecoveryKeyValue } from '../kinds.ts';
import { hostNameOf } from './ca-status.ts';
import type { NoteDrill, Recover, RecoveryOutlook, RecoveryStatus, SetRecoveryKey } from './recovery-port.ts';
import type { TrustFacts } from './trust-facts.ts';

export interface RecoverySources {
  readonly trust: TrustState;
  readonly catalog: Catalog;
  readonly facts: TrustFacts;
  readonly agreement: EpochAgreement;
  readonly policy: TrusteePolicy;
  readonly view: TrusteeView;
}

/** Half of those who must sign, at most so many, or none. */
export function coldWishOf(value: RecoveryKeyValue | null): ColdWish | null {
  if (value === null || value.key === '') return null;
  return { key: value.key, seats: value.seats === 0 ? null : value.seats };
}

export function recoveryStatus(sources: RecoverySources, now: Millis): RecoveryStatus {
  const { trust, facts, agreement } = sources;
  const { current } = agreement;
  const shown = {
    trustDomain: trust.genesis.trustDomain,
    epoch: current.plan.epoch,
    descriptor: Buffer.from(current.bytes).toString('base64'),
    cold: current.plan.cold,
    wanted: coldWishOf(facts.recoveryKey)?.key ?? null,
    drill: facts.drill,
  };
  const { policy, view } = sources;
  const seen = { current, view, policy, foundedAt: trust.genesis.createdAt };
  const same = outlookOf(() => planRecovery(seen, now), current.plan, sources);
  return { ...shown, ...same, newRoot: outlookOf(() => planRefounding(seen, now), current.plan, sources) };
}

/** What a plan comes to, or why there is none. */
function outlookOf(planned: () => EpochPlan, before: EpochPlan, sources: RecoverySources): RecoveryOutlook {
  try {
    const plan = planned();
    const name = (host: HostId): string => hostNameOf(host, sources);
    const lost = before.trustees.filter((host) => !plan.trustees.includes(host)).map(name);
    const encoded = Buffer.from(encodePlan(plan)).toString('base64');
    return { plan: encoded, refusal: null, hosts: plan.trustees.map(name), lost };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { code, message } = error;
    return { plan: null, refusal: { code, message }, hosts: [], lost: [] };
  }
}

/** What an order is; a new root is the operator's to sign for. Throws `Fault`: `malformed`, `not-first-operator`. */
export function recoveryOrder(
  { plan: encoded, signature, dealing, shares, operator }: Recover,
  { genesis }: Pick<TrustState, 'genesis'>,
): RecoveryOrder {
  const plan = decodePlan(encoded);
  if (plan.kind !== 'refound') return { plan, signature, dealing, shares };
  if (operator.publicKey !== genesis.operatorKey)
    throw new Fault(
      'not-first-operator',
      'only the first operator may have a new root in the place of a lost one',
    );
  return {
    plan,
    signature: operator.sign(recoveryStatement(plan)),
    dealing: new Uint8Array(),
    shares: new Map(),
  };
}

/** Of the first operator: whoever has that key has as many shares as are sealed for it. Throws a `Fault`. */
export function setRecoveryKey(
  { key, seats, operator }: SetRecoveryKey,
  { genesis }: Pick<TrustState, 'genesis'>,
): PolicyWrite {
  if (operator.publicKey !== genesis.operatorKey)
    throw new Fault('not-first-operator', 'only the first operator may have shares of the root put away');
  if (key !== null && !isHex(key, 32))
    throw new Fault('malformed', 'must be 32 bytes of hex', { field: 'key' });
  if (key === genesis.operatorKey)
    throw new Fault('malformed', 'must be a key of its own, which lies on no host', { field: 'key' });
  if (seats !== null && !(Number.isInteger(seats) && seats >= 1 && seats <= maxColdSeats))
    throw new Fault('malformed', `must be a number from 1 to ${maxColdSeats}`, { field: 'seats' });
  const value: RecoveryKeyValue = { key: key ?? '', seats: seats ?? 0 };
  return { kind: RECOVERY, key: 'key', value, operator };
}

export function noteDrill({ epoch, operator }: NoteDrill, now: Millis): PolicyWrite {
  const value: RecoveryDrillValue = { epoch, at: Math.floor(now) };
  return { kind: RECOVERY, key: 'drill', value, operator };
}
