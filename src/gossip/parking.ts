/** Records that may not enter yet: admitted, say, by a record that is still on its way. */
import type { Record } from './record.ts';

/** First in, first out of its bounds: what waits longest is dropped first, and anti-entropy brings it again. */
export class Parking {
  private readonly maxRecords: number;
  private readonly maxBytes: number;
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

  /** `hash` names the very bytes of the record: parking it twice takes one place. */
  add(hash: string, record: Record): void {
    if (this.parked.has(hash)) return;
    this.parked.set(hash, record);
    this.bytes += record.bytes.length;
    for (const [oldest] of this.parked) {
      if (this.parked.size <= this.maxRecords && this.bytes <= this.maxBytes) return;
      this.remove(oldest);
      this.dropped++;
    }
  }

  has(hash: string): boolean {
    return this.parked.has(hash);
  }

  /** What is parked now; the caller may remove while it walks. */
  entries(): [string, Record][] {
    return [...this.parked];
  }

  remove(hash: string): void {
    const record = this.parked.get(hash);
    if (record === undefined) return;
    this.parked.delete(hash);
    this.bytes -= record.bytes.length;
  }
}
