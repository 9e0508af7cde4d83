/** The joiner's side of being let into a mesh: what it asks running agents, and what it makes of their answers. */
import { lookup } from 'node:dns/promises';
import { ed25519Verify, Fault, ipVersion, type Millis, messageOf, type Signer } from '../../core.ts';
import { requestJoin } from '../../gossip/io/join.ts';
import { type Genesis, parseGenesis } from '../../trust/admission/genesis.ts';
import type { JoinToken } from '../../trust/admission/token.ts';
import { deniedAdvice } from '../ca/denials.ts';
import type { Sponsor } from '../joining/approach.ts';
import { decodeJoinAnswer, type JoinAnswer, joinRequest } from '../joining/joining.ts';
import type { SocketAddress } from '../settings.ts';

export interface AdmissionRequest {
  readonly name: string;
  readonly hostKey: Signer;
  readonly token: JoinToken;
  readonly where: SocketAddress;
  readonly now: () => Millis;
}

export interface Admitted {
  readonly record: Uint8Array;
  readonly sponsor: Sponsor;
  readonly genesis: Genesis;
}

/** Eight seconds in all: a sponsor through which a whole fleet joins at once may need as long. */
const joinAttempts = 5;
const joinTimeoutMs = 3500;
/** A grant made a moment ago may not have reached the sponsor yet; that long is waited for it. */
const grantPatienceMs = 5000;
const grantRetryMs = 300;

/** Or it is not known: nobody's start waits longer for who may be down, or for a name to be looked up. */
const standingWithinMs = 1000;
const standingPatience = { attempts: 2, timeoutMs: 700 };

/**
 * Asks one running agent until it decides. Faults:
 * `join-unanswered`, `join-refused`, `host-denied`, `foreign-mesh`, `bad-join-answer`, `genesis-malformed`.
 */
export async function askForAdmission(request: AdmissionRequest): Promise<Admitted> {
  const { name, hostKey, token, now } = request;
  const where = await resolved(request.where);
  const askedFrom = now();
  for (;;) {
    const record = joinRequest({ name, hostKey, token }, now());
    const answer = await ask(record, where);
    if (answer.outcome === 'welcome') return welcomed(record, answer, token.genesisHash, where);
    if (answer.code === 'grant-unknown' && now() - askedFrom < grantPatienceMs)
      await new Promise((done) => setTimeout(done, grantRetryMs));
    else throw refusalFault(answer);
  }
}

/** Shows one running agent an admission made before; it welcomes whom it knows already. Faults as above. */
export async function presentAdmission(
  record: Uint8Array,
  genesisHash: string,
  address: SocketAddress,
): Promise<Admitted> {
  const where = await resolved(address);
  const answer = await ask(record, where);
  if (answer.outcome === 'refused') throw refusalFault(answer);
  return welcomed(record, answer, genesisHash, where);
}

/**
 * The operator's record that denies this host, still unjudged, where the first agent that answers refuses the
 * admission for it; null else.
 */
export function askForDenial(
  record: Uint8Array,
  addresses: readonly SocketAddress[],
): Promise<Uint8Array | null> {
  const asked = addresses.map(async (address) => {
    const answer = await ask(record, await resolved(address), standingPatience);
    return answer.outcome === 'refused' ? (answer.denial ?? null) : null;
  });
  const late = new Promise<null>((done) => setTimeout(done, standingWithinMs, null).unref());
  return Promise.race([Promise.any(asked).catch(() => null), late]);
}

async function ask(
  payload: Uint8Array,
  where: SocketAddress,
  patience = { attempts: joinAttempts, timeoutMs: joinTimeoutMs },
): Promise<JoinAnswer> {
  const { address, port } = where;
  const reply = await requestJoin({ address, port, payload, ...patience });
  return readAnswer(reply, where);
}

function welcomed(
  record: Uint8Array,
  answer: Extract<JoinAnswer, { outcome: 'welcome' }>,
  genesisHash: string,
  { address, port }: SocketAddress,
): Admitted {
  const genesis = provenGenesis(answer.genesis, genesisHash);
  const { sponsor: id, signature: welcome } = answer;
  return { record, sponsor: { id, address, port, welcome }, genesis };
}

function readAnswer(payload: Uint8Array, { address, port }: SocketAddress): JoinAnswer {
  try {
    return decodeJoinAnswer(payload);
  } catch (error) {
    throw new Fault(
      'bad-join-answer',
      `${address}:${port} gave no answer of this version: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

function refusalFault({ code, message }: Extract<JoinAnswer, { outcome: 'refused' }>): Fault {
  if (code === 'denied') return new Fault('host-denied', `not admitted: ${deniedAdvice}`);
  const printable = message.replace(/[^\x20-\x7e]/g, '?');
  return new Fault(
    code === 'foreign-mesh' ? 'foreign-mesh' : 'join-refused',
    `not admitted: ${printable} (${code})`,
  );
}

/** The address with a name looked up; `Fault('join-unanswered')` when it has none. */
async function resolved({ address, port }: SocketAddress): Promise<SocketAddress> {
  if (ipVersion(address) !== 0) return { address, port };
  try {
    return { address: (await lookup(address)).address, port };
  } catch (error) {
    throw new Fault('join-unanswered', `cannot resolve "${address}": ${messageOf(error)}`, { field: 'join' });
  }
}

/** Its hash is known beforehand, so it does not matter who handed it over. */
function provenGenesis(bytes: Uint8Array, genesisHash: string): Genesis {
  const genesis = parseGenesis(bytes, ed25519Verify);
  if (genesis.hash !== genesisHash)
    throw new Fault(
      'foreign-mesh',
      `the agent that answered belongs to another mesh, ${genesis.trustDomain}`,
    );
  return genesis;
}
