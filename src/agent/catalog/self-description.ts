/** What a host must have said of itself. Pure. */
import type { HostId, Signer, Verify } from '../../core.ts';
import { slotOf } from '../../gossip/replica/record.ts';
import type { Replica } from '../../gossip/replica/replica.ts';
import { createFounderAdmission } from '../../trust/admission/admission.ts';
import type { Genesis } from '../../trust/admission/genesis.ts';
import { provesWelcome, type WelcomeValue, welcomeIn } from '../../trust/admission/welcome.ts';
import type { Sponsor } from '../joining/approach.ts';
import { ADMISSION, HOST, type HostValue, WELCOME } from '../kinds.ts';
import type { Knowledge } from '../knowledge.ts';
import type { OwnWrite } from './registry.ts';

export interface SelfDescription {
  readonly genesis: Genesis;
  readonly host: HostValue;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly sponsor: Pick<Sponsor, 'id' | 'welcome'> | null;
  readonly knowledge: Knowledge;
  readonly replica: Pick<Replica, 'get'>;
}

/** The records to write where that has not been said yet, or has changed. */
export function missingFacts({
  genesis,
  host,
  signer,
  verify,
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
  const welcome =
    sponsor === null ? null : newWelcome(sponsor, self, { genesis, verify, knowledge, replica });
  if (welcome !== null) own.push({ kind: WELCOME, key: '', value: welcome });
  return own;
}

/**
 * The sponsor's word, unless an earlier one does: a later sponsor may be known to fewer, and may have come by this very
 * host, so that the two would vouch for each other and nobody for them.
 */
function newWelcome(
  { id: sponsor, welcome }: Pick<Sponsor, 'id' | 'welcome'>,
  self: HostId,
  { genesis, verify, knowledge, replica }: Omit<SelfDescription, 'host' | 'signer' | 'sponsor'>,
): WelcomeValue | null {
  if (welcome === null) return null;
  const said = (kind: string): Uint8Array | undefined =>
    replica.get(slotOf({ scope: 'host', author: self, kind, key: '' }))?.value;
  const admission = said(ADMISSION);
  const held = said(WELCOME);
  const word = held === undefined ? null : welcomeIn(held);
  const isGood =
    word !== null &&
    admission !== undefined &&
    !knowledge.trust.isDenied(word.sponsor) &&
    provesWelcome(word, { genesisHash: genesis.hash, host: self, admission }, verify);
  return isGood ? null : { sponsor, signature: welcome };
}
