/** What a host must have said of itself and, if it founded the mesh, of the mesh. Pure. */
import type { Signer } from '../core.ts';
import { type Record, slotOf } from '../gossip/record.ts';
import { createFounderAdmission } from '../trust/admission.ts';
import { genesisTrustRoot, trustRootKey } from '../trust/bundle.ts';
import type { Genesis } from '../trust/genesis.ts';
import type { PolicyWrite } from './commands.ts';
import { ADMISSION, HOST, type HostValue, TRUST_ROOT } from './kinds.ts';
import type { Knowledge } from './knowledge.ts';
import type { OwnWrite } from './registry.ts';

export interface SelfDescription {
  readonly genesis: Genesis;
  readonly host: HostValue;
  readonly signer: Signer;
  readonly knowledge: Knowledge;
  /** The replica's record in a slot. */
  readonly recordIn: (slot: string) => Record | undefined;
}

/** The records to write where that has not been said yet, or has changed. */
export function missingFacts({ genesis, host, signer, knowledge, recordIn }: SelfDescription): {
  own: OwnWrite[];
  policy: PolicyWrite[];
} {
  const self = signer.publicKey;
  const own: OwnWrite[] = [];
  const policy: PolicyWrite[] = [];
  if (genesis.founder === self) {
    if (!knowledge.trust.isAdmitted(self))
      own.push({ kind: ADMISSION, key: '', value: createFounderAdmission(genesis) });
    const key = trustRootKey(0);
    if (recordIn(slotOf({ scope: 'policy', author: self, kind: TRUST_ROOT, key })) === undefined)
      policy.push({ kind: TRUST_ROOT, key, value: genesisTrustRoot(genesis), operator: signer });
  }
  if (JSON.stringify(knowledge.catalog.host(self)?.value) !== JSON.stringify(host))
    own.push({ kind: HOST, key: '', value: host });
  return { own, policy };
}
