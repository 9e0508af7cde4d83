/**
 * What a session has to send, gathered so that all frames of one turn of the event loop leave in one write,
 * and hence in as few TLS records as they fit in.
 */
import { headerBytes } from './frames.ts';

const batchBytes = 64 * 1024;

/**
 * Batches that were written and wait to be filled again, for all sessions: a new one each time would have the
 * garbage collector run all day. Beyond this many they are let go.
 */
const maxSpareBatches = 64;
const spareBatches: Buffer[] = [];

export class Output {
  /** None while there is nothing to send: most sessions are idle most of the time. */
  private batch: Buffer | null = null;
  private length = 0;
  private readonly full: Buffer[] = [];
  /** Bytes behind the batch that goes out next: what makes writers wait. */
  backlogBytes = 0;

  get isEmpty(): boolean {
    return this.length === 0 && this.full.length === 0;
  }

  /** Appends a frame header; the caller appends exactly `length` bytes after it. */
  header(type: number, length: number, streamId: number): void {
    if (this.length + headerBytes + length > batchBytes) this.startBatch();
    this.batch ??= spareBatches.pop() ?? Buffer.allocUnsafeSlow(batchBytes);
    const batch = this.batch;
    const at = this.length;
    batch[at] = type;
    batch[at + 1] = length >>> 16;
    batch[at + 2] = length >>> 8;
    batch[at + 3] = length;
    batch[at + 4] = streamId >>> 24;
    batch[at + 5] = streamId >>> 16;
    batch[at + 6] = streamId >>> 8;
    batch[at + 7] = streamId;
    this.length = at + headerBytes;
  }

  bytes(source: Buffer, start: number, end: number): void {
    this.length += source.copy(this.batch!, this.length, start, end);
  }

  u8(value: number): void {
    this.batch![this.length++] = value;
  }

  u32(value: number): void {
    this.length = this.batch!.writeUInt32BE(value, this.length);
  }

  /** The next bytes to write, or null. They are the caller's until it gives them to `recycle`. */
  take(): Buffer | null {
    const oldest = this.full.shift();
    if (oldest !== undefined) {
      this.backlogBytes -= oldest.length;
      return oldest;
    }
    if (this.length === 0) return null;
    return this.takeBatch();
  }

  /** Takes back bytes that have been written, to be filled again. */
  recycle(written: Buffer): void {
    if (spareBatches.length < maxSpareBatches) spareBatches.push(Buffer.from(written.buffer, 0, batchBytes));
  }

  private startBatch(): void {
    this.backlogBytes += this.length;
    this.full.push(this.takeBatch());
  }

  private takeBatch(): Buffer {
    const taken = this.batch!.subarray(0, this.length);
    this.batch = null;
    this.length = 0;
    return taken;
  }
}
