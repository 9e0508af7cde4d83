/**
 * Takes the bytes of a connection apart into frames, in any division. DATA is passed on as it comes; header blocks
 * are put together first. Whatever the rules forbid ends the reading, with the code that names it.
 */
import {
  ErrorCode,
  Flag,
  FrameType,
  frameHeaderBytes,
  headerProblem,
  preface,
  type Violation,
  violation,
} from './frames.ts';
import { maxBlockBytes } from './hpack/decoder.ts';

/** CONTINUATION frames of one block: enough for the longest block in frames of 4 KiB. */
const maxContinuations = 16;

const answerOfHttp1 = Buffer.from('HTTP/');

/** Told of what was read. A returned violation ends the connection. */
export interface FrameHandler {
  /** A DATA frame begins; `length` is what counts for flow control. */
  dataBegins(streamId: number, length: number): Violation | null;
  data(streamId: number, bytes: Buffer, start: number, end: number): Violation | null;
  /** The DATA frame is complete; `padding` bytes of it were not data. */
  dataEnds(streamId: number, padding: number, isEmpty: boolean, endStream: boolean): Violation | null;
  headers(streamId: number, endStream: boolean, bytes: Buffer, start: number, end: number): Violation | null;
  settings(bytes: Buffer, start: number, end: number): Violation | null;
  settingsAck(): void;
  ping(bytes: Buffer, at: number): Violation | null;
  pingAck(bytes: Buffer, at: number): void;
  goAway(lastStreamId: number, code: number): void;
  windowUpdate(streamId: number, increment: number): Violation | null;
  reset(streamId: number, code: number): Violation | null;
  /** A frame without meaning here: PRIORITY, or of a type that is not known. */
  ignored(): Violation | null;
  /** The peer broke the rules. Told once; nothing is read after it. */
  broken(problem: Violation): void;
}

export class FrameReader {
  private readonly handler: FrameHandler;
  private over = false;
  private suspended = false;
  private prefaceAt: number;
  private sawSettings = false;
  /** Of a frame whose header comes in pieces. */
  private header: Buffer | null = null;
  private headerLength = 0;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  /** Of a DATA frame: what is still to come of its data and of its padding. */
  private inData = false;
  private padLengthComes = false;
  private dataLeft = 0;
  private padLeft = 0;
  private padding = 0;
  private hadData = false;
  /** Of any other frame whose payload comes in pieces. */
  private payload: Buffer | null = null;
  private payloadLength = 0;
  /** A header block whose end has not come. */
  private block: Buffer | null = null;
  private blockStreamId = 0;
  private blockEndsStream = false;
  private continuations = 0;
  /** Frames that have begun, of which all of a header block count as one. */
  begun = 0;

  constructor(handler: FrameHandler, isServer: boolean) {
    this.handler = handler;
    this.prefaceAt = isServer ? 0 : preface.length;
  }

  /** Whether a frame or a head is under way, which must not take forever; data may. */
  get isWithinFrame(): boolean {
    return this.headerLength > 0 || this.payload !== null || this.block !== null;
  }
  /** Whether the peer has shown that it speaks HTTP/2. */
  get isOpen(): boolean {
    return this.sawSettings;
  }

  /** Reads nothing more, though there may be more of what was given: until the next `read`. */
  suspend(): void {
    this.suspended = true;
  }

  stop(): void {
    this.over = true;
    this.payload = null;
    this.block = null;
  }

  /** Returns how far it came, which is to the end unless it was suspended on the way. */
  read(bytes: Buffer, start: number, end: number): number {
    let at = start;
    this.suspended = false;
    while (at < end && !this.over && !this.suspended) {
      if (this.prefaceAt < preface.length) at = this.readPreface(bytes, at, end);
      else if (this.inData) at = this.readData(bytes, at, end);
      else if (this.payload !== null) at = this.readPayload(this.payload, bytes, at, end);
      else at = this.readHeader(bytes, at, end);
    }
    return this.over ? end : at;
  }

