/**
 * Reads a LevelDB table. LevelDB is not asked to verify checksums when it iterates, so a flipped bit in a key
 * would move or hide entries without a word.
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

export interface TableEntry {
  /** With LevelDB's eight bytes of sequence number and kind at its end. */
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface TableContents {
  /** The data blocks that are sound. */
  readonly blocks: readonly Buffer[];
  /** How many blocks are damaged; a table whose index is damaged counts as one. */
  readonly damaged: number;
}

export function readTable(table: Buffer): TableContents {
  const unreadable = { blocks: [], damaged: 1 };
  if (table.length < footerBytes || !table.subarray(-magic.length).equals(magic)) return unreadable;
  try {
    const footer = new ByteReader(table.subarray(-footerBytes));
    const metaindex = readPlace(footer);
    const index = readPlace(footer);
    if (!isSound(table, index)) return unreadable;
    const places: Place[] = [];
    for (const { value } of blockEntries(blockAt(table, index)))
      places.push(readPlace(new ByteReader(value)));
    const sound = places.filter((place) => isSound(table, place));
    const damaged = places.length - sound.length + (isSound(table, metaindex) ? 0 : 1);
    return { blocks: sound.map((place) => blockAt(table, place)), damaged };
  } catch (error) {
    if (error instanceof Fault) return unreadable;
    throw error;
  }
}

/** LevelDB's varints are LEB128, like ours. */
function readPlace(reader: ByteReader): Place {
  return { offset: reader.varint(), length: reader.varint() };
}

function blockAt(table: Buffer, { offset, length }: Place): Buffer {
  return table.subarray(offset, offset + length);
}

function isSound(table: Buffer, { offset, length }: Place): boolean {
  const end = offset + length;
  if (end + trailerBytes > table.length - footerBytes) return false;
  return hasChecksum(table.subarray(offset, end + 1), table.readUInt32LE(end + 1));
}

/**
 * The entries of a block. Each is the length of the key part shared with the entry before, the lengths of the
 * key's own part and of the value, and both; behind them come the restart points and their number.
 * `Fault('malformed')`.
 */
export function* blockEntries(block: Buffer): Generator<TableEntry> {
  if (block.length < 4) throw new Fault('malformed', 'a block has no restart points');
  const restartBytes = 4 * (block.readUInt32LE(block.length - 4) + 1);
  if (restartBytes > block.length) throw new Fault('malformed', 'a block is too short');
  const reader = new ByteReader(block.subarray(0, block.length - restartBytes));
  let key: Buffer = Buffer.alloc(0);
  while (reader.remaining > 0) {
    const sharedBytes = reader.varint(key.length);
    const ownBytes = reader.varint();
    const valueBytes = reader.varint();
    key = Buffer.concat([key.subarray(0, sharedBytes), reader.raw(ownBytes)]);
    yield { key, value: Buffer.from(reader.raw(valueBytes)) };
  }
}
