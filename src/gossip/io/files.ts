/**
 * The files of a database, read without LevelDB and checked, to be asked before it is opened: LevelDB would
 * leave out what it cannot read, or read what is not there, and say nothing.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ByteReader, Fault, messageOf } from '../../core.ts';
import { readLog } from './log-file.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { blockEntries, readTable } from './table-file.ts';

export interface Files {
  /** What is damaged or missing, in words for an operator. */
  readonly damage: readonly string[];
  /** Values by key, as the latest write that can be read left them. Costs more than the check does. */
  entries(): ReadonlyMap<string, Buffer>;
}

/** One version of a key; LevelDB numbers all writes. */
interface Version {
  readonly sequence: bigint;
  /** Null where it was deleted. */
  readonly value: Buffer | null;
}

const kindOfValue = 1n;
const tablePattern = /^(\d{6,})\.ldb$/;
const logPattern = /^(\d{6,})\.log$/;
const currentPattern = /^MANIFEST-\d{6,}\n$/;

/** Reads every file that belongs to the database once. None are there: no damage. */
export async function readFiles(location: string): Promise<Files> {
  const names = await readdir(location);
  const damage: string[] = [];
  const manifest = names.includes('CURRENT') ? await currentManifest(location, names, damage) : null;
  const numbered = (pattern: RegExp) => names.flatMap((name) => numberIn(pattern, name));
  const tables = numbered(tablePattern).filter(({ number }) => manifest?.tables.has(number) ?? true);
  const logs = numbered(logPattern).filter(({ number }) => number >= (manifest?.logNumber ?? 0));
  if (manifest !== null) damage.push(...missingFiles(manifest, tables, logs));

  const blocks: Buffer[] = [];
  const batches: Buffer[] = [];
  for (const { name } of tables) {
    const table = readTable(await readIfThere(join(location, name)));
    blocks.push(...table.blocks);
    if (table.damaged > 0)
      damage.push(`${name} is damaged in ${table.damaged} of its blocks; what they held is lost`);
  }
  for (const { name } of logs) {
    const log = readLog(await readIfThere(join(location, name)));
    batches.push(...log.records);
    if (log.damaged > 0) damage.push(`${name} is damaged in ${log.damaged} places; what was there is lost`);
  }
  return { damage, entries: () => latestEntries(blocks, batches) };
}

/** A file's bytes; none when it went since it was listed, as under a process that works on the database. */
async function readIfThere(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Buffer.alloc(0);
    throw new Fault('store-unavailable', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function numberIn(pattern: RegExp, name: string): { name: string; number: number }[] {
  const match = pattern.exec(name);
  return match === null ? [] : [{ name, number: Number(match[1]) }];
}

/** The manifest in force; null, with the reason among `damage`, when it cannot be had. */
async function currentManifest(
  location: string,
  names: readonly string[],
  damage: string[],
): Promise<Manifest | null> {
  const current = (await readIfThere(join(location, 'CURRENT'))).toString('latin1');
  const name = current.slice(0, -1);
  if (!currentPattern.test(current) || !names.includes(name)) {
    damage.push('CURRENT is damaged; every table and log was read instead');
    return null;
  }
  const { records, damaged } = readLog(await readIfThere(join(location, name)));
  try {
    if (damaged === 0 && records.length > 0) return readManifest(records);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
  damage.push(`${name} is damaged; every table and log was read instead`);
  return null;
}

function missingFiles(
  manifest: Manifest,
  tables: readonly { readonly number: number }[],
  logs: readonly { readonly number: number }[],
): string[] {
  const there = new Set(tables.map(({ number }) => number));
  const missing = [...manifest.tables].filter((number) => !there.has(number));
  const details = missing.map((number) => `table ${number} is missing; what it held is lost`);
  if (manifest.logNumber > 0 && !logs.some(({ number }) => number === manifest.logNumber))
    details.push(`log ${manifest.logNumber} is missing; the latest writes are lost`);
  return details;
}

/** Of every key the version with the highest sequence number, unless that deleted it. */
function latestEntries(blocks: readonly Buffer[], batches: readonly Buffer[]): Map<string, Buffer> {
  const latest = new Map<string, Version>();
  const note = (key: string, version: Version): void => {
    const known = latest.get(key);
    if (known === undefined || version.sequence > known.sequence) latest.set(key, version);
  };
  for (const block of blocks) ignoringMalformed(() => readBlock(block, note));
  for (const batch of batches) ignoringMalformed(() => readBatch(batch, note));
  const entries = new Map<string, Buffer>();
  for (const [key, { value }] of latest) if (value !== null) entries.set(key, value);
  return entries;
}

type Note = (key: string, version: Version) => void;

/** What has the right checksum and another form was not written by LevelDB; it holds nothing of ours. */
function ignoringMalformed(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
}

function readBlock(block: Buffer, note: Note): void {
  for (const { key, value } of blockEntries(block)) {
    if (key.length < 8) throw new Fault('malformed', 'a key has no sequence number');
    const tail = key.readBigUInt64LE(key.length - 8);
    const sequence = tail >> 8n;
    note(key.subarray(0, -8).toString(), { sequence, value: (tail & 0xffn) === kindOfValue ? value : null });
  }
}

/** Sequence number (8 bytes), count (4 bytes), then writes: a kind (1: put, 0: delete), the key, a put's value. */
function readBatch(batch: Buffer, note: Note): void {
  if (batch.length < 12) throw new Fault('malformed', 'a batch has no header');
  let sequence = batch.readBigUInt64LE(0);
  const reader = new ByteReader(batch.subarray(12));
  while (reader.remaining > 0) {
    const isPut = BigInt(reader.u8()) === kindOfValue;
    const key = Buffer.from(reader.bytes(batch.length)).toString();
    note(key, { sequence, value: isPut ? Buffer.from(reader.bytes(batch.length)) : null });
    sequence += 1n;
  }
}
