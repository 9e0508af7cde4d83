/** Plans and sessions as the agreement would order them. Hosts are named by labels. */
import { createHash } from 'node:crypto';
import type { HostId } from '../../../../src/core.ts';
import { type CryptoSession, genesisShare, type ShareName } from '../../../../src/trust/epoch/crypto-port.ts';
import {
  type EpochDescriptor,
  type EpochPlan,
  genesisEpoch,
  historyAfter,
  sessionOf,
} from '../../../../src/trust/epoch/descriptor.ts';
import { hostOf } from '../frost/parties.ts';

const mesh = 'ab'.repeat(32);
const startedAt = 1_800_000_000_000;

export function hostsOf(labels: readonly string[]): HostId[] {
  return labels.map((label) => hostOf(label).publicKey);
}

/** Epoch 0: `h1` alone, with the key of `root`. */
export const genesis: EpochDescriptor = genesisEpoch(
  mesh,
  hostOf('h1').publicKey,
  hostOf('root').publicKey,
  startedAt,
);

let ballots = 0;

/** The plan of the epoch after `from`; `dealers` reshare its key, without them a new one is made. */
export function planAfter(
  from: EpochDescriptor,
  threshold: number,
  trustees: readonly string[],
  dealers: readonly string[] | null = null,
): EpochPlan {
  const { epoch, generation } = from.plan;
  const kind = dealers === null ? 'generate' : 'reshare';
  return {
    mesh,
    epoch: epoch + 1,
    previous: from.hash,
    generation: dealers === null ? generation + 1 : generation,
    kind,
    threshold,
    trustees: hostsOf(trustees),
    dealers: hostsOf(dealers ?? trustees),
    ballot: ++ballots,
    proposedAt: startedAt,
    cold: null,
    coldDealt: 0,
    ...historyAfter(from.plan, kind, { trustees: hostsOf(trustees), threshold }),
  };
}

/** The session that carries out `plan`; `share` is the host's own of `from`. */
export function dealing(plan: EpochPlan, from: EpochDescriptor, share: ShareName | null): CryptoSession {
  const id = sessionOf(plan);
  return plan.kind === 'generate'
    ? { kind: 'generate', id, plan }
    : { kind: 'reshare', id, plan, from, share, coldDealing: null };
}

/** The share of `from` at a host that is a trustee of it, else null. */
export function shareIn(from: EpochDescriptor, host: HostId): ShareName | null {
  if (!from.plan.trustees.includes(host)) return null;
  return from.plan.kind === 'genesis' ? genesisShare : from.session;
}

export function signing(
  from: EpochDescriptor,
  host: HostId,
  coordinator: HostId,
  message: Uint8Array,
): Extract<CryptoSession, { kind: 'sign' }> {
  const id = createHash('sha256').update(from.hash).update(message).update(coordinator).digest('hex');
  return { kind: 'sign', id, from, share: shareIn(from, host), coordinator, message };
}
