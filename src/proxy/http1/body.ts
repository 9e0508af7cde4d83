/** Follows one message body, whatever frames it, so that its end is known and its bytes go through untouched. */
import { ChunkedTracker } from './chunked.ts';
import type { BodyKind } from './fields.ts';

/** The body is not framed as its head said. */
export const bodyMalformed = -1;

/** Reused for body after body. */
export class BodyTracker {
  private kind: BodyKind = 'none';
  private remaining = 0;
  private readonly chunked = new ChunkedTracker();
  /** Whether its last byte has been seen. A body that lasts until close never is: its connection tells. */
  done = true;

  get untilClose(): boolean {
    return this.kind === 'until-close';
  }

  /** What the trailers said of a gRPC call; -1 where they said nothing. */
  get grpcStatus(): number {
    return this.kind === 'chunked' ? this.chunked.grpcStatus : -1;
  }

  start(kind: BodyKind, contentLength: number): void {
    this.kind = kind;
    this.remaining = contentLength;
    this.done = kind === 'none';
    if (kind === 'chunked') this.chunked.reset();
  }

  /**
   * Returns the offset one past what belongs to the body within `bytes[at, end)`, or `bodyMalformed`. `data` is for
   * where the data of a chunked body lies, as pairs of offsets.
   */
  feed(bytes: Uint8Array, at: number, end: number, data: number[] | null = null): number {
    switch (this.kind) {
      case 'none':
        return at;
      case 'until-close':
        return end;
      case 'length': {
        const count = Math.min(this.remaining, end - at);
        this.remaining -= count;
        this.done = this.remaining === 0;
        return at + count;
      }
      case 'chunked': {
        const stop = this.chunked.feed(bytes, at, end, data);
        this.done = this.chunked.done;
        return stop;
      }
    }
  }
}
