/** Requests for certificates as a host makes them of a court of trustees, and ways to spoil what is answered. */
import assert from 'node:assert/strict';
import { createHash, type KeyObject } from 'node:crypto';
import { ed25519Verify, type Millis, type Signer } from '../../../../src/core.ts';
import { encodeIssueRequest, type IssueRequest } from '../../../../src/trust/issuance/issuance.ts';
import { type LeafTask, leafTask } from '../../../../src/trust/quorum/leaf.ts';
import type { QuorumMessage } from '../../../../src/trust/quorum/message.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { certificateProfile } from '../../../../src/trust/x509/x509.ts';
import {
  admissionStatement,
  foundedState,
  grantStatement,
  hour,
  makeGrant,
  p256,
  signerOf,
  startedAt,
  trustDomain,
} from '../mesh.ts';
import { Court, sharedState } from './court.ts';

export const key: KeyObject = p256();
export const host: Signer = signerOf('host');
export const asksAt: Millis = startedAt + 60_000;

export function identityOf(service: string) {
  return { trustDomain, datacenter: 'dc1', service };
}

export function csrOf(service: string): Buffer {
  return createCsr(key, formatSpiffeId(identityOf(service)), dnsNamesOf(identityOf(service)));
}

export function frame(parts: Partial<IssueRequest> = {}): Uint8Array {
  return encodeIssueRequest({
    requestId: 7,
    profile: certificateProfile,
    generation: 1,
    csr: csrOf('api'),
    issuedAt: asksAt,
    ttlMs: hour,
    ...parts,
  });
}

/** With `host` admitted by use 0 of a grant for the service `api`, and nothing else. */
export function withHost(state: TrustState): TrustState {
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  state.apply(grantStatement(grant));
  state.apply(admissionStatement(host, 'grant', grant));
  return state;
}

export function courtOf(
  threshold: number,
  count: number,
  self: Signer = host,
): { court: Court; state: TrustState } {
  const state = withHost(threshold === 1 ? foundedState() : sharedState(threshold, count));
  return { court: new Court(threshold, count, () => state, self), state };
}

export function ask(court: Court, state: TrustState, service = 'api', requestId = service): LeafTask {
  const task = leafTask(
    frame({ csr: csrOf(service), generation: court.epoch.plan.generation }),
    state.bundle,
    court.self.publicKey,
  );
  court.sign(requestId, task.purpose, task.message);
  return task;
}

/** The code of the refusal of whatever `purpose` is, by all trustees, who are left as they were. */
export function refusalOf(court: Court, purpose: Uint8Array): string {
  const name = createHash('sha256').update(purpose).digest('hex');
  court.sign(name, purpose, Buffer.from('whatever'));
  court.finish();
  for (const bench of court.trustees.values()) {
    assert.deepEqual([...bench.disk], [], 'nothing was written');
    assert.deepEqual(bench.orders, [], 'no nonces were promised');
  }
  const outcome = court.outcome(name);
  assert.ok(typeof outcome === 'string');
  return outcome;
}

/** Changes what the trustee of a seat says. */
export function spoil(
  court: Court,
  seat: number,
  change: (message: QuorumMessage) => readonly QuorumMessage[],
): void {
  const before = court.tamper;
  court.tamper = (message, from, to) =>
    from === court.hosts[seat - 1] ? change(message) : before(message, from, to);
}

export const badShare = (message: QuorumMessage): readonly QuorumMessage[] =>
  message.type === 'share' ? [{ ...message, bytes: new Uint8Array(32).fill(1) }] : [message];

export function isSigned(court: Court, requestId: string, message: Uint8Array): boolean {
  const signature = court.outcome(requestId);
  return typeof signature !== 'string' && ed25519Verify(court.epoch.rootKey, message, signature);
}
