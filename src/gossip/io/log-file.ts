/**
 * Reads a LevelDB log: the write-ahead log, and the manifest, which has the same format. LevelDB drops what has
 * a bad checksum on recovery without a word, and with it writes that were acknowledged; and it takes a record
 * whose length was changed for the last one, so that all behind it is gone.
 *
 * Format: blocks of 32 KiB; in each, fragments of a masked CRC-32C (4 bytes, little-endian), a length
 * (2 bytes), a type (1 byte) and data; a tail of fewer than 7 bytes is filler. A record is one fragment of
 * type 1, or one of type 2, any number of type 3 and one of type 4 (LevelDB doc/log_format.md).
 */
import { hasChecksum } from './crc32c.ts';

const blockBytes = 32 * 1024;
const headerBytes = 7;
const whole = 1;
const first = 2;
const last = 4;

export interface LogContents {
  /** Every record of which all fragments are sound, in order. */
  readonly records: readonly Buffer[];
  /** How many stretches are damaged. What a crash in the middle of a write leaves at the end is not counted. */
  readonly damaged: number;
}

interface Fragment {
  readonly type: number;
  readonly data: Buffer;
}

export function readLog(log: Buffer): LogContents {
  const records: Buffer[] = [];
  let damaged = 0;
  let parts: Buffer[] | null = null;
  for (const fragment of fragmentsOf(log)) {
    if (fragment === null) {
      damaged += 1;
      parts = null;
    } else if (fragment.type === whole) {
      records.push(fragment.data);
      parts = null;
    } else if (fragment.type === first) parts = [fragment.data];
    else if (parts !== null) {
      parts.push(fragment.data);
      if (fragment.type === last) {
        records.push(Buffer.concat(parts));
        parts = null;
      }
    }
  }
  return { records, damaged };
}

/** The fragments in order; null for each damaged stretch between them. */
function* fragmentsOf(log: Buffer): Generator<Fragment | null> {
  for (let start = 0; start < log.length; start += blockBytes) {
    const block = log.subarray(start, start + blockBytes);
    const isLast = start + blockBytes >= log.length;
    let offset = 0;
    while (block.length - offset >= headerBytes) {
      // Space that was never written to: a file system may leave it behind a crash, at the very end only.
      if (isZero(log.subarray(start + offset))) return;
      const fragment = fragmentAt(block, offset);
      if (fragment !== null) {
        yield fragment;
        offset += headerBytes + fragment.data.length;
        continue;
      }
      const next = nextFragment(block, offset + 1);
      if (next === null && isLast && isCutShort(block, offset)) return;
      yield null;
      offset = next ?? block.length;
    }
  }
}

/** The fragment that begins at `offset`; null when none does, or not a whole one. */
function fragmentAt(block: Buffer, offset: number): Fragment | null {
  if (block.length - offset < headerBytes) return null;
  const end = offset + headerBytes + block.readUInt16LE(offset + 4);
  const type = block[offset + 6]!;
  if (end > block.length || type < whole || type > last) return null;
  if (!hasChecksum(block.subarray(offset + 6, end), block.readUInt32LE(offset))) return null;
  return { type, data: block.subarray(offset + headerBytes, end) };
}

/** Where the next sound fragment begins; null when there is none in the block. */
function nextFragment(block: Buffer, from: number): number | null {
  for (let offset = from; block.length - offset >= headerBytes; offset++)
    if (fragmentAt(block, offset) !== null) return offset;
  return null;
}

/**
 * Whether the file ends in the middle of the fragment at `offset`. A length alone that says so is not believed:
 * with the checksum of what is there, the length is what is wrong.
 */
function isCutShort(block: Buffer, offset: number): boolean {
  const end = offset + headerBytes + block.readUInt16LE(offset + 4);
  return end > block.length && !hasChecksum(block.subarray(offset + 6), block.readUInt32LE(offset));
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.every((byte) => byte === 0);
}
