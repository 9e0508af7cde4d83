/** The sponsor's side of joining: whether a stranger's admission is to be taken in. Pure. */
import { Fault, type HostId, type Millis, type Verify } from '../../core.ts';
import type { Refusal } from '../../gossip/port.ts';
import { decodeRecord, isAuthentic } from '../../gossip/replica/codec.ts';
import { denialSlot } from '../../gossip/replica/lifecycle.ts';
import type { Replica } from '../../gossip/replica/replica.ts';
import { parseAdmission } from '../../trust/admission/admission.ts';
import type { TrustState } from '../../trust/state.ts';
import { ADMISSION } from '../kinds.ts';
import { type JoinAnswer, maxDenialBytes } from './joining.ts';

/**
 * Throws `Fault` unless `bytes` are an admission that may enter the mesh now, or is in force
 * already. `isGone` says whose name is free again.
 */
export function judgeJoinRequest(
  bytes: Uint8Array,
  trust: TrustState,
  verify: Verify,
  isGone: (host: HostId) => boolean,
  now: Millis,
): void {
  const record = decodeRecord(bytes);
  if (record.kind !== ADMISSION || record.scope !== 'host' || record.deleted || record.key !== '')
    throw new Fault('malformed', 'not an admission');
  if (!isAuthentic(record, verify)) throw new Fault('bad-signature', 'not signed by the host it admits');
  if (isInForce(record.author, record.value, trust)) return;
  const refusal = trust.judgeJoin(record.author, record.value, now, isGone);
  if (refusal !== null) throw new Fault(refusal.code, refusal.message);
}

/** Whoever shows it again has lost sight of the mesh, perhaps long after its token expired, and belongs to it still. */
function isInForce(author: HostId, value: Uint8Array, trust: TrustState): boolean {
  const known = trust.admissionOf(author);
  if (known === undefined) return false;
  const { name, grantId, admittedAt } = parseAdmission(value);
  return known.name === name && known.grantId === grantId && known.admittedAt === admittedAt;
}

/** Throws `Fault('not-taken')` for an admission that the replica did not keep. */
export function refuseUnlessTaken(outcome: 'applied' | 'known' | 'stale' | Refusal): void {
  if (outcome === 'applied' || outcome === 'known') return;
  const why = typeof outcome === 'string' ? outcome : outcome.code;
  throw new Fault('not-taken', `the admission was not taken: ${why}`);
}

/** What a stranger is told who is not let in; with the operator's own word if it was denied, so that it can be sure. */
export function refusalOf(
  { code, message }: Fault,
  request: Uint8Array,
  replica: Pick<Replica, 'get'>,
): JoinAnswer {
  const denial = code === 'denied' ? replica.get(denialSlot(decodeRecord(request).author))?.bytes : undefined;
  const isTold = denial !== undefined && denial.length <= maxDenialBytes;
  return { outcome: 'refused', code, message, ...(isTold ? { denial } : {}) };
}
