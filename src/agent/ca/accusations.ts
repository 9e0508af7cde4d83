/**
 * What hosts say against trustees, so that all hear of it and not only whoever found out: two heads of one log, which
 * prove themselves whoever shows them; and a trustee that runs twice, which is one host's word. Pure.
 */
import type { HostId, Millis, Verify } from '../../core.ts';
import { Fault, isHex } from '../../core.ts';
import {
  decodeEquivocation,
  type Equivocation,
  encodeEquivocation,
  provesEquivocation,
} from '../../trust/log/transparency.ts';
import type { OwnWrite } from '../catalog/registry.ts';
import { TRUST_ACCUSATION, type TrustAccusationValue } from '../kinds.ts';

/** `fork`: its log tells two stories. `twin`: two hosts have its key and answer in turn. */
export type Charge = 'fork' | 'twin';

/** One that came, by whoever says so. */
export interface Accusation {
  readonly by: HostId;
  readonly charge: Charge;
  readonly accused: HostId;
  readonly value: TrustAccusationValue;
}

/** What a record holds; longer evidence, of heads that are far apart, stays with who has it. */
const maxEvidenceBytes = 16 * 1024;
/** A host's word is not repeated as long as it counts. */
export const twinCountsMs: Millis = 24 * 3_600_000;
export const maxDetailLength = 256;

const charges: readonly Charge[] = ['fork', 'twin'];

/** Null for a key that accuses nobody. */
export function readAccusation(by: HostId, key: string, value: TrustAccusationValue): Accusation | null {
  const [name, accused = '', ...more] = key.split('/');
  const charge = charges.find((one) => one === name);
  if (charge === undefined || !isHex(accused, 32) || more.length > 0) return null;
  return { by, charge, accused, value };
}

/** What proves that a log tells two stories; null where it proves nothing, or something of somebody else. */
export function evidenceIn(
  { accused, value }: Accusation,
  mesh: string,
  verify: Verify,
): Equivocation | null {
  try {
    const evidence = decodeEquivocation(Buffer.from(value.evidence, 'base64'));
    return evidence.earlier.trustee === accused && provesEquivocation(mesh, evidence, verify)
      ? evidence
      : null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

/** The record that tells all of two heads of one log; null where they are too far apart to be shown in one. */
export function forkAccusation(accused: HostId, evidence: Equivocation, now: Millis): OwnWrite | null {
  const bytes = encodeEquivocation(evidence);
  if (bytes.length > maxEvidenceBytes) return null;
  const value = { detail: '', evidence: Buffer.from(bytes).toString('base64'), at: Math.floor(now) };
  return { kind: TRUST_ACCUSATION, key: `fork/${accused}`, value };
}

/** The record that tells all of a trustee that this host saw answering twice. */
export function twinAccusation(accused: HostId, detail: string, now: Millis): OwnWrite {
  const value: TrustAccusationValue = {
    detail: detail.slice(0, maxDetailLength),
    evidence: '',
    at: Math.floor(now),
  };
  return { kind: TRUST_ACCUSATION, key: `twin/${accused}`, value };
}
