/**
 * Where what an HTTP/2 peer sends is put together as HTTP/1.1 before an engine is told of it. There is one for
 * all: bytes are made and delivered within one read. What nobody keeps is written over by what comes next.
 */
import { deliverMade, type TransportOwner } from '../transport.ts';

const arenaBytes = 256 * 1024;

class Delivery {
  bytes: Buffer = Buffer.alloc(0);
  /** What was made and not delivered yet is `bytes[start, at)`. */
  start = 0;
  at = 0;

  /** Whether so many bytes fit behind what is there. */
  fits(count: number): boolean {
    return this.at + count <= this.bytes.length;
  }

  /** Makes room for so many bytes; only when it is empty. */
  reserve(count: number): void {
    if (this.fits(count)) return;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(arenaBytes, count));
    this.start = this.at = 0;
  }

  /** Tells `owner` of what there is, which is gone afterwards. */
  deliver(owner: TransportOwner): void {
    const { bytes, start, at } = this;
    if (at === start) return;
    if (deliverMade(owner, bytes, start, at)) this.start = this.at = at;
    else this.at = start;
  }

  /** Drops what there is. */
  drop(): void {
    this.at = this.start;
  }
}

export const delivery = new Delivery();
