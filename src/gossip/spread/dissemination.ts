/**
 * Own writes on their way out. One after a rest is published at once; those that follow it closely are collected
 * for a few tens of milliseconds and published as one delta, because each publication costs every agent of the
 * mesh about as much as all the records in it.
 */
import { ByteReader, ByteWriter, Fault, type Millis, type Random } from '../../core.ts';
import { maxRecordsPerFrame } from '../frames.ts';
import type { GossipParameters } from '../parameters.ts';
import { maxRecordBytes } from '../replica/codec.ts';
import { type Record, slotOf } from '../replica/record.ts';

/** The largest delta taken in: a full batch plus one record of the largest size. */
export const maxDeltaBytes: number = 64 * 1024;
const deltaFormat = 1;

export function encodeDelta(records: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter().u8(deltaFormat).varint(records.length);
  for (const bytes of records) writer.bytes(bytes);
  return writer.done();
}

/** The records of a delta, still undecoded: one bad record spoils no other. `Fault('malformed')`. */
export function decodeDelta(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length > maxDeltaBytes)
    throw new Fault('malformed', `delta has ${bytes.length} bytes, at most ${maxDeltaBytes}`);
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== deltaFormat) throw new Fault('unknown-format', `delta format ${format} is not known`);
  const count = reader.varint(maxRecordsPerFrame);
  const records: Uint8Array[] = [];
  for (let i = 0; i < count; i++) records.push(reader.bytes(maxRecordBytes));
  reader.end();
  return records;
}

type BatchParameters = Pick<GossipParameters, 'minBatchMs' | 'maxBatchMs' | 'batchBytes'>;

/** Holds at most one batch: what would overfill it makes it leave first. */
export class Dissemination {
  private readonly parameters: BatchParameters;
  private readonly random: Random;
  private readonly publish: (delta: Uint8Array) => void;
  /** By slot: of two writes to one slot within a batch, only the later is worth telling. */
  private readonly batch = new Map<string, Record>();
  private batchedBytes = 0;
  private dueAt: Millis | null = null;
  /** No batch but a full one leaves before. */
  private restUntil: Millis = Number.NEGATIVE_INFINITY;

  constructor(parameters: BatchParameters, random: Random, publish: (delta: Uint8Array) => void) {
    this.parameters = parameters;
    this.random = random;
    this.publish = publish;
  }

  nextWake(): Millis | null {
    return this.dueAt;
  }

  /**
   * Takes a record that is durable here into the batch. After a rest that is due at once, though only with the next
   * `wake`, so that records of one write travel together; else within `maxBatchMs` of the batch before.
   */
  add(record: Record, now: Millis): void {
    const slot = slotOf(record);
    const former = this.batch.get(slot);
    if (former !== undefined) {
      this.batch.delete(slot);
      this.batchedBytes -= former.text.length;
    }
    const full =
      this.batchedBytes + record.text.length > this.parameters.batchBytes ||
      this.batch.size >= maxRecordsPerFrame;
    if (full) this.flush(now);
    this.batch.set(slot, record);
    this.batchedBytes += record.text.length;
    this.dueAt ??= Math.max(now, this.restUntil);
  }

  /** Publishes what there is, now. */
  flush(now: Millis): void {
    this.dueAt = null;
    if (this.batch.size === 0) return;
    const { minBatchMs, maxBatchMs } = this.parameters;
    this.restUntil = now + minBatchMs + this.random.next() * (maxBatchMs - minBatchMs);
    this.publish(encodeDelta([...this.batch.values()].map((record) => record.bytes)));
    this.batch.clear();
    this.batchedBytes = 0;
  }

  wake(now: Millis): void {
    if (this.dueAt !== null && this.dueAt <= now) this.flush(now);
  }
}
