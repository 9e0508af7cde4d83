/**
 * Finds damage in a LevelDB table. LevelDB is not asked to verify checksums when it iterates, so a flipped
 * bit in a key would move or hide entries without a word.
 *
 * Format: blocks, each followed by a type (1 byte, 0: not compressed) and a masked CRC-32C over both; the
 * file ends with a footer of 48 bytes: the places of the metaindex and index blocks, filler, and a magic
 * number. The index block names the place of every data block (LevelDB doc/table_format.md).
 */
import { ByteReader, Fault } from '../../core.ts';
import { hasChecksum } from './crc32c.ts';

const footerBytes = 48;
const trailerBytes = 5;
const magic = Buffer.from('57fb808b247547db', 'hex');

interface Place {
  readonly offset: number;
  readonly length: number;
}

/** How many blocks of a table are damaged. A table whose index is damaged counts as one. */
export function damagedTableBlocks(table: Buffer): number {
  if (table.length < footerBytes || !table.subarray(-magic.length).equals(magic)) return 1;
  try {
    const footer = new ByteReader(table.subarray(-footerBytes));
    const metaindex = readPlace(footer);
    const index = readPlace(footer);
    if (!isSound(table, index)) return 1;
    const blocks = [metaindex, ...indexedPlaces(table.subarray(index.offset, index.offset + index.length))];
    return blocks.filter((place) => !isSound(table, place)).length;
  } catch (error) {
    if (error instanceof Fault) return 1;
    throw error;
  }
}

/** LevelDB's varints are LEB128, like ours. */
function readPlace(reader: ByteReader): Place {
  return { offset: reader.varint(), length: reader.varint() };
}

function isSound(table: Buffer, { offset, length }: Place): boolean {
  const end = offset + length;
  if (end + trailerBytes > table.length - footerBytes) return false;
  return hasChecksum(table.subarray(offset, end + 1), table.readUInt32LE(end + 1));
}

/**
 * The values of an index block. Entries are the length of the key part shared with the entry before, the
 * lengths of the key's own part and of the value, and both; then come the restart points and their number.
 */
function indexedPlaces(block: Buffer): Place[] {
  if (block.length < 4) throw new Fault('malformed', 'the index has no restart points');
  const restarts = block.readUInt32LE(block.length - 4);
  const restartBytes = 4 * (restarts + 1);
  if (restartBytes > block.length) throw new Fault('malformed', 'the index is too short');
  const reader = new ByteReader(block.subarray(0, block.length - restartBytes));
  const places: Place[] = [];
  while (reader.remaining > 0) {
    reader.varint();
    const ownKeyBytes = reader.varint();
    const valueBytes = reader.varint();
    reader.raw(ownKeyBytes);
    places.push(readPlace(new ByteReader(reader.raw(valueBytes))));
  }
  return places;
}
