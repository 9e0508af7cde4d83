/** What an agent keeps across restarts: entries by key, each durable when its write says so. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, Fault, messageOf } from '../../core.ts';
import type { StoreOp } from '../port.ts';
import { Database, type DatabaseOp, type Entry, isDiskFull, openEntry, sealEntry } from './database.ts';
import { type Files, readFiles } from './files.ts';
import { type Marker, readMarker, writeMarker } from './marker.ts';
import { damagedLocation, finishRebuild, rebuild } from './rebuild.ts';

/** How long an unsynced write may wait for company. */
const lingerMs = 20;
/** An unsynced write no longer waits once this much is pending, bytes. */
const lingerBytes = 256 * 1024;
/** The most one batch carries, bytes; what is over goes into the next one. */
const maxBatchBytes = 4 * 1024 * 1024;
/** What may wait for a slow disk, bytes; beyond it writes are refused with `Fault('store-overloaded')`. */
export const maxPendingBytes = 64 * 1024 * 1024;

const entryPrefix = 'e/';
const identityKey = 'm/identity';
const epochKey = 'm/epoch';
/** Never there. */
const barrierKey = 'm/barrier';

export interface StoreOptions {
  /** Told of every damaged entry or log block, in words for an operator. */
  readonly damaged?: (detail: string) => void;
}

interface Write {
  readonly ops: readonly StoreOp[];
  readonly sync: boolean;
  readonly bytes: number;
  readonly done: () => void;
  readonly failed: (fault: Fault) => void;
}

/** The open store of one agent. */
export class Store {
  /** How often this store was opened; grows with every start and is durable before `open` returns. */
  readonly epoch: number;
  readonly counters = {
    /** Batches written, of which with an fsync, and the writes they carried. */
    batches: 0,
    syncedBatches: 0,
    writes: 0,
    failedBatches: 0,
    reopened: 0,
    /** Entries that failed their checksum, and unreadable parts of the database and its log. */
    damaged: 0,
  };
  private readonly location: string;
  private readonly reportDamage: (detail: string) => void;
  /** Null after a failed write, until it was opened again. */
  private database: Database | null;
  /** Whether something was written since the last fsync. */
  private unsynced = false;
  private readonly pending: Write[] = [];
  private pendingBytes = 0;
  private lingering: NodeJS.Timeout | null = null;
  private working: Promise<void> | null = null;
  private reopening: Promise<Database> | null = null;
  private closed = false;

  private constructor(location: string, database: Database, epoch: number, options: StoreOptions) {
    this.location = location;
    this.database = database;
    this.epoch = epoch;
    this.reportDamage = (detail) => {
      this.counters.damaged += 1;
      options.damaged?.(detail);
    };
  }

