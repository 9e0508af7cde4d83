/**
 * Which mesh a data directory belongs to: the one it belonged to before, a new one that it founds, or one it
 * is admitted to with a token. Everything is on disk before this returns; a crash in between is made good by
 * doing the same again.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { ed25519Verify, Fault, type Millis, messageOf, parseJson } from '../../core.ts';
import { decodeRecord } from '../../gossip/replica/codec.ts';
import { slotOf } from '../../gossip/replica/record.ts';
import { type AdmissionValue, parseAdmission } from '../../trust/admission/admission.ts';
import { createGenesis, type Genesis, parseGenesis } from '../../trust/admission/genesis.ts';
import type { JoinToken } from '../../trust/admission/token.ts';
import {
  deleteSecret,
  hostSeedFile,
  loadOrCreateHostKey,
  loadOrCreateOperatorToken,
  loadOrCreateRootKey,
  loadRootKey,
  loadSeed,
  operatorTokenFile,
  rootSeedFile,
  type StoredKey,
  writeSecret,
} from '../../trust/io/keys.ts';
import { SoleKey } from '../../trust/issuance/sole-key.ts';
import type { Sponsor } from '../joining/approach.ts';
import { GRANT, HOST } from '../kinds.ts';
import type { AgentSettings, SocketAddress } from '../settings.ts';
import { askForAdmission, askForDenial, presentAdmission } from './admission-request.ts';

export interface Belonging {
  readonly hostKey: StoredKey;
  /** The name that this host was admitted under; it keeps it for good. */
  readonly name: string;
  readonly genesis: Genesis;
  readonly rootSigner: SoleKey | null;
  /** The signed `admission` record of a host that joined. */
  readonly admission: Uint8Array | null;
  readonly sponsor: Sponsor | null;
  /** Where the operator token of a mesh is that was founded here and has not been ready yet; null else. */
  readonly operatorTokenPath: string | null;
  /** Where the founder's root key ought to be, when it is not there; null else. */
  readonly missingRootKey: string | null;
  /** What kept the addresses that were asked first from letting this host in. */
  readonly failures: readonly Fault[];
  /**
   * Asked for while the agent starts, of the addresses given to a host that has heard of its mesh before: the
   * operator's record that denies it, unjudged, or null. Never rejects.
   */
  readonly denial: Promise<Uint8Array | null>;
}

const noDenial: Promise<null> = Promise.resolve(null);

/** Whether the store holds a record in this slot. */
export type IsStored = (slot: string) => Promise<boolean>;

const genesisFile = 'genesis';
/** Holds the genesis hash of a mesh that was founded here, until its founder was ready for the first time. */
const foundingFile = 'founding';
const admissionFile = 'admission.json';
/** The first root outlives any mesh that does not replace it: nothing rotates it yet. */
const rootLifetimeMs = 10 * 365 * 24 * 3_600_000;

/** Throws `Fault` with one clear line: no token, one of another mesh, refused, nobody answered, already belongs. */
export async function belong(
  settings: AgentSettings,
  now: () => Millis,
  isStored: IsStored,
): Promise<Belonging> {
  const genesis = await readGenesis(settings.dataDir);
  if (genesis !== null) return resume(settings, genesis, now, isStored);
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
  return admit(settings, settings.token, now);
}

