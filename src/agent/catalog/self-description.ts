/** What a host must have said of itself. Pure. */
import type { Signer } from '../../core.ts';
import { createFounderAdmission } from '../../trust/admission/admission.ts';
import type { Genesis } from '../../trust/admission/genesis.ts';
import { ADMISSION, HOST, type HostValue } from '../kinds.ts';
import type { Knowledge } from '../knowledge.ts';
import type { OwnWrite } from './registry.ts';

export interface SelfDescription {
  readonly genesis: Genesis;
  readonly host: HostValue;
  readonly signer: Signer;
  readonly knowledge: Knowledge;
}

/** The records to write where that has not been said yet, or has changed. */
export function missingFacts({ genesis, host, signer, knowledge }: SelfDescription): OwnWrite[] {
  const self = signer.publicKey;
  const own: OwnWrite[] = [];
  if (genesis.founder === self && !knowledge.trust.isAdmitted(self))
    own.push({ kind: ADMISSION, key: '', value: createFounderAdmission(genesis) });
  if (JSON.stringify(knowledge.catalog.host(self)?.value) !== JSON.stringify(host))
    own.push({ kind: HOST, key: '', value: host });
  return own;
}
