/**
 * The shares of root keys at rest. Each is a file, encrypted under a key in a file of its own: destroying the
 * few bytes of the key destroys the share, whatever a disk or a backup keeps of the rest. The genesis root of
 * the founder is the seed file it has been since the mesh was founded.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, type HostId, messageOf } from '../../core.ts';
import { genesisShare, type ShareName } from '../epoch/crypto-port.ts';
import type { SecretToKeep } from '../epoch/port.ts';
import { maxSecretBytes, openSecret, sealKeyBytes, sealNonceBytes, sealSecret } from '../frost/sealing.ts';
import { codeOf, makeFolder, readSecret, readSeed, rootSeedFile, syncFolder, writeSecret } from './keys.ts';

export const sharesFolder = 'shares';
const dataSuffix = '.share';
const keySuffix = '.key';
/** A file being written, or being destroyed: what a crash leaves of either is no secret. */
const temporarySuffix = '.tmp';
const sessionName = /^(?:[0-9a-f]{2}){1,64}$/;

/** One that is there and cannot be used; it stays as it is until it is shredded. */
export interface DamagedSecret {
  readonly name: ShareName;
  readonly fault: Fault;
}

export interface LoadedSecrets {
  readonly secrets: SecretToKeep[];
  readonly damaged: DamagedSecret[];
}

