/**
 * Which mesh a data directory belongs to: the one it belonged to before, a new one that it founds, or one it
 * is admitted to with a token. Everything is on disk before this returns; a crash in between is made good by
 * doing the same again.
 */
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import {
  ed25519Verify,
  Fault,
  type HostId,
  ipVersion,
  type Millis,
  messageOf,
  parseJson,
  type Signer,
} from '../../core.ts';
import { decodeRecord, encodeRecord } from '../../gossip/codec.ts';
import { requestJoin } from '../../gossip/io/join.ts';
import { createAdmission, encodeAdmission, parseAdmission } from '../../trust/admission.ts';
import { createGenesis, type Genesis, parseGenesis } from '../../trust/genesis.ts';
import {
  hostSeedFile,
  loadOrCreateHostKey,
  loadOrCreateOperatorToken,
  loadOrCreateRootKey,
  loadRootKey,
  loadSeed,
  type StoredKey,
  writeSecret,
} from '../../trust/io/keys.ts';
import { type JoinToken, parseToken } from '../../trust/token.ts';
import { admissionVersion, decodeJoinAnswer, type JoinAnswer } from '../joining.ts';
import { ADMISSION } from '../kinds.ts';
import type { AgentSettings, SocketAddress } from '../settings.ts';

export interface Sponsor {
  readonly id: HostId;
  readonly address: string;
  readonly port: number;
}

export interface Belonging {
  readonly hostKey: StoredKey;
  /** The name that this host was admitted under; it keeps it for good. */
  readonly name: string;
  readonly genesis: Genesis;
  readonly rootSigner: Signer | null;
  /** The signed `admission` record of a host that joined. */
  readonly admission: Uint8Array | null;
  readonly sponsor: Sponsor | null;
  /** Where the operator token of a mesh founded just now is; null else. */
  readonly operatorTokenPath: string | null;
}

const genesisFile = 'genesis';
const admissionFile = 'admission.json';
/** The first root outlives any mesh that does not replace it: nothing rotates it yet. */
const rootLifetimeMs = 10 * 365 * 24 * 3_600_000;

const joinAttempts = 4;
const joinTimeoutMs = 1500;
/** A grant made a moment ago may not have reached the sponsor yet; that long is waited for it. */
const grantPatienceMs = 5000;
const grantRetryMs = 300;
/** Uses of one grant tried before giving up; a sponsor names the next free one, so races alone repeat. */
const maxUsesTried = 16;

/** Throws `Fault` with one clear line: no token, a bad one, refused, nobody answered, already belongs. */
export async function belong(settings: AgentSettings, now: () => Millis): Promise<Belonging> {
  const genesis = await readGenesis(settings.dataDir);
  if (genesis !== null) return resume(settings, genesis);
  if (settings.bootstrap) return found(settings, now());
  if (settings.join.length === 0 && settings.token === null)
    throw new Fault(
      'no-mesh',
      `${settings.dataDir} belongs to no mesh: start a new one with --bootstrap, or enter one with --join ADDR --token T`,
    );
  if (settings.token === null)
    throw new Fault(
      'token-missing',
      'joining takes a token: make one with `starling token create` on any host of the mesh',
    );
  return admit(settings, parseToken(settings.token), now);
}

async function readFileIfAny(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Fault('unreadable-file', `cannot read ${path}: ${messageOf(error)}`, { field: path });
  }
}

async function readGenesis(dataDir: string): Promise<Genesis | null> {
  const path = join(dataDir, genesisFile);
  const bytes = await readFileIfAny(path);
  if (bytes === null) return null;
  try {
    return parseGenesis(bytes, ed25519Verify);
  } catch (error) {
    throw damaged(path, error);
  }
}

function damaged(path: string, error: unknown): Fault {
  return new Fault('file-damaged', `${path} is damaged: ${messageOf(error)}`, { field: path, cause: error });
}

