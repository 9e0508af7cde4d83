/** What the gossip room keeps in the store: `record/<slot>` -> record, `floor/<author>` -> version. */
import { ByteReader, ByteWriter, Fault, type HostId, isHex } from '../core.ts';
import { decodeRecord } from './codec.ts';
import type { StoreOp } from './port.ts';
import { type Record, slotOf } from './record.ts';

const recordPrefix = 'record/';
const floorPrefix = 'floor/';

export type Stored =
  | { readonly type: 'record'; readonly record: Record }
  | { readonly type: 'floor'; readonly author: HostId; readonly version: number };

/** The key under which the record in a slot is stored. */
export function recordKey(slot: string): string {
  return recordPrefix + slot;
}

export function recordOp(record: Record): StoreOp {
  return { type: 'put', key: recordKey(slotOf(record)), value: record.bytes };
}

/** Erases collected tombstones; their authors' floors, written with them, outlive a restart. */
export function eraseOps(slots: readonly string[], floors: ReadonlyMap<HostId, number>): StoreOp[] {
  const ops: StoreOp[] = slots.map((slot) => ({ type: 'delete', key: recordKey(slot) }));
  for (const [author, version] of floors)
    ops.push({ type: 'put', key: floorPrefix + author, value: new ByteWriter().varint(version).done() });
  return ops;
}

/** Null for an entry that is not what its key says. */
export function readStored(key: string, value: Uint8Array): Stored | null {
  try {
    if (key.startsWith(recordPrefix)) {
      const record = decodeRecord(value);
      return key === recordKey(slotOf(record)) ? { type: 'record', record } : null;
    }
    const author = key.slice(floorPrefix.length);
    if (!key.startsWith(floorPrefix) || !isHex(author, 32)) return null;
    const reader = new ByteReader(value);
    const version = reader.varint();
    reader.end();
    return { type: 'floor', author, version };
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
