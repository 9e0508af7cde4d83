/**
 * Secrets on disk: seeds, tokens and keys, each in a file of its own that only its owner may read. A file is
 * either there, whole and durable, or not there at all.
 */
import { generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ed25519Signer, Fault, messageOf, type Signer } from '../../core.ts';
import { encodeOperatorToken, parseOperatorToken } from '../admission/token.ts';
import { createCsr } from '../x509/csr.ts';

export const hostSeedFile = 'host.seed';
export const rootSeedFile = 'root-g0.seed';
export const operatorTokenFile = 'operator.token';

const seedBytes = 32;
const maxSecretBytes = 64 * 1024;
const groupAndOthers = 0o077;

/** The code of an error of the system, or ''. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Makes what was created, renamed or unlinked in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Deletes a file of ours that is of no use any more; what went wrong, to add to a message, or ''. */
async function discard(path: string): Promise<string> {
  try {
    await unlink(path);
    return '';
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? '' : `; ${path} is left over: ${messageOf(error)}`;
  }
}

/** Makes a folder (0700) unless it is there; none above it. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

/**
 * Writes a secret so that it appears whole or not at all: a file of mode 0600 beside it, synced, renamed over
 * it, and the folder synced. The folder, though none above it, is made (0700) if need be. Throws
 * `Fault('secret-unwritable')`.
 */
export async function writeSecret(path: string, content: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  let begun = false;
  try {
    await makeFolder(folder);
    const file = await open(temporary, 'wx', 0o600);
    begun = true;
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    const leftOver = begun ? await discard(temporary) : '';
    throw new Fault('secret-unwritable', `cannot write ${path}: ${messageOf(error)}${leftOver}`, {
      cause: error,
    });
  }
}

async function readOpen(path: string, file: FileHandle): Promise<Buffer> {
  const facts = await file.stat();
  if (!facts.isFile()) throw new Fault('secret-unreadable', `${path} is not a file`);
  if ((facts.mode & groupAndOthers) !== 0)
    throw new Fault(
      'secret-exposed',
      `${path} may be read by other users (mode ${(facts.mode & 0o777).toString(8)}): run chmod 600 ${path}`,
    );
  if (facts.size > maxSecretBytes) throw new Fault('secret-unreadable', `${path} is too large`);
  return file.readFile();
}

/**
 * A secret's content, or null when there is no such file. Throws `Fault('secret-exposed')` when others may
 * read it, `Fault('secret-unreadable')` when we may not. Links are not followed.
 */
export async function readSecret(path: string): Promise<Buffer | null> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw new Fault('secret-unreadable', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  try {
    return await readOpen(path, file);
  } finally {
    await file.close();
  }
}

/** Deletes a secret for good; none there is fine. Throws `Fault('secret-unwritable')`. */
export async function deleteSecret(path: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw new Fault('secret-unwritable', `cannot delete ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** An Ed25519 key kept as a seed file, made on first use. */
export interface StoredKey {
  readonly signer: Signer;
  /** For those who need the key itself, such as the transport. A secret. */
  readonly seed: Uint8Array;
  /** Whether it was made just now. */
  readonly created: boolean;
}

/** Throws as `readSecret`, and `Fault('secret-damaged')` when the file is not a seed. */
export async function loadOrCreateSeed(path: string): Promise<StoredKey> {
  const stored = await loadSeed(path);
  if (stored !== null) return stored;
  const seed = randomBytes(seedBytes);
  await writeSecret(path, seed);
  return { signer: ed25519Signer(seed), seed, created: true };
}

/** As `loadOrCreateSeed`, null when there is none. */
export async function loadSeed(path: string): Promise<StoredKey | null> {
  const seed = await readSeed(path);
  return seed === null ? null : { signer: ed25519Signer(seed), seed, created: false };
}

/** The seed alone, for its reader to wipe. Throws as `loadOrCreateSeed`; null when there is none. */
export async function readSeed(path: string): Promise<Uint8Array | null> {
  const seed = await readSecret(path);
  if (seed !== null && seed.length !== seedBytes)
    throw new Fault('secret-damaged', `${path} does not hold a key: restore it from a backup`);
  return seed;
}

/** This host's key: who it is. */
export function loadOrCreateHostKey(dataDir: string): Promise<StoredKey> {
  return loadOrCreateSeed(join(dataDir, hostSeedFile));
}

/** The key of root generation 0, made where the mesh is founded. Its seed is the caller's to wipe. */
export function loadOrCreateRootKey(dataDir: string): Promise<StoredKey> {
  return loadOrCreateSeed(join(dataDir, rootSeedFile));
}

/** The key of root generation 0 where it is held; null on every other host. Its seed is the caller's to wipe. */
export function loadRootKey(dataDir: string): Promise<StoredKey | null> {
  return loadSeed(join(dataDir, rootSeedFile));
}

/**
 * The operator token of a data directory and its signer, made on first use. Throws as `readSecret`, and the
 * faults of `parseOperatorToken`.
 */
export async function loadOrCreateOperatorToken(
  dataDir: string,
): Promise<{ readonly path: string; readonly signer: Signer; readonly created: boolean }> {
  const path = join(dataDir, operatorTokenFile);
  const stored = await readSecret(path);
  if (stored !== null) return { path, signer: parseOperatorToken(stored.toString('utf8')), created: false };
  const seed = randomBytes(seedBytes);
  await writeSecret(path, Buffer.from(`${encodeOperatorToken(seed)}\n`));
  return { path, signer: ed25519Signer(seed), created: true };
}

/** Reads an operator token file wherever it is; `Fault('operator-token-missing')` when there is none. */
export async function readOperatorToken(path: string): Promise<Signer> {
  const stored = await readSecret(path);
  if (stored === null) throw new Fault('operator-token-missing', `there is no operator token at ${path}`);
  return parseOperatorToken(stored.toString('utf8'));
}

const generatePair = promisify(generateKeyPair);

/** What answers `make-key`: a fresh P-256 key and a signing request for it. */
export interface LeafKey {
  readonly csr: Uint8Array;
  /** PKCS#8. A secret. */
  readonly keyPem: string;
}

export async function makeLeafKey(spiffeId: string, dnsNames: readonly string[]): Promise<LeafKey> {
  const pair = await generatePair('ec', { namedCurve: 'P-256' });
  const key: KeyObject = pair.privateKey;
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { csr: createCsr(key, spiffeId, dnsNames), keyPem };
}

/** 32 fresh random bytes: the secret of a grant or of an operator. */
export function newSeed(): Uint8Array {
  return randomBytes(seedBytes);
}
