/** LevelDB with a checksum on every entry, and its errors as faults. */
import { crc32 } from 'node:zlib';
import { type BatchOperation, type Iterator, Level } from 'level';
import { Fault, messageOf } from '../../core.ts';
import { syncFolder } from './folder.ts';

export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
}

export type DatabaseOp = BatchOperation<Level<string, Buffer>, string, Buffer>;

/** Entries read at a time. */
const readBatch = 500;
const checksumBytes = 4;

/** The checksum covers the key too: a value under the wrong key is as bad as a wrong value. */
function checksum(key: string, value: Uint8Array): number {
  return crc32(value, crc32(`${key}\0`));
}

/** `value` with its checksum in front. */
export function sealEntry(key: string, value: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(checksumBytes + value.length);
  sealed.writeUInt32BE(checksum(key, value), 0);
  sealed.set(value, checksumBytes);
  return sealed;
}

/** The value, or null if the checksum is not its own. */
export function openEntry(key: string, sealed: Buffer): Uint8Array | null {
  if (sealed.length < checksumBytes) return null;
  const value = sealed.subarray(checksumBytes);
  return sealed.readUInt32BE(0) === checksum(key, value) ? new Uint8Array(value) : null;
}

/** Whether an error's message is the system's for a full disk: LevelDB passes on nothing but that. */
export function isDiskFull(message: string): boolean {
  return /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(message);
}

/** Every error of LevelDB as a fault that an operator can act on. */
function databaseFault(error: unknown, location: string, changed: boolean): Fault {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const message = messageOf(cause);
  const options = { changed, cause };
  if (code === 'LEVEL_LOCKED')
    return new Fault('data-dir-locked', `another agent is running on ${location}`, options);
  if (code === 'LEVEL_CORRUPTION')
    return new Fault('store-corrupted', `the database in ${location} is damaged: ${message}`, options);
  if (isDiskFull(message)) return new Fault('disk-full', `no space left to write to ${location}`, options);
  return new Fault('store-unavailable', `the database in ${location} failed: ${message}`, options);
}

/** One open LevelDB. */
export class Database {
  private readonly level: Level<string, Buffer>;
  private readonly location: string;

  private constructor(level: Level<string, Buffer>, location: string) {
    this.level = level;
    this.location = location;
  }

  /** Faults: `data-dir-locked`, `store-corrupted`, `disk-full`, `store-unavailable`. */
  static async open(location: string, createIfMissing: boolean): Promise<Database> {
    const level = new Level<string, Buffer>(location, {
      keyEncoding: 'utf8',
      valueEncoding: 'buffer',
      createIfMissing,
      // Lets the checks below read the index of a table; entries are small and few.
      compression: false,
    });
    try {
      await level.open();
    } catch (error) {
      throw databaseFault(error, location, false);
    }
    try {
      // LevelDB renames CURRENT and does not make that durable; the manifest it named before is deleted.
      await syncFolder(location);
    } catch (error) {
      await level.close();
      throw databaseFault(error, location, false);
    }
    return new Database(level, location);
  }

  /** Writes all or nothing. After a failure the database must be closed and opened again. */
  async write(ops: DatabaseOp[], sync: boolean): Promise<void> {
    try {
      await this.level.batch(ops, { sync });
    } catch (error) {
      // A write that failed to reach the disk may still be found there after recovery.
      throw databaseFault(error, this.location, true);
    }
  }

  /** The value of one key; undefined if there is none, null if it is damaged. */
  async read(key: string): Promise<Uint8Array | null | undefined> {
    try {
      const sealed = await this.level.get(key);
      return sealed === undefined ? undefined : openEntry(key, sealed);
    } catch (error) {
      const fault = databaseFault(error, this.location, false);
      if (fault.code === 'store-corrupted') return null;
      throw fault;
    }
  }

  /**
   * Every entry whose key begins with `prefix`, in key order. Damaged entries and unreadable blocks are
   * left out and passed to `damaged`.
   */
  async *entries(prefix: string, damaged: (detail: string) => void): AsyncGenerator<Entry> {
    let after: string | null = null;
    // A batch that meets an unreadable block is lost as a whole, so from there on entries come singly.
    for (const size of [readBatch, 1]) {
      const iterator: Iterator<Level<string, Buffer>, string, Buffer> = this.level.iterator(
        after === null ? { gte: prefix } : { gt: after },
      );
      try {
        for (let batch = await iterator.nextv(size); batch.length > 0; batch = await iterator.nextv(size))
          for (const [key, sealed] of batch) {
            if (!key.startsWith(prefix)) return;
            after = key;
            const value = openEntry(key, sealed);
            if (value === null) damaged(`entry ${JSON.stringify(key)} fails its checksum`);
            else yield { key, value };
          }
        return;
      } catch (error) {
        const fault = databaseFault(error, this.location, false);
        if (fault.code !== 'store-corrupted') throw fault;
        if (size === 1) damaged(fault.message);
      } finally {
        await iterator.close();
      }
    }
  }

  async close(): Promise<void> {
    try {
      await this.level.close();
    } catch (error) {
      throw databaseFault(error, this.location, false);
    }
  }
}
