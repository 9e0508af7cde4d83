/**
 * Finds damage in a LevelDB log: the write-ahead log, and the manifest, which has the same format. LevelDB
 * drops a block with a bad checksum on recovery without a word, and with it writes that were acknowledged.
 *
 * Format: blocks of 32 KiB; in each, records of a masked CRC-32C (4 bytes, little-endian), a length
 * (2 bytes), a type (1 byte) and data; a tail of fewer than 7 bytes is filler (LevelDB doc/log_format.md).
 */
import { hasChecksum } from './crc32c.ts';

const blockBytes = 32 * 1024;
const headerBytes = 7;

/**
 * How many blocks of a log are damaged. A record that the end of the file cuts short is what a crash in the
 * middle of a write leaves, and not counted.
 */
export function damagedLogBlocks(log: Buffer): number {
  let damaged = 0;
  for (let start = 0; start < log.length; start += blockBytes)
    if (!isSound(log.subarray(start, start + blockBytes), start + blockBytes >= log.length)) damaged += 1;
  return damaged;
}

function isSound(block: Buffer, isLast: boolean): boolean {
  let offset = 0;
  while (block.length - offset >= headerBytes) {
    const length = block.readUInt16LE(offset + 4);
    const type = block[offset + 6]!;
    // Space that was reserved and never written.
    if (type === 0 && length === 0 && block.readUInt32LE(offset) === 0) return true;
    const end = offset + headerBytes + length;
    if (end > block.length) return isLast;
    if (!hasChecksum(block.subarray(offset + 6, end), block.readUInt32LE(offset))) return false;
    offset = end;
  }
  return true;
}