/** The key of a host that belongs to a mesh already: another one in its place would be a stranger there. */
async function loadHostKey(dataDir: string): Promise<StoredKey> {
  const path = join(dataDir, hostSeedFile);
  const stored = await loadSeed(path);
  if (stored === null)
    throw new Fault(
      'host-key-missing',
      `${path} is gone: restore it from a backup, or join anew with an empty --data-dir`,
      { field: path },
    );
  return stored;
}

async function resume(settings: AgentSettings, genesis: Genesis): Promise<Belonging> {
  const { dataDir } = settings;
  if (settings.bootstrap)
    throw new Fault(
      'already-belongs',
      `${dataDir} already belongs to mesh ${genesis.trustDomain}: start without --bootstrap, or give another --data-dir`,
    );
  if (settings.token !== null && parseToken(settings.token).genesisHash !== genesis.hash)
    throw new Fault(
      'foreign-mesh',
      `the token is for another mesh than the one ${dataDir} belongs to, ${genesis.trustDomain}`,
    );
  const hostKey = await loadHostKey(dataDir);
  const isFounder = genesis.founder === hostKey.signer.publicKey;
  const saved = isFounder ? null : await readAdmission(dataDir);
  const admitted = isFounder ? genesis.founderName : saved === null ? null : nameIn(saved.record);
  return {
    hostKey,
    name: admitted ?? settings.name,
    genesis,
    rootSigner: isFounder ? ((await loadRootKey(dataDir))?.signer ?? null) : null,
    admission: saved?.record ?? null,
    sponsor: saved?.sponsor ?? null,
    operatorTokenPath: null,
  };
}

