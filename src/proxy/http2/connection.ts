/**
 * What both sides of an HTTP/2 connection have in common (RFC 9113): frames, flow control, settings, limits. It
 * knows no sockets: bytes come from a transport and go to it.
 */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { type CloseReason, nobody, type Transport, type TransportOwner } from '../transport.ts';
import { delivery } from './delivery.ts';
import { type FrameHandler, FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { ErrorCode, maxFrameBytes, maxWindow, Setting, type Violation, violation } from './frames.ts';
import { Decoder } from './hpack/decoder.ts';
import { Intake } from './intake.ts';
import {
  Budget,
  idleFrameBurst,
  idleFramesPerData,
  idleFramesPerRequest,
  idleFramesPerSecond,
  maxSettings,
  resetBurst,
  resetsPerSecond,
} from './limits.ts';
import { Outlet } from './outlet.ts';
import { headRoomBytes } from './request-builder.ts';
import type { StreamTransport } from './stream.ts';
import { TrailerBuilder } from './trailer-builder.ts';

/** Streams that were reset from here, whose peer may not know yet: what comes for them is late, not wrong. */
const maxRememberedResets = 128;
const settingBytes = 6;
/** What frames a piece of data as a chunk takes: its size, two line ends, and perhaps the last chunk. */
const chunkRoomBytes = 32;
const lastChunk = Buffer.from('0\r\n\r\n');

const trailers = new TrailerBuilder();

export abstract class Http2Connection implements TransportOwner, FrameHandler, Timed {
  readonly transport: Transport;
  readonly writer: FrameWriter;
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  readonly context: EngineContext;
  protected readonly decoder = new Decoder();
  protected readonly reader: FrameReader;
  /** Those under way. Null where the message is complete and only the end of its stream is still to come. */
  protected readonly streams = new Map<number, StreamTransport | null>();
  protected over = false;
  protected readonly resets = new Budget(resetBurst, resetsPerSecond);
  private readonly idleFrames = new Budget(idleFrameBurst, idleFramesPerSecond);
  private readonly ownResets = new Set<number>();
  readonly intake: Intake;
  readonly outlet: Outlet;
  /** Of the DATA frame under way; null where its data is dropped. */
  private dataStream: StreamTransport | null = null;

  constructor(transport: Transport, context: EngineContext, isServer: boolean) {
    this.transport = transport;
    this.context = context;
    this.writer = new FrameWriter(transport);
    this.reader = new FrameReader(this, isServer);
    this.intake = new Intake(this.writer);
    this.outlet = new Outlet(this.writer, this.idleFrames);
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

  onData(bytes: Buffer, start: number, end: number): void {
    this.take(bytes, start, end);
  }

  /** Returns how far it came: see `FrameReader.read`. */
  protected take(bytes: Buffer, start: number, end: number): number {
    const at = this.reader.read(bytes, start, end);
    this.intake.deliver();
    return at;
  }

  // Frames that come

  dataBegins(streamId: number, length: number): Violation | null {
    this.dataStream = null;
    this.intake.arrives(length);
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
    if (stream === null) return null;
    if (stream.incoming !== 'chunked' && count > stream.incomingLeft) {
      this.dataStream = null;
      return this.breakStream(stream, ErrorCode.protocolError);
    }
    if (!this.intake.prepare(stream, count + chunkRoomBytes)) {
      this.dataStream = null;
      return null;
    }
    this.intake.count(count);
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
      if (!this.intake.prepare(stream, chunkRoomBytes)) return null;
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
    const isGone = !this.intake.prepare(stream, headRoomBytes);
    const mark = delivery.at;
    if (!this.readTrailers(bytes, start, end)) return this.compressionError();
    const isWrong = trailers.problem !== '' || !endStream || stream.remoteEnded || stream.incomingLeft > 0;
    if (isGone || isWrong || stream.incoming !== 'chunked') delivery.at = mark;
    if (isGone) return null;
    if (stream.remoteEnded) return this.breakStream(stream, ErrorCode.streamClosed);
    if (isWrong) return this.breakStream(stream, ErrorCode.protocolError);
    stream.endRemote();
    return null;
  }

  /** A header block for nobody: it is read, because the next one builds on it. */
  protected skipHeaders(bytes: Buffer, start: number, end: number): Violation | null {
    this.intake.prepare(null, headRoomBytes);
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
    if (end - start > maxSettings * settingBytes)
      return violation(ErrorCode.enhanceYourCalm, 'too many settings at once');
    for (let at = start; at < end; at += settingBytes) {
      const problem = this.setting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
      if (problem !== null) return problem;
    }
    this.writer.settingsAck();
    this.outlet.pumpAll();
    return this.spendIdleFrame();
  }

  private setting(setting: number, value: number): Violation | null {
    switch (setting) {
      case Setting.headerTableSize:
        this.outlet.encoder.setLimit(value);
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
    const change = value - this.outlet.initialCredit;
    this.outlet.initialCredit = value;
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
      if (!this.outlet.addCredit(increment))
        return violation(ErrorCode.flowControlError, 'window beyond its limit');
      this.outlet.pumpAll();
      return this.spendIdleFrame();
    }
    if (this.isIdle(streamId))
      return violation(ErrorCode.protocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    const stream = this.streams.get(streamId);
    if (stream === undefined || stream === null) return this.spendIdleFrame();
    if (increment === 0) return this.breakStream(stream, ErrorCode.protocolError);
    if (!stream.addCredit(increment)) return this.breakStream(stream, ErrorCode.flowControlError);
    this.outlet.pump(stream);
    return this.spendIdleFrame();
  }

  reset(streamId: number, code: number): Violation | null {
    if (this.isIdle(streamId))
      return violation(ErrorCode.protocolError, `RST_STREAM on idle stream ${streamId}`);
    // What came before it counts.
    this.intake.deliver();
    const stream = this.streams.get(streamId);
    if (stream === null) this.settle(streamId, true);
    else if (stream !== undefined) stream.resetByPeer(code);
    return this.spendReset();
  }

  ignored(): Violation | null {
    return this.spendIdleFrame();
  }

  /** A request was begun, by either side. */
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
    this.intake.deliver();
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

  /** Ends everything; what was written still leaves. `problem` says what the peer did wrong, if it did. */
  protected end(reason: CloseReason, problem: string | null): void {
    if (this.over) return;
    this.finishOver(reason, problem);
    this.transport.close(problem !== null);
  }

  private finishOver(reason: CloseReason, problem: string | null): void {
    this.over = true;
    this.reader.stop();
    this.context.deadlines.remove(this);
    this.transport.owner = nobody;
    this.intake.close();
    for (const stream of [...this.streams.values()]) stream?.fail(reason);
    this.streams.clear();
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
    this.outlet.forget(stream);
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
    this.intake.deliver();
    if (this.over || this.streams.size > 0) return;
    this.writer.rest();
    this.onUnused();
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
