/** Takes the HTTP/1.1 message apart that an engine writes: its head, the data of its body, its trailers. */
import { carriageReturn, hexValue, lineFeed } from '../http1/bytes.ts';
import type { BodyKind } from '../http1/fields.ts';
import { keepReceived } from '../transport.ts';
import { incompleteSection, malformedSection, SectionLines } from './lines.ts';

/** What follows a head: `head` is another one, after an informational answer. */
export type Following = BodyKind | 'head';

/** Told of the parts of a message in order. */
export interface MessageSink {
  /** `lines` are of this head, which is `bytes[start, end)`. Null: it is none that can be sent. */
  head(bytes: Buffer, start: number, end: number, lines: SectionLines): Following | null;
  /** How many bytes the body has, after `head` said `length`. */
  readonly bodyBytes: number;
  /** Data of the body. `isLast` says that the message ends with it; it may be empty then. */
  body(bytes: Buffer, start: number, end: number, isLast: boolean): void;
  /** The message ends with these. */
  trailers(bytes: Buffer, start: number, end: number, lines: SectionLines): void;
}

const lines = new SectionLines();

const Chunk = { size: 0, extension: 1, data: 2, afterData: 3, trailers: 4 } as const;

export class MessageReader {
  private readonly sink: MessageSink;
  private following: Following = 'head';
  private hasEnded = false;
  private begun = false;
  /** Of a body with a length. */
  private left = 0;
  private chunk: number = Chunk.size;
  private chunkLeft = 0;
  /** The beginning of a head or of trailers that is not complete. */
  private held: Buffer | null = null;

  constructor(sink: MessageSink) {
    this.sink = sink;
  }

  /** Whether all of the message has been written. */
  get isDone(): boolean {
    return this.hasEnded;
  }
  /** Whether anything of it has been written. */
  get hasBegun(): boolean {
    return this.begun;
  }
  /** Whether it ends only with the connection. */
  get isUntilClose(): boolean {
    return this.following === 'until-close' && !this.hasEnded;
  }

  /** A new message is to come. */
  start(): void {
    this.following = 'head';
    this.hasEnded = false;
    this.begun = false;
    this.held = null;
  }

  /** Where the message lasts until close: it ends here. */
  end(): void {
    this.hasEnded = true;
    this.sink.body(nothing, 0, 0, true);
  }

  /** False for what is no message. What is written behind its end is dropped. */
  feed(chunk: Buffer, from: number, to: number): boolean {
    this.begun = true;
    let bytes = chunk;
    let at = from;
    let end = to;
    if (this.held !== null) {
      bytes = Buffer.concat([this.held, chunk.subarray(from, to)]);
      this.held = null;
      at = 0;
      end = bytes.length;
    }
    while (at < end && !this.hasEnded) {
      const next = this.part(bytes, at, end);
      if (next === malformedSection) return false;
      if (next === incompleteSection) {
        keepReceived();
        this.held = bytes.subarray(at, end);
        return true;
      }
      at = next;
    }
    return true;
  }

  private part(bytes: Buffer, at: number, end: number): number {
    switch (this.following) {
      case 'head':
        return this.head(bytes, at, end);
      case 'length':
        return this.lengthBody(bytes, at, end);
      case 'chunked':
        return this.chunk === Chunk.trailers ? this.trailers(bytes, at, end) : this.chunks(bytes, at, end);
      default:
        this.sink.body(bytes, at, end, false);
        return end;
    }
  }

  private head(bytes: Buffer, at: number, end: number): number {
    const headEnd = lines.readHead(bytes, at, end);
    if (headEnd <= 0) return headEnd;
    const following = this.sink.head(bytes, at, headEnd, lines);
    if (following === null) return malformedSection;
    this.following = following;
    this.hasEnded = following === 'none';
    this.left = following === 'length' ? this.sink.bodyBytes : 0;
    this.chunk = Chunk.size;
    this.chunkLeft = 0;
    return headEnd;
  }

  private lengthBody(bytes: Buffer, at: number, end: number): number {
    const bodyEnd = at + Math.min(this.left, end - at);
    this.left -= bodyEnd - at;
    this.hasEnded = this.left === 0;
    this.sink.body(bytes, at, bodyEnd, this.hasEnded);
    return bodyEnd;
  }

  /**
   * Chunks up to the last one. The data of each is passed on with the next, so that what turns out to be the
   * end of the message can be told with it.
   */
  private chunks(bytes: Buffer, from: number, end: number): number {
    let dataStart = from;
    let dataEnd = from;
    let at = from;
    while (at < end) {
      if (this.chunk === Chunk.data) {
        if (dataEnd > dataStart) this.sink.body(bytes, dataStart, dataEnd, false);
        dataStart = at;
        dataEnd = at + Math.min(this.chunkLeft, end - at);
        this.chunkLeft -= dataEnd - at;
        at = dataEnd;
        if (this.chunkLeft === 0) this.chunk = Chunk.afterData;
      } else if (!this.chunkByte(bytes[at++])) return malformedSection;
      if (this.chunk !== Chunk.trailers) continue;
      if (at + 1 < end && bytes[at] === carriageReturn && bytes[at + 1] === lineFeed) {
        this.hasEnded = true;
        this.sink.body(bytes, dataStart, dataEnd, true);
        return at + 2;
      }
      break;
    }
    if (dataEnd > dataStart) this.sink.body(bytes, dataStart, dataEnd, false);
    return at;
  }

  private chunkByte(byte: number): boolean {
    const digit = hexValue[byte];
    if (this.chunk === Chunk.afterData) {
      if (byte === lineFeed) this.chunk = Chunk.size;
      return byte === lineFeed || byte === carriageReturn;
    }
    if (byte === lineFeed) this.chunk = this.chunkLeft === 0 ? Chunk.trailers : Chunk.data;
    else if (this.chunk === Chunk.size && digit >= 0) this.chunkLeft = this.chunkLeft * 16 + digit;
    else this.chunk = Chunk.extension;
    return this.chunkLeft <= Number.MAX_SAFE_INTEGER;
  }

  private trailers(bytes: Buffer, at: number, end: number): number {
    const trailersEnd = lines.readFields(bytes, at, end);
    if (trailersEnd <= 0) return trailersEnd;
    this.hasEnded = true;
    if (lines.count === 0) this.sink.body(bytes, at, at, true);
    else this.sink.trailers(bytes, at, trailersEnd, lines);
    return trailersEnd;
  }
}

const nothing = Buffer.alloc(0);