  private check(problem: Violation | null): void {
    if (problem === null || this.over) return;
    this.stop();
    this.handler.broken(problem);
  }

  private readPreface(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (at < end && this.prefaceAt < preface.length)
      if (bytes[at++] !== preface[this.prefaceAt++]) {
        this.check(violation(ErrorCode.protocolError, 'not the preface of HTTP/2'));
        return end;
      }
    return at;
  }

  private readHeader(bytes: Buffer, from: number, end: number): number {
    if (this.headerLength === 0 && this.block === null) this.begun++;
    if (this.headerLength === 0 && end - from >= frameHeaderBytes) {
      const payloadAt = from + frameHeaderBytes;
      return this.startFrame(bytes, from, bytes, payloadAt, end);
    }
    const count = Math.min(frameHeaderBytes - this.headerLength, end - from);
    this.header ??= Buffer.alloc(frameHeaderBytes);
    bytes.copy(this.header, this.headerLength, from, from + count);
    this.headerLength += count;
    if (this.headerLength < frameHeaderBytes) return end;
    this.headerLength = 0;
    return this.startFrame(this.header, 0, bytes, from + count, end);
  }

  /** Returns how far `bytes` from `at` were used. */
  private startFrame(header: Buffer, headerAt: number, bytes: Buffer, at: number, end: number): number {
    const length = (header[headerAt] << 16) | (header[headerAt + 1] << 8) | header[headerAt + 2];
    this.type = header[headerAt + 3];
    this.flags = header[headerAt + 4];
    this.streamId = header.readUInt32BE(headerAt + 5) & 0x7fffffff;
    const problem =
      this.versionProblem(header, headerAt) ??
      headerProblem(this.type, this.flags, length, this.streamId) ??
      this.orderProblem();
    if (problem !== null) {
      this.check(problem);
      return end;
    }
    if (this.type === FrameType.data) {
      this.startData(length);
      return at;
    }
    if (end - at >= length) {
      this.check(this.frame(bytes, at, at + length));
      return at + length;
    }
    this.payload = Buffer.allocUnsafe(length);
    this.payloadLength = 0;
    return at;
  }

  /** An application that does not speak HTTP/2 mostly says so in HTTP/1.1; operators want to know. */
  private versionProblem(header: Buffer, at: number): Violation | null {
    if (this.sawSettings || header.compare(answerOfHttp1, 0, 5, at, at + 5) !== 0) return null;
    return violation(ErrorCode.protocolError, 'speaks HTTP/1.1, not HTTP/2');
  }

  private orderProblem(): Violation | null {
    if (!this.sawSettings) {
      if (this.type !== FrameType.settings || (this.flags & Flag.ack) !== 0)
        return violation(ErrorCode.protocolError, `frame type ${this.type} before SETTINGS`);
      this.sawSettings = true;
    }
    const continues = this.type === FrameType.continuation;
    if (this.block === null)
      return continues ? violation(ErrorCode.protocolError, 'CONTINUATION without HEADERS') : null;
    if (continues && this.streamId === this.blockStreamId) return null;
    return violation(ErrorCode.protocolError, `frame type ${this.type} within a header block`);
  }

  private startData(length: number): void {
    this.inData = true;
    this.padLengthComes = (this.flags & Flag.padded) !== 0;
    this.dataLeft = length;
    this.padLeft = this.padding = 0;
    this.hadData = false;
    this.check(this.handler.dataBegins(this.streamId, length));
    if (length === 0) this.endData();
  }