/** The founder is ready, and its user is about to learn where the operator token is: `--bootstrap` is over. */
export function foundingDone(dataDir: string): Promise<void> {
  return deleteSecret(join(dataDir, foundingFile));
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

async function resume(
  settings: AgentSettings,
  genesis: Genesis,
  now: () => Millis,
  isStored: IsStored,
): Promise<Belonging> {
  const { dataDir } = settings;
  const isBegun = (await readFileIfAny(join(dataDir, foundingFile)))?.toString() === genesis.hash;
  if (settings.bootstrap && !isBegun)
    throw new Fault(
      'already-belongs',
      `${dataDir} already belongs to mesh ${genesis.trustDomain}: start without --bootstrap, or give another --data-dir`,
    );
  if (settings.bootstrap) refuseOtherMesh(settings, genesis);
  const { token } = settings;
  if (token !== null && token.genesisHash !== genesis.hash)
    throw new Fault(
      'foreign-mesh',
      `the token is for another mesh than the one ${dataDir} belongs to, ${genesis.trustDomain}`,
    );
  const hostKey = await loadHostKey(dataDir);
  if (genesis.founder === hostKey.signer.publicKey)
    return resumeFounder(dataDir, hostKey, genesis, isBegun ? join(dataDir, operatorTokenFile) : null);
  const saved = await readAdmission(dataDir);
  const name = (saved === null ? null : admissionIn(saved.record)?.name) ?? settings.name;
  const failures: Fault[] = [];
  const hasHeard = saved === null || (await hasHeardOfMesh(saved, isStored));
  const given = addressesGiven(settings, token);
  const found = hasHeard
    ? saved
    : await findSponsor({ settings, name, token, hostKey, genesis, now }, saved, failures);
  return {
    hostKey,
    name,
    genesis,
    rootSigner: null,
    admission: found?.record ?? null,
    sponsor: found?.sponsor ?? null,
    operatorTokenPath: null,
    missingRootKey: null,
    failures,
    denial: hasHeard && saved !== null && given.length > 0 ? askForDenial(saved.record, given) : noDenial,
  };
}

function addressesGiven({ join }: AgentSettings, token: JoinToken | null): readonly SocketAddress[] {
  return uniqueAddresses([...join, ...(token?.seeds ?? [])]);
}

/** What the genesis says cannot be said anew: whoever founds a mesh once more must mean the same one. */
function refuseOtherMesh(settings: AgentSettings, genesis: Genesis): void {
  const { founderName, trustDomain, defaultIntention } = genesis;
  const domain = trustDomain.slice(trustDomain.indexOf('.') + 1);
  for (const [option, asked, begunWith] of [
    ['name', settings.name, founderName],
    ['domain', settings.domain, domain],
    ['default-intention', settings.defaultIntention, defaultIntention],
  ] as const)
    if (asked !== begunWith)
      throw new Fault(
        'already-belongs',
        `${settings.dataDir} holds a mesh that was begun with --${option} ${begunWith}: say so again, or give another --data-dir`,
      );
}

async function resumeFounder(
  dataDir: string,
  hostKey: StoredKey,
  genesis: Genesis,
  operatorTokenPath: string | null,
): Promise<Belonging> {
  const root = await loadRootKey(dataDir);
  root?.seed.fill(0);
  const rootSigner = root === null ? null : new SoleKey(root.signer);
  return {
    hostKey,
    name: genesis.founderName,
    genesis,
    rootSigner,
    admission: null,
    sponsor: null,
    operatorTokenPath,
    missingRootKey: rootSigner === null ? join(dataDir, rootSeedFile) : null,
    failures: [],
    denial: noDenial,
  };
}

/** Whether the mesh's records have come since this host was let in: its sponsor's own, and the grant behind it. */
async function hasHeardOfMesh({ record, sponsor }: SavedAdmission, isStored: IsStored): Promise<boolean> {
  const key = admissionIn(record)?.grantId ?? '';
  return (
    (await isStored(slotOf({ scope: 'host', author: sponsor.id, kind: HOST, key: '' }))) &&
    (await isStored(slotOf({ scope: 'policy', author: sponsor.id, kind: GRANT, key })))
  );
}

interface Search {
  readonly settings: AgentSettings;
  readonly name: string;
  readonly token: JoinToken | null;
  readonly hostKey: StoredKey;
  readonly genesis: Genesis;
  readonly now: () => Millis;
}

/**
 * Where a host that was let in, and heard nothing of the mesh since, finds it: at its sponsor or else at any
 * address it is given. Who has not heard of its admission lets it in once more, by the token if there is one.
 * The sponsor stays when nobody else does; what each said goes to `failures`. Throws `Fault('host-denied')`.
 */
async function findSponsor(
  search: Search,
  saved: SavedAdmission,
  failures: Fault[],
): Promise<SavedAdmission> {
  const { settings, name, token, hostKey, genesis, now } = search;
  const given = addressesGiven(settings, token);
  if (given.length === 0) return saved;
  for (const where of uniqueAddresses([saved.sponsor, ...given])) {
    try {
      const found = await presentAdmission(saved.record, genesis.hash, where).catch((error: unknown) => {
        if (token === null || !(error instanceof Fault) || error.code !== 'join-refused') throw error;
        return askForAdmission({ name, hostKey: hostKey.signer, token, where, now });
      });
      await saveAdmission(settings.dataDir, found.record, found.sponsor);
      return found;
    } catch (error) {
      if (!(error instanceof Fault) || error.code === 'host-denied') throw error;
      failures.push(error);
    }
  }
  return saved;
}

/** What a signed admission says; null when it is not one, which the mesh then says itself. */
function admissionIn(record: Uint8Array): AdmissionValue | null {
  try {
    return parseAdmission(decodeRecord(record).value);
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
  root.seed.fill(0);
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
  await writeSecret(join(dataDir, foundingFile), Buffer.from(genesis.hash));
  await writeSecret(join(dataDir, genesisFile), genesis.bytes);
  return {
    hostKey,
    name: settings.name,
    genesis,
    rootSigner: new SoleKey(root.signer),
    admission: null,
    sponsor: null,
    operatorTokenPath: operator.path,
    missingRootKey: null,
    failures: [],
    denial: noDenial,
  };
}

async function admit(settings: AgentSettings, token: JoinToken, now: () => Millis): Promise<Belonging> {
  const hostKey = await loadOrCreateHostKey(settings.dataDir);
  const failures: Fault[] = [];
  for (const where of addressesGiven(settings, token)) {
    try {
      const { record, sponsor, genesis } = await askForAdmission({
        name: settings.name,
        hostKey: hostKey.signer,
        token,
        where,
        now,
      });
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
        missingRootKey: null,
        failures,
        denial: noDenial,
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

const savedAdmission = Compile(
  Type.Object({
    record: Type.String({ pattern: '^[A-Za-z0-9+/]+=*$' }),
    sponsor: Type.Object({
      id: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      address: Type.String({ minLength: 1 }),
      port: Type.Integer({ minimum: 1, maximum: 65535 }),
      welcome: Type.Optional(Type.Union([Type.Null(), Type.String({ pattern: '^[0-9a-f]{128}$' })])),
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
    const { record, sponsor } = saved;
    return { record: Buffer.from(record, 'base64'), sponsor: { welcome: null, ...sponsor } };
  } catch (error) {
    throw damaged(path, error);
  }
}