  /**
   * Opens the store in `directory`, creating that, though nothing above it, if it never existed. A damaged
   * database is replaced by one of what can be read of it. Faults: `data-dir-locked` (another process has it),
   * `store-lost` (it existed, and is gone or another), `store-corrupted` (no start can be made from what is
   * there), `disk-full`, `store-unavailable`.
   */
  static async open(directory: string, options: StoreOptions = {}): Promise<Store> {
    const location = join(directory, 'database');
    const markerPath = join(directory, 'initialised');
    await makeDirectory(directory, location);
    const marker = await readMarker(markerPath);
    await refuseLost(location, markerPath, marker !== null);
    const files = await readFiles(location);
    const salvaged = files.damage.length > 0 ? await salvage(files, location, markerPath, marker) : null;
    const damage = [...files.damage, ...(salvaged?.damage ?? [])];
    const database = await Database.open(location, marker === null).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== 'store-corrupted') throw error;
      throw new Fault(error.code, `${error.message}; ${wayOut(location, markerPath)}`, { cause: error });
    });
    try {
      const found = await readIdentity(
        database,
        location,
        markerPath,
        marker?.store ?? null,
        salvaged !== null && !salvaged.startsAnew,
      );
      const epoch = Math.max(found.epoch, marker?.epoch ?? 0) + 1;
      await database.write(
        [sealed(identityKey, Buffer.from(found.store, 'hex')), sealed(epochKey, Buffer.from(String(epoch)))],
        true,
      );
      await writeMarker(markerPath, { store: found.store, epoch });
      const store = new Store(location, database, epoch, options);
      for (const detail of damage) store.reportDamage(detail);
      if (found.damaged) store.reportDamage('the epoch is damaged; it was taken from the marker');
      return store;
    } catch (error) {
      await database.close();
      if (error instanceof Fault) throw error;
      const code = isDiskFull(messageOf(error)) ? 'disk-full' : 'store-unavailable';
      throw new Fault(code, `cannot write ${markerPath}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Every sound entry whose key begins with `prefix`, in key order; what is damaged is left out and told. */
  async *load(prefix: string): AsyncGenerator<Entry> {
    const database = await this.usable();
    for await (const { key, value } of database.entries(entryPrefix + prefix, this.reportDamage))
      yield { key: key.slice(entryPrefix.length), value };
  }

  /**
   * Applies `ops` together and in the order of the calls. With `sync`, resolves once they, and all that was
   * written before them, are on disk, also when there are none; all that waits shares one fsync. Without, once the system has them, within about `lingerMs`. Faults:
   * `disk-full` and `store-unavailable` (may or may not be found on disk later), `store-overloaded`,
   * `store-closed` (nothing was changed). The store goes on after each of them but the last.
   */
  write(ops: readonly StoreOp[], sync: boolean): Promise<void> {
    const bytes = ops.reduce((sum, op) => sum + op.key.length + (op.type === 'put' ? op.value.length : 0), 0);
    if (this.closed) return Promise.reject(new Fault('store-closed', 'the store was closed'));
    if (this.pendingBytes + bytes > maxPendingBytes)
      return Promise.reject(new Fault('store-overloaded', `${maxPendingBytes} bytes wait to be written`));
    return new Promise((done, failed) => {
      this.pending.push({ ops, sync, bytes, done, failed });
      this.pendingBytes += bytes;
      if (sync || this.pendingBytes >= lingerBytes) this.work();
      else if (this.working === null) this.lingering ??= setTimeout(() => this.work(), lingerMs);
    });
  }

  /** Writes what is pending and closes. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.work();
    while (this.working !== null) await this.working;
    await this.database?.close();
    this.database = null;
  }

  /** Starts to write what is pending, unless that is under way. */
  private work(): void {
    if (this.lingering !== null) clearTimeout(this.lingering);
    this.lingering = null;
    this.working ??= this.drain().finally(() => {
      this.working = null;
      // A write may have come between the last look at the queue and now.
      if (this.pending.length > 0) this.work();
    });
  }

  private async drain(): Promise<void> {
    while (this.pending.length > 0) {
      const batch = this.takeBatch();
      try {
        await this.apply(batch);
        for (const write of batch) write.done();
      } catch (error) {
        assert(error instanceof Fault, messageOf(error));
        this.counters.failedBatches += 1;
        for (const write of batch) write.failed(error);
      }
    }
  }

  /** The oldest pending writes, as many as fit one batch. */
  private takeBatch(): Write[] {
    let count = 0;
    let bytes = 0;
    for (const write of this.pending) {
      if (count > 0 && bytes + write.bytes > maxBatchBytes) break;
      count += 1;
      bytes += write.bytes;
    }
    this.pendingBytes -= bytes;
    return this.pending.splice(0, count);
  }

  private async apply(batch: readonly Write[]): Promise<void> {
    const database = await this.usable();
    const sync = batch.some((write) => write.sync);
    const ops = batch.flatMap((write) => write.ops.map(databaseOp));
    if (ops.length === 0) {
      if (!sync || !this.unsynced) return;
      // LevelDB syncs nothing without a write, so that of nothing stands in for it.
      ops.push({ type: 'del', key: barrierKey });
    }
    try {
      await database.write(ops, sync);
      this.unsynced = !sync;
    } catch (error) {
      // LevelDB refuses every write after one that failed, until it is opened anew.
      this.database = null;
      await database.close();
      throw error;
    }
    this.counters.batches += 1;
    this.counters.syncedBatches += sync ? 1 : 0;
    this.counters.writes += batch.length;
  }

  /** The database, opened again if a write failed before. */
  private usable(): Promise<Database> {
    if (this.database !== null) return Promise.resolve(this.database);
    this.reopening ??= this.reopen().finally(() => {
      this.reopening = null;
    });
    return this.reopening;
  }

  private async reopen(): Promise<Database> {
    if (this.closed && this.working === null) throw new Fault('store-closed', 'the store was closed');
    const database = await Database.open(this.location, false);
    this.database = database;
    this.counters.reopened += 1;
    return database;
  }
}

function sealed(key: string, value: Uint8Array): DatabaseOp {
  return { type: 'put', key, value: sealEntry(key, value) };
}

function databaseOp(op: StoreOp): DatabaseOp {
  const key = entryPrefix + op.key;
  return op.type === 'put' ? sealed(key, op.value) : { type: 'del', key };
}

/**
 * Both folders, for nobody but the agent's user. The folder above them must be there: Node's own recursive
 * `mkdir` never ends where a folder that exists takes none below it, as in /proc.
 */
async function makeDirectory(directory: string, location: string): Promise<void> {
  try {
    await makeFolder(directory);
    await finishRebuild(location);
    await makeFolder(location);
    await chmod(location, 0o700);
  } catch (error) {
    throw new Fault('store-unavailable', `cannot create ${location}: ${messageOf(error)}`, { cause: error });
  }
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/**
 * LevelDB takes a folder without the file CURRENT for an empty database, and removes the tables in it. So
 * that is refused if the store existed before, or if there are tables to lose.
 */
async function refuseLost(location: string, markerPath: string, initialised: boolean): Promise<void> {
  const names = await readdir(location);
  if (names.includes('CURRENT')) return;
  if (initialised || names.some((name) => name.endsWith('.ldb')))
    throw new Fault('store-lost', `the database in ${location} is gone; ${wayOut(location, markerPath)}`);
}

/** What to do about a database that cannot be used. */
function wayOut(location: string, markerPath: string): string {
  return `restore it from a backup, or remove ${location} and ${markerPath} to start anew with what other hosts know`;
}

interface Salvaged {
  /** What was found beyond the damage to the files. */
  readonly damage: readonly string[];
  /** Nothing had ever been kept here: the damage is a first start's that a crash cut short. */
  readonly startsAnew: boolean;
}

/** Rebuilds a damaged database from what can be read of it. Faults: as `Store.open`. */
async function salvage(
  files: Files,
  location: string,
  markerPath: string,
  marker: Marker | null,
): Promise<Salvaged> {
  const entries = new Map<string, Buffer>();
  const damage: string[] = [];
  for (const [key, value] of files.entries()) {
    if (openEntry(key, value) !== null) entries.set(key, value);
    else damage.push(`entry ${JSON.stringify(key)} fails its checksum`);
  }
  await refuseLocked(location);
  const startsAnew = marker === null && entries.size === 0;
  if (marker === null && !startsAnew && !(entries.has(identityKey) && entries.has(epochKey)))
    throw new Fault(
      'store-corrupted',
      `the database in ${location} is damaged and ${markerPath} is missing; ${wayOut(location, markerPath)}`,
    );
  await rebuild(location, entries);
  damage.push(
    `the database was rebuilt with ${entries.size} entries; the damaged one is in ${damagedLocation(location)}`,
  );
  return { damage, startsAnew };
}

/** While another process works on the files they may well look damaged; LevelDB's lock tells. */
async function refuseLocked(location: string): Promise<void> {
  try {
    await (await Database.open(location, false)).close();
  } catch (error) {
    if (error instanceof Fault && error.code === 'data-dir-locked') throw error;
  }
}

interface Identity {
  readonly store: string;
  readonly epoch: number;
  readonly damaged: boolean;
}

/**
 * Which database this is and its latest epoch; `Fault('store-lost')` if it is not the marker's. With
 * damaged files they may be missing without the rest being lost; the marker then stands in for them.
 */
async function readIdentity(
  database: Database,
  location: string,
  markerPath: string,
  expected: string | null,
  damagedFiles: boolean,
): Promise<Identity> {
  const identity = await database.read(identityKey);
  const epoch = await database.read(epochKey);
  const store = identity ? Buffer.from(identity).toString('hex') : null;
  const damaged = identity === null || epoch === null || (damagedFiles && !(identity && epoch));
  if (expected === null && damaged)
    throw new Fault(
      'store-corrupted',
      `the database in ${location} is damaged and ${markerPath} is missing; ${wayOut(location, markerPath)}`,
    );
  if (expected !== null && store !== expected && !(store === null && damaged))
    throw new Fault(
      'store-lost',
      `the database in ${location} is not the one that ${markerPath} was written for; ${wayOut(location, markerPath)}`,
    );
  return {
    store: expected ?? store ?? randomBytes(16).toString('hex'),
    epoch: epoch ? Number(Buffer.from(epoch).toString()) : 0,
    damaged,
  };
}
