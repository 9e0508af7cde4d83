/** Looks for secrets where none should be: in files, and in the memory of other processes. */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

/** A secret of some bytes, as little-endian numbers are kept, in every way a program is likely to hold it. */
export function formsOf(littleEndian: Uint8Array): Map<string, Buffer> {
  const forms = new Map<string, Buffer>();
  for (const [order, bytes] of [
    ['little-endian', Buffer.from(littleEndian)],
    ['big-endian', Buffer.from(littleEndian).reverse()],
  ] as const) {
    forms.set(order, bytes);
    const hex = bytes.toString('hex');
    forms.set(`${order} hex`, Buffer.from(hex));
    forms.set(`${order} capital hex`, Buffer.from(hex.toUpperCase()));
    forms.set(`${order} two-byte hex`, Buffer.from(hex, 'utf16le'));
    // Without the end, which depends on what follows.
    forms.set(`${order} base64`, Buffer.from(bytes.toString('base64').slice(0, 40)));
  }
  return forms;
}

/** Names of the forms that the bytes contain. */
function formsIn(bytes: Buffer, forms: ReadonlyMap<string, Buffer>): string[] {
  return [...forms].filter(([, form]) => bytes.includes(form)).map(([name]) => name);
}

/** `<file>: <form>` for everything found below a folder. A file that goes meanwhile is gone. */
export function findInFolder(folder: string, forms: ReadonlyMap<string, Buffer>): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    try {
      for (const form of formsIn(readFileSync(path), forms)) found.push(`${path}: ${form}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return found;
}

const chunkBytes = 1 << 20;
/** Most of what is mapped was never touched. */
const untouched = Buffer.alloc(chunkBytes);
/** More than the longest form, so that none is cut in two. */
const overlapBytes = 256;

/** What is mapped readable, and not a device's or the kernel's own: as [from, to). */
function regionsOf(pid: number): (readonly [number, number])[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)$/.exec(line);
      if (match === null || /^\[v|^\/dev\//.test(match[3]!)) return [];
      return [[Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)] as const];
    });
}

/** What one search of a process's memory came to. */
export interface MemorySearch {
  /** Names of the forms that are there. */
  readonly found: readonly string[];
  readonly bytesRead: number;
}

/** Null where the memory of other processes is not ours to read. Connections are served meanwhile. */
export async function findInMemory(
  pid: number,
  forms: ReadonlyMap<string, Buffer>,
): Promise<MemorySearch | null> {
  let memory: number;
  try {
    memory = openSync(`/proc/${pid}/mem`, 'r');
  } catch (error) {
    if (['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
  const found = new Set<string>();
  const chunk = Buffer.alloc(chunkBytes);
  let bytesRead = 0;
  try {
    for (const [from, to] of regionsOf(pid)) {
      await setImmediate();
      for (let at = from; at < to; at += chunkBytes - overlapBytes) {
        const count = readUpTo(memory, chunk, at, Math.min(chunkBytes, to - at));
        bytesRead += count;
        const bytes = chunk.subarray(0, count);
        if (!bytes.equals(untouched.subarray(0, count)))
          for (const form of formsIn(bytes, forms)) found.add(form);
        if (at + chunkBytes >= to) break;
      }
    }
  } finally {
    closeSync(memory);
    // What was found is not left lying about here.
    chunk.fill(0);
  }
  return { found: [...found], bytesRead };
}

/** How much of it was there to be read: a region may go between the map and the reading. */
function readUpTo(file: number, into: Buffer, position: number, length: number): number {
  let count = 0;
  try {
    while (count < length) {
      const read = readSync(file, into, count, length - count, position + count);
      if (read === 0) break;
      count += read;
    }
  } catch (error) {
    if (!['EIO', 'EFAULT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return count;
}
