/**
 * Reads a LevelDB manifest: which tables and logs a database consists of. Other files of these kinds are
 * leftovers that LevelDB removes, whole or not.
 *
 * Format: a log whose records are version edits, each a sequence of tagged fields (LevelDB doc/impl.md,
 * db/version_edit.cc).
 */
import { ByteReader, Fault } from '../../core.ts';

export interface Manifest {
  /** Numbers of the tables. */
  readonly tables: ReadonlySet<number>;
  /** The oldest log whose writes are not in tables yet; later ones are logs too. 0 before the first. */
  readonly logNumber: number;
}

const maxFieldBytes = 64 * 1024;
const sequenceNumberBytes = 8;

/** `Fault('malformed')` for what no LevelDB wrote. */
export function readManifest(edits: readonly Buffer[]): Manifest {
  const tables = new Set<number>();
  let logNumber = 0;
  for (const edit of edits) {
    const reader = new ByteReader(edit);
    while (reader.remaining > 0) {
      const tag = reader.varint();
      if (tag === 1) reader.bytes(maxFieldBytes);
      else if (tag === 2) logNumber = reader.varint();
      else if (tag === 3 || tag === 4 || tag === 9) reader.varint();
      else if (tag === 5) {
        reader.varint();
        reader.bytes(maxFieldBytes);
      } else if (tag === 6) {
        reader.varint();
        tables.delete(reader.varint());
      } else if (tag === 7) tables.add(readNewTable(reader));
      else throw new Fault('malformed', `a version edit has a field of the unknown kind ${tag}`);
    }
  }
  return { tables, logNumber };
}

/** Level, number, size, smallest and largest key. */
function readNewTable(reader: ByteReader): number {
  reader.varint();
  const number = reader.varint();
  reader.varint();
  for (let bound = 0; bound < 2; bound++)
    if (reader.bytes(maxFieldBytes).length < sequenceNumberBytes)
      throw new Fault('malformed', 'a key has no sequence number');
  return number;
}
