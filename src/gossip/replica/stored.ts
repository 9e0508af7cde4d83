/**
 * What the gossip room keeps in the store: `record/<slot>` -> the winner, `history/<slot>` -> older versions
 * of policy, newest first, `floor/<author>` -> version, `dead-floor/<author>` -> version.
 */
import { ByteReader, ByteWriter, Fault, type HostId, isHex } from '../../core.ts';
import type { StoreOp } from '../port.ts';
import { decodeRecord, maxRecordBytes } from './codec.ts';
import { type Record, slotOf } from './record.ts';
import { type Collected, maxOlderVersions, type Replica } from './replica.ts';

const recordPrefix = 'record/';
const historyPrefix = 'history/';
const floorPrefix = 'floor/';
const deadFloorPrefix = 'dead-floor/';

export type Stored =
  | { readonly type: 'record'; readonly record: Record }
  /** Older versions of one slot, newest first. */
  | { readonly type: 'history'; readonly records: readonly Record[] }
  | { readonly type: 'floor' | 'dead-floor'; readonly author: HostId; readonly version: number };

/** The key under which the record in a slot is stored. */
export function recordKey(slot: string): string {
  return recordPrefix + slot;
}

export function recordOp(record: Record): StoreOp {
  return { type: 'put', key: recordKey(slotOf(record)), value: record.bytes };
}

/** What the store holds of the record's slot once the record was joined, before the join and after it alike. */
export function recordOps(record: Record, replica: Replica): StoreOp[] {
  const [winner, ...older] = replica.versionsWith(record);
  if (older.length === 0) return [recordOp(winner!)];
  const writer = new ByteWriter().varint(older.length);
  for (const version of older) writer.bytes(version.bytes);
  return [recordOp(winner!), { type: 'put', key: historyPrefix + slotOf(record), value: writer.done() }];
}

/** Erases what was collected; its authors' floors, written with it, outlive a restart. */
export function eraseOps({ records, floors, deadFloors }: Collected): StoreOp[] {
  const ops: StoreOp[] = records.flatMap((record): StoreOp[] => {
    const slot = slotOf(record);
    const erased: StoreOp = { type: 'delete', key: recordKey(slot) };
    return record.scope === 'host' ? [erased] : [erased, { type: 'delete', key: historyPrefix + slot }];
  });
  for (const [author, version] of floors) ops.push(floorOp(floorPrefix, author, version));
  for (const [author, version] of deadFloors) ops.push(floorOp(deadFloorPrefix, author, version));
  return ops;
}

function floorOp(prefix: string, author: HostId, version: number): StoreOp {
  return { type: 'put', key: prefix + author, value: new ByteWriter().varint(version).done() };
}

/** Null for an entry that is not what its key says. */
export function readStored(key: string, value: Uint8Array): Stored | null {
  try {
    if (key.startsWith(recordPrefix)) {
      const record = decodeRecord(value);
      return key === recordKey(slotOf(record)) ? { type: 'record', record } : null;
    }
    if (key.startsWith(historyPrefix)) {
      const records = readHistory(value);
      const slot = key.slice(historyPrefix.length);
      return records.every((record) => slotOf(record) === slot) ? { type: 'history', records } : null;
    }
    if (key.startsWith(floorPrefix)) return readFloor('floor', key.slice(floorPrefix.length), value);
    if (key.startsWith(deadFloorPrefix))
      return readFloor('dead-floor', key.slice(deadFloorPrefix.length), value);
    return null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

function readFloor(type: 'floor' | 'dead-floor', author: string, value: Uint8Array): Stored | null {
  if (!isHex(author, 32)) return null;
  const reader = new ByteReader(value);
  const version = reader.varint();
  reader.end();
  return { type, author, version };
}

function readHistory(value: Uint8Array): Record[] {
  const reader = new ByteReader(value);
  const count = reader.varint(maxOlderVersions);
  const versions: Record[] = [];
  for (let i = 0; i < count; i++) versions.push(decodeRecord(reader.bytes(maxRecordBytes)));
  reader.end();
  return versions;
}
