/** What goes out on one connection: messages, as far as the peer takes them. */
import type { LinesBlock } from './blocks.ts';
import { trailerBlock } from './blocks.ts';
import type { FrameWriter } from './frame-writer.ts';
import { defaultWindowBytes, maxFrameBytes, maxWindow } from './frames.ts';
import { Encoder } from './hpack/encoder.ts';
import { type Budget, idleFramesPerData } from './limits.ts';
import { SectionLines } from './lines.ts';
import type { StreamTransport } from './stream.ts';

/** Data in pieces smaller than this is what a client asks for that opens its window by the byte. */
const drippedBytes = 1024;

const queuedLines = new SectionLines();

export class Outlet {
  readonly encoder = new Encoder();
  /** Bytes the peer still takes, of all streams together. */
  credit = defaultWindowBytes;
  /** What a stream may send before the peer has said more. */
  initialCredit = defaultWindowBytes;
  private readonly writer: FrameWriter;
  /** Data that is sent has the peer answer with frames of its own; what it asked for in drips does not pay for them. */
  private readonly idleFrames: Budget;
  private isPumping = false;
  /** Streams that wait for credit, the longest first. */
  private readonly blocked = new Set<StreamTransport>();

  constructor(writer: FrameWriter, idleFrames: Budget) {
    this.writer = writer;
    this.idleFrames = idleFrames;
  }

  /** The peer takes more; false where that is more than there can be. */
  addCredit(count: number): boolean {
    this.credit += count;
    return this.credit <= maxWindow;
  }

  /** The stream waits for credit. */
  block(stream: StreamTransport): void {
    this.blocked.add(stream);
  }
  forget(stream: StreamTransport): void {
    this.blocked.delete(stream);
  }

  /** One stream has credit again. */
  pump(stream: StreamTransport): void {
    this.isPumping = true;
    if (!stream.pump()) this.blocked.delete(stream);
    this.isPumping = false;
  }
  /** There is credit again: streams take turns. */
  pumpAll(): void {
    for (const stream of [...this.blocked]) this.pump(stream);
  }

  data(streamId: number, bytes: Buffer, start: number, end: number, isLast: boolean): void {
    this.credit -= end - start;
    let at = start;
    do {
      const stop = Math.min(end, at + maxFrameBytes);
      this.writer.data(streamId, bytes, at, stop, isLast && stop === end);
      if (!this.isPumping || stop - at >= drippedBytes) this.idleFrames.earn(idleFramesPerData);
      at = stop;
    } while (at < end);
  }

  /** The lines are of the head `bytes[start, end)`. */
  head(
    streamId: number,
    endStream: boolean,
    block: LinesBlock,
    bytes: Buffer,
    start: number,
    end: number,
    lines: SectionLines,
  ): void {
    block.set(bytes, start, lines, this.encoder);
    this.writer.headers(streamId, endStream, block.atMost(end), block);
  }

  /** Trailers end their stream. Their lines are read anew where they waited in between. */
  trailers(streamId: number, bytes: Buffer, start: number, end: number, known: SectionLines | null): void {
    const lines = known ?? queuedLines;
    if (known === null) lines.readFields(bytes, start, end);
    this.head(streamId, true, trailerBlock, bytes, start, end, lines);
  }
}
