/** What a host must have said of itself. Pure. */
import { encodeJson, type Signer } from '../../core.ts';
import { slotOf } from '../../gossip/replica/record.ts';
import type { Replica } from '../../gossip/replica/replica.ts';
import { createFounderAdmission } from '../../trust/admission/admission.ts';
import type { Genesis } from '../../trust/admission/genesis.ts';
import type { WelcomeValue } from '../../trust/admission/welcome.ts';
import type { Sponsor } from '../joining/approach.ts';
import { ADMISSION, HOST, type HostValue, WELCOME } from '../kinds.ts';
import type { Knowledge } from '../knowledge.ts';
import type { OwnWrite } from './registry.ts';

export interface SelfDescription {
  readonly genesis: Genesis;
  readonly host: HostValue;
  readonly signer: Signer;
  readonly sponsor: Pick<Sponsor, 'id' | 'welcome'> | null;
  readonly knowledge: Knowledge;
  readonly replica: Pick<Replica, 'get'>;
}

/** The records to write where that has not been said yet, or has changed. */
export function missingFacts({
  genesis,
  host,
  signer,
  sponsor,
  knowledge,
  replica,
}: SelfDescription): OwnWrite[] {
  const self = signer.publicKey;
  const own: OwnWrite[] = [];
  if (genesis.founder === self && !knowledge.trust.isAdmitted(self))
    own.push({ kind: ADMISSION, key: '', value: createFounderAdmission(genesis) });
  if (JSON.stringify(knowledge.catalog.host(self)?.value) !== JSON.stringify(host))
    own.push({ kind: HOST, key: '', value: host });
  if (sponsor !== null && sponsor.welcome !== null) {
    const value: WelcomeValue = { sponsor: sponsor.id, signature: sponsor.welcome };
    const said = replica.get(slotOf({ scope: 'host', author: self, kind: WELCOME, key: '' }))?.value;
    if (said === undefined || Buffer.compare(said, encodeJson(value)) !== 0)
      own.push({ kind: WELCOME, key: '', value });
  }
  return own;
}
