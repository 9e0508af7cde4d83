/** Records that may not enter yet: admitted, say, by a record that is still on its way. */
import type { Record } from './record.ts';

/** First in, first out of its bounds: what waits longest is dropped first, and anti-entropy brings it again. */
export class Parking {
  private readonly maxRecords: number;
  private readonly maxBytes: number;
  /** By their very bytes. */
  private readonly parked = new Map<string, Record>();
  private bytes = 0;
  /** Records dropped for want of room. */
  dropped = 0;

  constructor(maxRecords: number, maxBytes: number) {
    this.maxRecords = maxRecords;
    this.maxBytes = maxBytes;
  }

  get size(): number {
    return this.parked.size;
  }

  /** Parking the very same record twice takes one place. */
  add(record: Record): void {
    if (this.has(record)) return;
    this.parked.set(record.text, record);
    this.bytes += record.text.length;
    for (const oldest of this.parked.values()) {
      if (this.parked.size <= this.maxRecords && this.bytes <= this.maxBytes) return;
      this.remove(oldest);
      this.dropped++;
    }
  }

  has(record: Record): boolean {
    return this.parked.has(record.text);
  }

  /** What is parked now; the caller may remove while it walks. */
  entries(): Record[] {
    return [...this.parked.values()];
  }

  remove(record: Record): void {
    if (this.parked.delete(record.text)) this.bytes -= record.text.length;
  }
}
