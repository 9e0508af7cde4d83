/**
 * A small file beside the database that says the database once existed, which one it was, and its latest
 * epoch. A database that comes up empty or as another one is then refused instead of quietly used.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Fault, isHex, messageOf, parseJson } from '../../core.ts';
import { syncFolder } from './folder.ts';

export interface Marker {
  /** 16 random bytes, hex: which database this is. */
  readonly store: string;
  /** The latest epoch that was begun. */
  readonly epoch: number;
}

/** Null if there is none; `Fault('store-lost')` if it cannot be read as one. */
export async function readMarker(path: string): Promise<Marker | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new Fault('store-unavailable', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  const value = decode(bytes);
  if (value === null)
    throw new Fault('store-lost', `${path} is damaged; restore it, or remove it to start anew`);
  return value;
}

function decode(bytes: Buffer): Marker | null {
  let value: unknown;
  try {
    value = parseJson(bytes);
  } catch {
    // Not JSON: as damaged as JSON of another shape.
    return null;
  }
  if (typeof value !== 'object' || value === null || !('store' in value) || !('epoch' in value)) return null;
  const { store, epoch } = value;
  if (typeof store !== 'string' || !isHex(store, 16)) return null;
  if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch) || epoch < 0) return null;
  return { store, epoch };
}

/** Replaces the marker so that after a crash at any moment the old or the new one is there, whole. */
export async function writeMarker(path: string, marker: Marker): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(marker)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}