/** Moves the file out of its place; null where there is none. */
async function condemn(path: string): Promise<string | null> {
  const condemned = `${path}.${randomBytes(6).toString('hex')}${temporarySuffix}`;
  try {
    await rename(path, condemned);
    return condemned;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function overwrite(path: string): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    await file.writeFile(new Uint8Array(size));
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Overwrites files of one folder, in this order, and unlinks them; those that are not there are gone already.
 * They are renamed first: a crash half-way leaves nothing that could be taken for what it was. Throws
 * `Fault('secret-unwritable')`.
 */
export async function shredFiles(folder: string, names: readonly string[]): Promise<void> {
  try {
    const condemned: string[] = [];
    for (const name of names) {
      const path = join(folder, name);
      const moved = name.endsWith(temporarySuffix) ? path : await condemn(path);
      if (moved !== null) condemned.push(moved);
    }
    if (condemned.length === 0) return;
    await syncFolder(folder);
    for (const path of condemned) await overwrite(path);
    for (const path of condemned) await unlink(path);
    await syncFolder(folder);
  } catch (error) {
    throw new Fault('secret-unwritable', `cannot shred secrets in ${folder}: ${messageOf(error)}`, {
      changed: true,
      cause: error,
    });
  }
}

/** One at a time, in the order they were asked for: what is kept and then shredded is gone. */
export class SecretStore {
  private readonly dataDir: string;
  private readonly folder: string;
  private readonly host: HostId;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(dataDir: string, host: HostId) {
    this.dataDir = dataDir;
    this.folder = join(dataDir, sharesFolder);
    this.host = host;
  }

  /**
   * Of the host whose data directory it is, which must be there. Destroys what a crash left half-written or
   * half-shredded. Throws `Fault('secret-unwritable')`, `Fault('secret-unreadable')`.
   */
  static async open(dataDir: string, host: HostId): Promise<SecretStore> {
    const store = new SecretStore(dataDir, host);
    try {
      await makeFolder(store.folder);
      await syncFolder(dataDir);
    } catch (error) {
      throw new Fault('secret-unwritable', `cannot make ${store.folder}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    await store.sweep();
    return store;
  }

  /** The whole ones, to be wiped by the caller, and those that are damaged: never throws for a single file. */
  load(): Promise<LoadedSecrets> {
    return this.inTurn(async () => {
      const loaded: LoadedSecrets = { secrets: [], damaged: [] };
      await this.take(loaded, genesisShare, () => readSeed(join(this.dataDir, rootSeedFile)));
      for (const name of await this.names()) await this.take(loaded, name, () => this.read(name));
      return loaded;
    });
  }

  /**
   * Resolves once all are durable; of one whose writing a crash cut off, nothing is found afterwards. Throws
   * `Fault('secret-name')` before anything was written, `Fault('secret-unwritable')`.
   */
  async keep(secrets: readonly SecretToKeep[]): Promise<void> {
    for (const { name, bytes } of secrets) {
      if (!sessionName.test(name)) throw new Fault('secret-name', `a share cannot be named '${name}'`);
      if (bytes.length > maxSecretBytes) throw new Fault('secret-name', `share ${name} is too large`);
    }
    await this.inTurn(async () => {
      for (const secret of secrets) await this.write(secret);
    });
  }

  /**
   * Resolves once keys and then data are overwritten and unlinked; `genesisShare` stands for the founder's
   * root seed. Those that are not there are gone already. Throws `Fault`: `secret-name`, `secret-unwritable`.
   */
  async shred(names: readonly ShareName[]): Promise<void> {
    for (const name of names)
      if (name !== genesisShare && !sessionName.test(name))
        throw new Fault('secret-name', `no share is named '${name}'`);
    await this.inTurn(async () => {
      if (names.includes(genesisShare)) await shredFiles(this.dataDir, [rootSeedFile]);
      const shares = names.filter((name) => name !== genesisShare);
      await shredFiles(this.folder, [
        ...shares.map((name) => name + keySuffix),
        ...shares.map((name) => name + dataSuffix),
      ]);
    });
  }

  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.last.then(act);
    // Whoever asked for it hears of its failure; the next one has its turn all the same.
    this.last = turn.catch(() => {});
    return turn;
  }

  private async take(
    loaded: LoadedSecrets,
    name: ShareName,
    read: () => Promise<Uint8Array | null>,
  ): Promise<void> {
    try {
      const bytes = await read();
      if (bytes !== null) loaded.secrets.push({ name, bytes });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      loaded.damaged.push({ name, fault: error });
    }
  }

  /** Null where a part is missing. */
  private async read(name: ShareName): Promise<Uint8Array | null> {
    const key = await readSecret(join(this.folder, name + keySuffix));
    const sealed = await readSecret(join(this.folder, name + dataSuffix));
    if (key === null || sealed === null) return null;
    const secret = openSecret(sealed, { name, host: this.host }, key);
    key.fill(0);
    return secret;
  }

  /** The key is durable before there is anything that needs it. */
  private async write({ name, bytes }: SecretToKeep): Promise<void> {
    const key = randomBytes(sealKeyBytes);
    const sealed = sealSecret(bytes, { name, host: this.host }, key, randomBytes(sealNonceBytes));
    await writeSecret(join(this.folder, name + keySuffix), key);
    await writeSecret(join(this.folder, name + dataSuffix), sealed);
    key.fill(0);
  }

  private async files(folder: string): Promise<string[]> {
    try {
      return await readdir(folder);
    } catch (error) {
      throw new Fault('secret-unreadable', `cannot read ${folder}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Of which there is data. */
  private async names(): Promise<ShareName[]> {
    const files = await this.files(this.folder);
    const names = files
      .filter((file) => file.endsWith(dataSuffix))
      .map((file) => file.slice(0, -dataSuffix.length));
    return names.filter((name) => sessionName.test(name)).sort();
  }

  /** Half of a secret is none. */
  private async sweep(): Promise<void> {
    const files = await this.files(this.folder);
    const isRemnant = (file: string): boolean => {
      if (file.endsWith(temporarySuffix)) return true;
      if (file.endsWith(keySuffix)) return !files.includes(file.slice(0, -keySuffix.length) + dataSuffix);
      return file.endsWith(dataSuffix) && !files.includes(file.slice(0, -dataSuffix.length) + keySuffix);
    };
    await shredFiles(this.folder, files.filter(isRemnant));
    const seeds = await this.files(this.dataDir);
    const isSeedRemnant = (file: string): boolean =>
      file.startsWith(`${rootSeedFile}.`) && file.endsWith(temporarySuffix);
    await shredFiles(this.dataDir, seeds.filter(isSeedRemnant));
  }
}