  private readData(bytes: Buffer, from: number, end: number): number {
    let at = from;
    if (this.padLengthComes) {
      this.padLengthComes = false;
      this.dataLeft--;
      this.padLeft = bytes[at++];
      this.padding = this.padLeft + 1;
      this.dataLeft -= this.padLeft;
      if (this.dataLeft < 0) {
        this.check(violation(ErrorCode.protocolError, 'more padding than payload'));
        return end;
      }
    }
    const dataEnd = at + Math.min(this.dataLeft, end - at);
    if (dataEnd > at) {
      this.dataLeft -= dataEnd - at;
      this.hadData = true;
      this.check(this.handler.data(this.streamId, bytes, at, dataEnd));
    }
    const padEnd = dataEnd + Math.min(this.padLeft, end - dataEnd);
    this.padLeft -= padEnd - dataEnd;
    if (this.dataLeft === 0 && this.padLeft === 0) this.endData();
    return padEnd;
  }

  private endData(): void {
    this.inData = false;
    if (this.over) return;
    const endStream = (this.flags & Flag.endStream) !== 0;
    this.check(this.handler.dataEnds(this.streamId, this.padding, !this.hadData, endStream));
  }

  private readPayload(payload: Buffer, bytes: Buffer, at: number, end: number): number {
    const count = Math.min(payload.length - this.payloadLength, end - at);
    bytes.copy(payload, this.payloadLength, at, at + count);
    this.payloadLength += count;
    if (this.payloadLength === payload.length) {
      this.payload = null;
      this.check(this.frame(payload, 0, payload.length));
    }
    return at + count;
  }

  /** A complete frame that is not DATA. */
  private frame(bytes: Buffer, start: number, end: number): Violation | null {
    const { handler, streamId } = this;
    const isAck = (this.flags & Flag.ack) !== 0;
    switch (this.type) {
      case FrameType.headers:
        return this.headersFrame(bytes, start, end);
      case FrameType.continuation:
        return this.continuation(bytes, start, end);
      case FrameType.reset:
        return handler.reset(streamId, bytes.readUInt32BE(start));
      case FrameType.settings:
        if (!isAck) return handler.settings(bytes, start, end);
        handler.settingsAck();
        return null;
      case FrameType.ping:
        if (!isAck) return handler.ping(bytes, start);
        handler.pingAck(bytes, start);
        return null;
      case FrameType.goAway:
        handler.goAway(bytes.readUInt32BE(start) & 0x7fffffff, bytes.readUInt32BE(start + 4));
        return null;
      case FrameType.windowUpdate:
        return handler.windowUpdate(streamId, bytes.readUInt32BE(start) & 0x7fffffff);
      case FrameType.pushPromise:
        return violation(ErrorCode.protocolError, 'PUSH_PROMISE, which nobody allowed');
      default:
        return handler.ignored();
    }
  }

  private headersFrame(bytes: Buffer, from: number, to: number): Violation | null {
    let start = from;
    let end = to;
    const isPadded = (this.flags & Flag.padded) !== 0;
    if (isPadded && start < end) end -= bytes[start++];
    else if (isPadded) end = start - 1;
    // Five bytes of priority, which no longer means anything (RFC 9113 section 5.3).
    if ((this.flags & Flag.priority) !== 0) start += 5;
    if (start > end) return violation(ErrorCode.protocolError, 'HEADERS with more padding than payload');
    const endStream = (this.flags & Flag.endStream) !== 0;
    if ((this.flags & Flag.endHeaders) !== 0)
      return this.handler.headers(this.streamId, endStream, bytes, start, end);
    this.block = Buffer.from(bytes.subarray(start, end));
    this.blockStreamId = this.streamId;
    this.blockEndsStream = endStream;
    this.continuations = 0;
    return null;
  }

  private continuation(bytes: Buffer, start: number, end: number): Violation | null {
    const begun = this.block!;
    if (++this.continuations > maxContinuations || begun.length + end - start > maxBlockBytes)
      return violation(ErrorCode.enhanceYourCalm, 'header block too long');
    const block = Buffer.concat([begun, bytes.subarray(start, end)]);
    if ((this.flags & Flag.endHeaders) === 0) {
      this.block = block;
      return null;
    }
    this.block = null;
    return this.handler.headers(this.streamId, this.blockEndsStream, block, 0, block.length);
  }
}
