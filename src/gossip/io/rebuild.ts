/**
 * Replaces a damaged database by a sound one that holds all that could be read of it. LevelDB would keep the
 * damage: it finds and orders nothing right behind a changed key, and refuses every write once a compaction
 * meets what it cannot read.
 */
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Fault, messageOf } from '../../core.ts';
import { Database, type DatabaseOp, isDiskFull } from './database.ts';
import { syncFolder } from './folder.ts';

/** Bytes of one batch while rebuilding. */
const batchBytes = 1024 * 1024;

/** Where the damaged database is kept, for whoever wants to know what happened; the latest only. */
export function damagedLocation(location: string): string {
  return `${location}.damaged`;
}

function rebuiltLocation(location: string): string {
  return `${location}.rebuilt`;
}

/**
 * Puts a database with these entries, sealed as they are, in the place of the one at `location`, which nobody
 * may have open. After a crash at any moment the old or the new one is there, or `finishRebuild` has it.
 * Faults: `disk-full`, `store-unavailable`.
 */
export async function rebuild(location: string, entries: ReadonlyMap<string, Buffer>): Promise<void> {
  const rebuilt = rebuiltLocation(location);
  await files(location, () => rm(rebuilt, { recursive: true, force: true }));
  const database = await Database.open(rebuilt, true);
  try {
    let ops: DatabaseOp[] = [];
    let bytes = 0;
    for (const [key, value] of entries) {
      ops.push({ type: 'put', key, value });
      bytes += key.length + value.length;
      if (bytes < batchBytes) continue;
      await database.write(ops, true);
      ops = [];
      bytes = 0;
    }
    if (ops.length > 0) await database.write(ops, true);
  } finally {
    await database.close();
  }
  await files(location, async () => {
    await rm(damagedLocation(location), { recursive: true, force: true });
    await rename(location, damagedLocation(location));
    await rename(rebuilt, location);
    await syncFolder(dirname(location));
  });
}

/** Where a crash came between the two renames of `rebuild`, does the second. */
export async function finishRebuild(location: string): Promise<void> {
  await files(location, async () => {
    const names = new Set(await readdir(dirname(location)));
    if (names.has(basename(location)) || !names.has(basename(damagedLocation(location)))) return;
    if (!names.has(basename(rebuiltLocation(location)))) return;
    await rename(rebuiltLocation(location), location);
    await syncFolder(dirname(location));
  });
}

async function files(location: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const code = isDiskFull(messageOf(error)) ? 'disk-full' : 'store-unavailable';
    throw new Fault(code, `cannot rebuild ${location}: ${messageOf(error)}`, { cause: error });
  }
}
