/** From what an operator denies to the record that makes it so, and what is denied, as people are shown it. Pure. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import {
  createDenial,
  type Denied,
  denialKey,
  denialValue,
  maxReasonLength,
  type SignedDenial,
} from '../../trust/admission/denial.ts';
import type { TrustState } from '../../trust/state.ts';
import type { PolicyWrite } from '../commands.ts';
import { DENY } from '../kinds.ts';
import type { Finding } from '../port.ts';
import type { CaStatus } from './ca-port.ts';
import type { DenialAnswer, DenialStatus, Deny } from './denial-port.ts';

/** In force at a time. Every proxy of the mesh holds them all. */
export const maxDenials = 16_384;

export interface DenyContext {
  readonly self: HostId;
  readonly trust: TrustState;
  readonly ca: () => CaStatus;
}

/**
 * For an operator whose standing was judged before. To deny again changes nothing. Faults: `unknown-host`,
 * `conflict` (for this very host, or where too few trustees would be left to sign), `quota-exceeded`,
 * `denial-malformed`; nothing changed.
 */
export function deny(
  command: Deny,
  context: DenyContext,
  now: Millis,
): { readonly write: PolicyWrite | null; readonly value: DenialAnswer } {
  const { denied, reason, operator, force } = command;
  const { trust } = context;
  const known = knownDenial(denied, trust);
  const trustee = context.ca().trustees.some(({ id }) => denied.type === 'host' && id === denied.host);
  if (known !== undefined)
    return { write: null, value: { ...statusOf(known, trust), changed: false, trustee } };
  if (denied.type === 'host') refuseHost(denied.host, context, force);
  if (trust.denials.count >= maxDenials)
    throw new Fault(
      'quota-exceeded',
      `${maxDenials} hosts and certificates are denied: there is no room for more`,
    );
  if (reason.length > maxReasonLength)
    throw new Fault('malformed', `must have at most ${maxReasonLength} characters`, { field: 'reason' });
  const denial = createDenial(denied, reason, Math.floor(now));
  const write = { kind: DENY, key: denialKey(denied), value: denialValue(denial), operator };
  const status = statusOf({ ...denial, by: operator.publicKey }, trust);
  return { write, value: { ...status, changed: true, trustee } };
}

function knownDenial(denied: Denied, { denials }: TrustState): SignedDenial | undefined {
  return denied.type === 'host' ? denials.ofHost(denied.host) : denials.ofSerial(denied.serial);
}

function refuseHost(host: HostId, { self, trust, ca }: DenyContext, force: boolean): void {
  if (!trust.wasAdmitted(host))
    throw new Fault('unknown-host', `no host ${host} belongs to the mesh`, { field: 'host' });
  if (host === self)
    throw new Fault('conflict', 'this is the host that was asked: ask another, which will outlast it', {
      field: 'host',
    });
  const { trustees, threshold } = ca();
  const left = trustees.filter(({ id }) => id !== host && !trust.isDenied(id)).length;
  if (!force && trustees.some(({ id }) => id === host) && left < threshold)
    throw new Fault(
      'conflict',
      `${left} trustees would be left where ${threshold} sign together: nobody would get a certificate any more. ` +
        'Wait until other hosts have taken the seats of those denied before, or force it',
      { field: 'host' },
    );
}

/** What is left to a denied host. */
export const deniedAdvice =
  'an operator denied this host: it comes back only with a new key, so empty its data directory and join with a new token';

/** Why a denied host that has heard of it does not start; null for any other. */
export function denialFault(trust: TrustState, self: HostId): Fault | null {
  const denial = trust.denials.ofHost(self);
  if (denial === undefined) return null;
  const reason = denial.reason === '' ? '' : ` (${denial.reason})`;
  return new Fault('host-denied', `${deniedAdvice}${reason}`);
}

/** What a denied host that has heard of it can say for itself; nobody listens to it but whoever is on it. */
export function denialFindings(trust: TrustState, self: HostId): Finding[] {
  const denial = trust.denials.ofHost(self);
  if (denial === undefined) return [];
  const reason = denial.reason === '' ? '' : `: ${denial.reason}`;
  return [
    {
      grade: 'critical',
      subject: 'this host',
      detail: `an operator denied it at ${new Date(denial.at).toISOString()}${reason}`,
      hint: 'it is out of the mesh for good: set it up anew, with an empty data directory and another token',
    },
  ];
}

/** The newest first. */
export function listDenials(trust: TrustState): DenialStatus[] {
  return trust.denials.all().map((denial) => statusOf(denial, trust));
}

function statusOf({ denied, reason, at, until, by }: SignedDenial, trust: TrustState): DenialStatus {
  const host = denied.type === 'host' ? denied.host : null;
  const serial = denied.type === 'serial' ? denied.serial : null;
  const name = host === null ? '' : (trust.entryOf(host)?.name ?? '');
  return { host, serial, name, reason, at, until, by };
}