/** The name in a signed admission; null when it is not one, which the mesh then says itself. */
function nameIn(admission: Uint8Array): string | null {
  try {
    return parseAdmission(decodeRecord(admission).value).name;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

async function found(settings: AgentSettings, now: Millis): Promise<Belonging> {
  const { dataDir } = settings;
  const hostKey = await loadOrCreateHostKey(dataDir);
  const operator = await loadOrCreateOperatorToken(dataDir);
  const root = await loadOrCreateRootKey(dataDir);
  const genesis = createGenesis(
    {
      trustDomain: `${randomBytes(8).toString('hex')}.${settings.domain}`,
      founderName: settings.name,
      defaultIntention: settings.defaultIntention,
      createdAt: now,
      rootLifetimeMs,
    },
    { operator: operator.signer, founder: hostKey.signer, root: root.signer },
    ed25519Verify,
  );
  await writeSecret(join(dataDir, genesisFile), genesis.bytes);
  return {
    hostKey,
    name: settings.name,
    genesis,
    rootSigner: root.signer,
    admission: null,
    sponsor: null,
    operatorTokenPath: operator.path,
  };
}

async function admit(settings: AgentSettings, token: JoinToken, now: () => Millis): Promise<Belonging> {
  const hostKey = await loadOrCreateHostKey(settings.dataDir);
  const addresses = [...settings.join, ...token.seeds.map(({ address, port }) => ({ address, port }))];
  const failures: Fault[] = [];
  for (const address of uniqueAddresses(addresses)) {
    try {
      const { record, sponsor, genesis } = await askFor(settings.name, hostKey, token, address, now);
      await saveAdmission(settings.dataDir, record, sponsor);
      await writeSecret(join(settings.dataDir, genesisFile), genesis.bytes);
      return {
        hostKey,
        name: settings.name,
        genesis,
        rootSigner: null,
        admission: record,
        sponsor,
        operatorTokenPath: null,
      };
    } catch (error) {
      // Only silence sends a joiner on to the next address: a refusal is the mesh's answer.
      if (!(error instanceof Fault) || error.code !== 'join-unanswered') throw error;
      failures.push(error);
    }
  }
  throw failures.length === 1
    ? failures[0]
    : new Fault('join-unanswered', failures.map(({ message }) => message).join('; '));
}

function uniqueAddresses(addresses: readonly SocketAddress[]): SocketAddress[] {
  return [...new Map(addresses.map((one) => [`${one.address} ${one.port}`, one])).values()];
}

interface Admitted {
  readonly record: Uint8Array;
  readonly sponsor: Sponsor;
  readonly genesis: Genesis;
}

/** Asks one running agent until it decides, with the next use of the token where one is taken. */
async function askFor(
  name: string,
  hostKey: StoredKey,
  token: JoinToken,
  where: SocketAddress,
  now: () => Millis,
): Promise<Admitted> {
  const address = ipVersion(where.address) === 0 ? await resolveName(where.address) : where.address;
  const askedFrom = now();
  let use = 0;
  for (let attempt = 1; ; ) {
    const record = admissionRecord(name, hostKey.signer, token, use, attempt, now());
    const payload = await requestJoin({
      address,
      port: where.port,
      payload: record,
      timeoutMs: joinTimeoutMs,
      attempts: joinAttempts,
    });
    const answer = readAnswer(payload, where);
    if (answer.outcome === 'welcome') {
      const genesis = provenGenesis(answer.genesis, token);
      return { record, sponsor: { id: answer.sponsor, address, port: where.port }, genesis };
    }
    if (answer.retryUse !== null && attempt < maxUsesTried) {
      use = answer.retryUse;
      attempt++;
    } else if (answer.code === 'grant-unknown' && now() - askedFrom < grantPatienceMs)
      await new Promise((done) => setTimeout(done, grantRetryMs));
    else throw refusalFault(answer);
  }
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
  const printable = message.replace(/[^\x20-\x7e]/g, '?');
  return new Fault(
    code === 'foreign-mesh' ? 'foreign-mesh' : 'join-refused',
    `not admitted: ${printable} (${code})`,
  );
}

async function resolveName(name: string): Promise<string> {
  try {
    return (await lookup(name)).address;
  } catch (error) {
    throw new Fault('join-unanswered', `cannot resolve "${name}": ${messageOf(error)}`, { field: 'join' });
  }
}

/** Each attempt outranks the one before it, and everything the agent itself writes outranks them all. */
function admissionRecord(
  name: string,
  signer: Signer,
  token: JoinToken,
  use: number,
  attempt: number,
  now: Millis,
): Uint8Array {
  const request = {
    genesisHash: token.genesisHash,
    name,
    host: signer.publicKey,
    grantId: token.grantId,
    use,
    admittedAt: Math.floor(now),
  };
  const value = encodeAdmission(createAdmission(request, token.grantSigner()));
  const hlc = Math.floor(now) * 1024;
  const version = admissionVersion(attempt, now);
  return encodeRecord({ scope: 'host', kind: ADMISSION, key: '', version, hlc, value }, signer).bytes;
}

/** The token pins the genesis, so it does not matter who handed it over. */
function provenGenesis(bytes: Uint8Array, token: JoinToken): Genesis {
  const genesis = parseGenesis(bytes, ed25519Verify);
  if (genesis.hash !== token.genesisHash)
    throw new Fault(
      'foreign-mesh',
      `the agent that answered belongs to another mesh, ${genesis.trustDomain}`,
    );
  return genesis;
}

const savedAdmission = Compile(
  Type.Object({
    record: Type.String({ pattern: '^[A-Za-z0-9+/]+=*$' }),
    sponsor: Type.Object({
      id: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      address: Type.String({ minLength: 1 }),
      port: Type.Integer({ minimum: 1, maximum: 65535 }),
    }),
  }),
);

interface SavedAdmission {
  readonly record: Uint8Array;
  readonly sponsor: Sponsor;
}

function saveAdmission(dataDir: string, record: Uint8Array, sponsor: Sponsor): Promise<void> {
  const text = JSON.stringify({ record: Buffer.from(record).toString('base64'), sponsor });
  return writeSecret(join(dataDir, admissionFile), Buffer.from(text));
}

async function readAdmission(dataDir: string): Promise<SavedAdmission | null> {
  const path = join(dataDir, admissionFile);
  const bytes = await readFileIfAny(path);
  if (bytes === null) return null;
  try {
    const saved = parseJson(bytes);
    if (!savedAdmission.Check(saved)) throw new Fault('malformed', 'not a saved admission');
    return { record: Buffer.from(saved.record, 'base64'), sponsor: saved.sponsor };
  } catch (error) {
    throw damaged(path, error);
  }
}
