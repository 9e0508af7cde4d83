/**
 * What both sides of an HTTP/2 connection have in common (RFC 9113): frames, flow control, settings, limits. It
 * knows no sockets: bytes come from a transport and go to it.
 */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { type CloseReason, nobody, type Transport, type TransportOwner } from '../transport.ts';
import { type LinesBlock, trailerBlock } from './blocks.ts';
import { delivery } from './delivery.ts';
import { type FrameHandler, FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import {
  defaultWindowBytes,
  ErrorCode,
  maxFrameBytes,
  maxWindow,
  Setting,
  type Violation,
  violation,
} from './frames.ts';
import { Decoder } from './hpack/decoder.ts';
import { Encoder } from './hpack/encoder.ts';
import {
  Budget,
  connectionWindowBytes,
  idleFrameBurst,
  idleFramesPerData,
  idleFramesPerRequest,
  idleFramesPerSecond,
  resetBurst,
  resetsPerSecond,
} from './limits.ts';
import { SectionLines } from './lines.ts';
import { headRoomBytes } from './request-builder.ts';
import type { StreamTransport } from './stream.ts';
import { TrailerBuilder } from './trailer-builder.ts';

/** Streams that were reset from here, whose peer may not know yet: what comes for them is late, not wrong. */
const maxRememberedResets = 128;
/** What frames a piece of data as a chunk takes: its size, two line ends, and perhaps the last chunk. */
const chunkRoomBytes = 32;
const lastChunk = Buffer.from('0\r\n\r\n');

const trailers = new TrailerBuilder();
const queuedLines = new SectionLines();

export abstract class Http2Connection implements TransportOwner, FrameHandler, Timed {
  readonly transport: Transport;
  readonly writer: FrameWriter;
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  /** Bytes the peer still takes, of all streams together. */
  credit = defaultWindowBytes;
  protected readonly context: EngineContext;
  protected readonly decoder = new Decoder();
  protected readonly encoder = new Encoder();
  protected readonly reader: FrameReader;
  /** Those under way. Null where the message is complete and only the end of its stream is still to come. */
  protected readonly streams = new Map<number, StreamTransport | null>();
  protected over = false;
  protected peerInitialWindow = defaultWindowBytes;
  protected readonly resets = new Budget(resetBurst, resetsPerSecond);
  private readonly idleFrames = new Budget(idleFrameBurst, idleFramesPerSecond);
  private readonly ownResets = new Set<number>();
  private readonly blocked = new Set<StreamTransport>();
  /** Bytes the peer may still send, and those that were taken and not given back. */
  private allowance = connectionWindowBytes;
  private unreturned = 0;
  /** Whom what is in `delivery` is for, and how much of it counts for flow control. */
  private current: StreamTransport | null = null;
  private currentId = 0;
  private charge = 0;
  /** Of the DATA frame under way; null where its data is dropped. */
  private dataStream: StreamTransport | null = null;

  constructor(transport: Transport, context: EngineContext, isServer: boolean) {
    this.transport = transport;
    this.context = context;
    this.writer = new FrameWriter(transport);
    this.reader = new FrameReader(this, isServer);
    transport.owner = this;
    context.deadlines.add(this);
  }

  /** The highest stream that the peer opened, for GOAWAY. */
  protected abstract readonly lastPeerStreamId: number;
  /** Whether a stream of this number was never opened. */
  protected abstract isIdle(streamId: number): boolean;
  abstract headers(
    streamId: number,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): Violation | null;
  abstract goAway(lastStreamId: number, code: number): void;
  abstract pingAck(bytes: Buffer, at: number): void;
  abstract onFinish(): void;
  abstract onDeadline(now: Millis): void;
  protected abstract concurrencySetting(value: number): void;
  /** The last stream has ended. */
  protected abstract onUnused(): void;
  /** Nothing can be done with it any more; `problem` says what the peer did wrong, if it did. */
  protected abstract onOver(problem: string | null): void;

  get streamCount(): number {
    return this.streams.size;
  }
  get isOver(): boolean {
    return this.over;
  }

  /** What is announced at once: how much the peer may send. */
  protected openWindow(): void {
    this.writer.windowUpdate(0, connectionWindowBytes - defaultWindowBytes);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.reader.read(bytes, start, end);
    this.deliver();
  }

  /** Tells the engine what was put together for it. */
  protected deliver(): void {
    const stream = this.current;
    if (stream === null) return;
    const { charge, currentId } = this;
    this.current = null;
    this.charge = 0;
    delivery.deliver(stream.owner);
    if (charge === 0 || this.over) return;
    if (stream.streamId === currentId) stream.delivered(charge);
    else this.taken(charge);
  }

  /** Makes room for so many bytes to be delivered to the stream, behind what there is for it already. */
  protected prepare(stream: StreamTransport | null, room: number): void {
    if (
      stream !== null &&
      this.current === stream &&
      this.currentId === stream.streamId &&
      delivery.fits(room)
    )
      return;
    this.deliver();
    delivery.reserve(room);
    this.current = stream;
    this.currentId = stream === null ? 0 : stream.streamId;
  }

  /** What is in `delivery`, made before it was known for whom, is for this stream. */
  protected deliverNext(stream: StreamTransport): void {
    this.current = stream;
    this.currentId = stream.streamId;
  }

  // Frames that come

  dataBegins(streamId: number, length: number): Violation | null {
    this.dataStream = null;
    if (length > this.allowance) return violation(ErrorCode.flowControlError, 'more data than was allowed');
    this.allowance -= length;
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.strayData(streamId);
    if (stream === null) return null;
    if (stream.remoteEnded) return this.breakStream(stream, ErrorCode.streamClosed);
    if (length > stream.allowance) return this.breakStream(stream, ErrorCode.flowControlError);
    stream.allowance -= length;
    this.dataStream = stream;
    return null;
  }

  private strayData(streamId: number): Violation | null {
    if (this.isIdle(streamId)) return violation(ErrorCode.protocolError, `DATA on idle stream ${streamId}`);
    if (this.ownResets.has(streamId)) return null;
    this.resetStream(streamId, ErrorCode.streamClosed);
    return this.spendReset();
  }

  data(_streamId: number, bytes: Buffer, start: number, end: number): Violation | null {
    const count = end - start;
    const stream = this.dataStream;
    if (stream === null) {
      this.taken(count);
      return null;
    }
    if (stream.incoming !== 'chunked' && count > stream.incomingLeft) {
      this.dataStream = null;
      this.taken(count);
      return this.breakStream(stream, ErrorCode.protocolError);
    }
    const id = stream.streamId;
    this.prepare(stream, count + chunkRoomBytes);
    // What was delivered just now may have made the engine give up the rest.
    if (stream.streamId !== id) {
      this.current = null;
      this.dataStream = null;
      this.taken(count);
      return null;
    }
    this.charge += count;
    if (stream.incoming === 'chunked') putChunk(bytes, start, end);
    else {
      stream.incomingLeft -= count;
      delivery.at += bytes.copy(delivery.bytes, delivery.at, start, end);
    }
    return null;
  }

  dataEnds(streamId: number, padding: number, isEmpty: boolean, endStream: boolean): Violation | null {
    if (!isEmpty) this.idleFrames.earn(idleFramesPerData);
    const stream = this.dataStream;
    this.dataStream = null;
    if (padding > 0 && stream !== null) stream.delivered(padding);
    else if (padding > 0) this.taken(padding);
    if (isEmpty && !endStream) return this.spendIdleFrame();
    if (endStream && stream !== null) return this.endOfStream(stream);
    // Only its end was still to come.
    if (this.streams.get(streamId) === null) this.settle(streamId, isEmpty && endStream);
    return null;
  }

  /** A stream whose message was complete has ended, or goes on against its own word. */
  protected settle(streamId: number, inOrder: boolean): void {
    this.streams.delete(streamId);
    if (!inOrder) this.resetStream(streamId, ErrorCode.protocolError);
    if (this.streams.size === 0) this.unused();
  }

  protected endOfStream(stream: StreamTransport): Violation | null {
    if (stream.incoming === 'length' && stream.incomingLeft > 0)
      return this.breakStream(stream, ErrorCode.protocolError);
    if (stream.incoming === 'chunked') {
      const id = stream.streamId;
      this.prepare(stream, chunkRoomBytes);
      if (stream.streamId !== id) return null;
      delivery.at += lastChunk.copy(delivery.bytes, delivery.at);
    }
    stream.endRemote();
    return null;
  }

  /** The trailers of a stream whose head has come. */
  protected trailersCame(
    stream: StreamTransport,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): Violation | null {
    const id = stream.streamId;
    this.prepare(stream, headRoomBytes);
    const mark = delivery.at;
    if (!this.readTrailers(bytes, start, end)) return this.compressionError();
    const isGone = stream.streamId !== id;
    const isWrong = trailers.problem !== '' || !endStream || stream.remoteEnded || stream.incomingLeft > 0;
    if (isGone || isWrong || stream.incoming !== 'chunked') delivery.at = mark;
    if (isGone) {
      this.current = null;
      return null;
    }
    if (stream.remoteEnded) return this.breakStream(stream, ErrorCode.streamClosed);
    if (isWrong) return this.breakStream(stream, ErrorCode.protocolError);
    stream.endRemote();
    return null;
  }

  /** A header block for nobody: it is read, because the next one builds on it. */
  protected skipHeaders(bytes: Buffer, start: number, end: number): Violation | null {
    this.prepare(null, headRoomBytes);
    const mark = delivery.at;
    const isRead = this.readTrailers(bytes, start, end);
    delivery.at = mark;
    return isRead ? this.spendReset() : this.compressionError();
  }

  private readTrailers(bytes: Buffer, start: number, end: number): boolean {
    trailers.start();
    const isRead = this.decoder.decode(bytes, start, end, trailers);
    trailers.finish();
    return isRead;
  }

  protected compressionError(): Violation {
    return violation(ErrorCode.compressionError, this.decoder.problem);
  }

  settings(bytes: Buffer, start: number, end: number): Violation | null {
    for (let at = start; at < end; at += 6) {
      const problem = this.setting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
      if (problem !== null) return problem;
    }
    this.writer.settingsAck();
    this.pumpBlocked();
    return this.spendIdleFrame();
  }

  private setting(setting: number, value: number): Violation | null {
    switch (setting) {
      case Setting.headerTableSize:
        this.encoder.setLimit(value);
        return null;
      case Setting.enablePush:
        return value > 1 ? violation(ErrorCode.protocolError, `ENABLE_PUSH of ${value}`) : null;
      case Setting.maxConcurrentStreams:
        this.concurrencySetting(value);
        return null;
      case Setting.initialWindowSize:
        return this.initialWindowSetting(value);
      case Setting.maxFrameSize:
        return value < maxFrameBytes || value > 0xffffff
          ? violation(ErrorCode.protocolError, `MAX_FRAME_SIZE of ${value}`)
          : null;
      default:
        return null;
    }
  }

  private initialWindowSetting(value: number): Violation | null {
    if (value > maxWindow) return violation(ErrorCode.flowControlError, `INITIAL_WINDOW_SIZE of ${value}`);
    const change = value - this.peerInitialWindow;
    this.peerInitialWindow = value;
    for (const stream of this.streams.values())
      if (stream !== null && !stream.addCredit(change))
        return violation(ErrorCode.flowControlError, 'window beyond its limit');
    return null;
  }

  settingsAck(): void {}

  ping(bytes: Buffer, at: number): Violation | null {
    this.writer.ping(bytes, at, true);
    return this.spendIdleFrame();
  }

  windowUpdate(streamId: number, increment: number): Violation | null {
    if (streamId === 0) {
      if (increment === 0) return violation(ErrorCode.protocolError, 'WINDOW_UPDATE of 0');
      this.credit += increment;
      if (this.credit > maxWindow) return violation(ErrorCode.flowControlError, 'window beyond its limit');
      this.pumpBlocked();
      return this.spendIdleFrame();
    }
    if (this.isIdle(streamId))
      return violation(ErrorCode.protocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    const stream = this.streams.get(streamId);
    if (stream === undefined || stream === null) return this.spendIdleFrame();
    if (increment === 0) return this.breakStream(stream, ErrorCode.protocolError);
    if (!stream.addCredit(increment)) return this.breakStream(stream, ErrorCode.flowControlError);
    if (!stream.pump()) this.blocked.delete(stream);
    return this.spendIdleFrame();
  }

  reset(streamId: number, code: number): Violation | null {
    if (this.isIdle(streamId))
      return violation(ErrorCode.protocolError, `RST_STREAM on idle stream ${streamId}`);
    // What came before it counts.
    this.deliver();
    const stream = this.streams.get(streamId);
    if (stream === null) this.settle(streamId, true);
    else if (stream !== undefined) stream.resetByPeer(code);
    return this.spendReset();
  }

  ignored(): Violation | null {
    return this.spendIdleFrame();
  }

  protected earnRequest(): void {
    this.idleFrames.earn(idleFramesPerRequest);
  }

  private spendIdleFrame(): Violation | null {
    return this.idleFrames.spend(this.context)
      ? null
      : violation(ErrorCode.enhanceYourCalm, 'too many frames that carry nothing');
  }

  protected spendReset(): Violation | null {
    return this.resets.spend(this.context)
      ? null
      : violation(ErrorCode.enhanceYourCalm, 'too many streams broken off');
  }

  /** The peer broke the rules on one stream: that one ends. */
  protected breakStream(stream: StreamTransport, code: ErrorCode): Violation | null {
    this.deliver();
    const id = stream.streamId;
    if (this.streams.get(id) === stream) {
      this.resetStream(id, code);
      stream.fail('reset');
    }
    return this.spendReset();
  }

  /** The peer broke the rules of the connection: it is told so, and everything ends. */
  broken({ code, problem }: Violation): void {
    if (this.over) return;
    this.writer.goAway(this.lastPeerStreamId, code);
    this.end('reset', problem);
  }

  /** Ends everything; what was written still leaves. */
  protected end(reason: CloseReason, problem: string | null): void {
    if (this.over) return;
    this.finishOver(reason, problem);
    this.transport.close();
  }

  private finishOver(reason: CloseReason, problem: string | null): void {
    this.over = true;
    this.reader.stop();
    this.context.deadlines.remove(this);
    this.transport.owner = nobody;
    // What was put together and not told is told to nobody.
    if (this.current !== null) delivery.drop();
    this.current = null;
    for (const stream of [...this.streams.values()]) stream?.fail(reason);
    this.streams.clear();
    this.blocked.clear();
    this.writer.rest();
    this.onOver(problem);
  }

  /** Breaks the connection, whatever it is doing. */
  abort(): void {
    if (this.over) return;
    this.finishOver('reset', null);
    this.transport.destroy();
  }

  onClose(reason: CloseReason): void {
    if (!this.over) this.finishOver(reason === 'ended' ? 'reset' : reason, null);
  }

  onDrain(): void {
    for (const stream of [...this.streams.values()]) stream?.connectionDrained();
  }

  // What streams ask for

  forget(streamId: number, stream: StreamTransport): void {
    this.blocked.delete(stream);
    if (this.dataStream === stream) this.dataStream = null;
    if (this.streams.get(streamId) === stream) this.streams.delete(streamId);
    if (this.streams.size === 0) this.unused();
  }

  /** The message of a stream is complete, but not the stream: its end is dropped when it comes. */
  awaitEnd(streamId: number): void {
    if (!this.over) this.streams.set(streamId, null);
  }

  private unused(): void {
    // The last of what came is told before the connection may go.
    this.deliver();
    if (this.over || this.streams.size > 0) return;
    this.writer.rest();
    this.onUnused();
  }

  block(stream: StreamTransport): void {
    this.blocked.add(stream);
  }

  private pumpBlocked(): void {
    for (const stream of [...this.blocked]) {
      if (this.over) return;
      if (!stream.pump()) this.blocked.delete(stream);
    }
  }

  resetStream(streamId: number, code: ErrorCode): void {
    if (this.over) return;
    if (this.ownResets.size >= maxRememberedResets)
      for (const oldest of this.ownResets) {
        this.ownResets.delete(oldest);
        break;
      }
    this.ownResets.add(streamId);
    this.writer.reset(streamId, code);
  }

  /** Whether what comes for a stream that is over may have been sent before its peer knew. */
  protected wasReset(streamId: number): boolean {
    return this.ownResets.has(streamId);
  }

  /** So many bytes were taken, or dropped: the peer may send as many more. */
  taken(count: number): void {
    this.unreturned += count;
    if (this.unreturned < connectionWindowBytes / 2 || this.over) return;
    this.writer.windowUpdate(0, this.unreturned);
    this.allowance += this.unreturned;
    this.unreturned = 0;
  }

  sendData(streamId: number, bytes: Buffer, start: number, end: number, isLast: boolean): void {
    this.credit -= end - start;
    let at = start;
    do {
      const stop = Math.min(end, at + maxFrameBytes);
      this.writer.data(streamId, bytes, at, stop, isLast && stop === end);
      this.idleFrames.earn(idleFramesPerData);
      at = stop;
    } while (at < end);
  }

  sendHead(
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

  sendTrailers(
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
    known: SectionLines | null,
  ): void {
    const lines = known ?? queuedLines;
    if (known === null) lines.readFields(bytes, start, end);
    const block = trailerBlock.set(bytes, start, lines, this.encoder);
    this.writer.headers(streamId, true, block.atMost(end), block);
  }
}

/** Data as one chunk, behind what is there to be delivered. */
function putChunk(bytes: Buffer, start: number, end: number): void {
  const output = delivery.bytes;
  let at = delivery.at;
  const count = end - start;
  for (let shift = Math.max(0, (31 - Math.clz32(count)) & ~3); shift >= 0; shift -= 4)
    output[at++] = hexDigits[(count >>> shift) & 15];
  output[at++] = 0x0d;
  output[at++] = 0x0a;
  at += bytes.copy(output, at, start, end);
  output[at++] = 0x0d;
  output[at++] = 0x0a;
  delivery.at = at;
}

const hexDigits = Buffer.from('0123456789abcdef');
