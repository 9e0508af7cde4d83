/**
 * One starling/1 session: many virtual connections over one reliable byte stream. Bytes go in by `receive` and
 * come out by `takeOutput`; it has no socket and no clock. Anything malformed ends the session with a reason.
 */
import { type CloseReason, highWaterBytes } from '../transport.ts';
import type { CarriedProtocol } from '../upstream/upstreams.ts';
import {
  FrameType,
  headerBytes,
  headerProblem,
  lastStreamId,
  maxDataBytes,
  maxStreams,
  OpenCode,
  ResetCode,
} from './frames.ts';
import { Output } from './output.ts';
import { MuxStream } from './stream.ts';

/** What a session tells the one that moves its bytes. */
export interface SessionEvents {
  /** There is output where there was none: take it at the end of this turn. */
  onOutput(): void;
  /** The peer opened a stream: set its owner now. */
  onStream(stream: MuxStream, protocol: CarriedProtocol): void;
  /** The peer takes no further streams. */
  onGoAway(): void;
  /** The peer broke the rules; every stream has failed. Close the connection. */
  onMalformed(problem: string): void;
}

/**
 * Streams that a peer may open before others have their turn: to serve one is a hundred times the work of carrying
 * its frames, and one read may hold thousands.
 */
const opensPerTurn = 32;
/** Answers (pong, reset, window) that may wait to be read by the peer; a peer that asks for more is flooding. */
const maxAnswerBytes = 1024 * 1024;
const longestControlPayload = 8;
const protocols: readonly CarriedProtocol[] = ['http1', 'http2', 'tcp'];

export class Session {
  private readonly isClient: boolean;
  private readonly events: SessionEvents;
  private readonly output = new Output();
  private readonly streams = new Map<number, MuxStream>();
  /** The next number to open with, or the lowest the peer may still open with. */
  private nextStreamId = 1;
  private over = false;
  /** Neither side opens streams any more. */
  private retired = false;
  private hadPressure = false;
  private answerBytes = 0;
  private opensLeft = opensPerTurn;
  private told = false;
  /** All bytes ever received: whoever watches for a dead peer compares. */
  receivedBytes = 0;

  private readonly header = new Uint8Array(headerBytes);
  private headerLength = 0;
  private frameType = 0;
  private frameStream = 0;
  private payloadLeft = 0;
  private readonly control = Buffer.alloc(longestControlPayload);
  private controlLength = 0;

  constructor(isClient: boolean, events: SessionEvents) {
    this.isClient = isClient;
    this.events = events;
  }

  get streamCount(): number {
    return this.streams.size;
  }
  get isOver(): boolean {
    return this.over;
  }
  /** Whether `open` would give a stream. */
  get canOpen(): boolean {
    return (
      this.isClient &&
      !this.over &&
      !this.retired &&
      this.streams.size < maxStreams &&
      this.nextStreamId < lastStreamId
    );
  }
  get backlogBytes(): number {
    return this.output.backlogBytes;
  }

  /** Opens a stream; only when `canOpen`. */
  open(protocol: CarriedProtocol): MuxStream {
    const stream = new MuxStream(this, this.nextStreamId);
    this.nextStreamId += 2;
    this.streams.set(stream.id, stream);
    this.output.header(FrameType.open, 1, stream.id);
    this.output.u8(OpenCode[protocol]);
    this.outputAdded();
    return stream;
  }

  /** Opens and accepts no further streams; those open go on. A server tells its peer. */
  retire(): void {
    if (this.retired || this.over) return;
    this.retired = true;
    if (this.isClient) return;
    this.output.header(FrameType.goAway, 0, 0);
    this.outputAdded();
  }

  get isRetired(): boolean {
    return this.retired;
  }

  /** Asks for a sign of life. */
  ping(): void {
    this.output.header(FrameType.ping, 8, 0);
    this.output.u32(0);
    this.output.u32(0);
    this.outputAdded();
  }

  /** The connection is gone: every stream fails with `reason`. */
  fail(reason: CloseReason): void {
    if (this.over) return;
    this.over = true;
    for (const stream of [...this.streams.values()]) stream.fail(reason);
  }

  /** The next bytes to write, or null; give them back to `written` once they have left. */
  takeOutput(): Buffer | null {
    this.told = false;
    return this.output.take();
  }

  written(bytes: Buffer): void {
    this.output.recycle(bytes);
    // The peer reads, so it does not flood.
    this.answerBytes = 0;
    if (!this.output.isEmpty) return;
    if (!this.hadPressure) return;
    this.hadPressure = false;
    for (const stream of [...this.streams.values()]) stream.sessionDrained();
  }

  private outputAdded(): void {
    if (this.output.backlogBytes > highWaterBytes) this.hadPressure = true;
    if (this.told) return;
    this.told = true;
    this.events.onOutput();
  }

  sendData(streamId: number, bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const count = Math.min(end - at, maxDataBytes);
      this.output.header(FrameType.data, count, streamId);
      this.output.bytes(bytes, at, at + count);
      at += count;
    }
    this.outputAdded();
  }

  sendFinish(streamId: number): void {
    this.output.header(FrameType.finish, 0, streamId);
    this.outputAdded();
  }

  sendReset(streamId: number, code: number): void {
    if (this.over) return;
    this.answer(headerBytes + 1);
    this.output.header(FrameType.reset, 1, streamId);
    this.output.u8(code);
    this.outputAdded();
  }

  sendWindow(streamId: number, count: number): void {
    if (this.over) return;
    this.answer(headerBytes + 4);
    this.output.header(FrameType.window, 4, streamId);
    this.output.u32(count);
    this.outputAdded();
  }

  private answer(bytes: number): void {
    this.answerBytes += bytes;
  }

  forget(stream: MuxStream): void {
    this.streams.delete(stream.id);
  }

  /**
   * Takes bytes in any division. Streams are told of their data as it comes, without a copy. Returns how far it
   * came; what is left is to be given again after `beginTurn`, in a later turn of the event loop.
   */
  receive(bytes: Buffer, from = 0): number {
    let at = from;
    while (at < bytes.length && !this.over && this.opensLeft > 0) {
      if (this.payloadLeft === 0) {
        at = this.readHeader(bytes, at);
        continue;
      }
      const end = at + Math.min(this.payloadLeft, bytes.length - at);
      this.payloadLeft -= end - at;
      if (this.frameType === FrameType.data) this.check(this.dataCame(bytes, at, end));
      else this.controlCame(bytes, at, end);
      at = end;
    }
    this.receivedBytes += at - from;
    if (this.answerBytes > maxAnswerBytes) this.check('flood of frames that ask for answers');
    return this.over ? bytes.length : at;
  }

  /** Others were served. */
  beginTurn(): void {
    this.opensLeft = opensPerTurn;
  }

  private check(problem: string | null): void {
    if (problem === null || this.over) return;
    this.fail('reset');
    this.events.onMalformed(problem);
  }

  private readHeader(bytes: Buffer, from: number): number {
    let at = from;
    let source: Uint8Array = bytes;
    let offset = at;
    if (this.headerLength > 0 || bytes.length - at < headerBytes) {
      while (this.headerLength < headerBytes && at < bytes.length)
        this.header[this.headerLength++] = bytes[at++];
      if (this.headerLength < headerBytes) return at;
      this.headerLength = 0;
      source = this.header;
      offset = 0;
    } else at += headerBytes;
    this.startFrame(
      source[offset],
      (source[offset + 1] << 16) | (source[offset + 2] << 8) | source[offset + 3],
      ((source[offset + 4] << 24) |
        (source[offset + 5] << 16) |
        (source[offset + 6] << 8) |
        source[offset + 7]) >>>
        0,
    );
    return at;
  }

  private startFrame(type: number, length: number, streamId: number): void {
    const problem = headerProblem(type, length, streamId);
    if (problem !== null) {
      this.check(problem);
      return;
    }
    this.frameType = type;
    this.frameStream = streamId;
    this.payloadLeft = length;
    this.controlLength = 0;
    if (streamId !== 0 && type !== FrameType.open && streamId >= this.nextStreamId)
      this.check(`frame type ${type} on stream ${streamId}, which was never opened`);
    else if (length === 0) this.check(this.controlFrame());
  }

  /** Frames for a stream that is over on this side are late, not wrong. */
  private dataCame(bytes: Buffer, start: number, end: number): string | null {
    return this.streams.get(this.frameStream)?.receiveData(bytes, start, end) ?? null;
  }

  private controlCame(bytes: Buffer, start: number, end: number): void {
    this.controlLength += bytes.copy(this.control, this.controlLength, start, end);
    if (this.payloadLeft === 0) this.check(this.controlFrame());
  }

  private controlFrame(): string | null {
    const stream = this.streams.get(this.frameStream);
    switch (this.frameType) {
      case FrameType.open:
        return this.openCame(this.frameStream, this.control[0]);
      case FrameType.finish:
        return stream?.receiveFinish() ?? null;
      case FrameType.reset:
        return stream?.receiveReset(this.control[0]) ?? null;
      case FrameType.window:
        return stream?.receiveCredit(this.control.readUInt32BE(0)) ?? null;
      case FrameType.ping:
        this.answer(headerBytes + 8);
        this.output.header(FrameType.pong, 8, 0);
        this.output.bytes(this.control, 0, 8);
        this.outputAdded();
        return null;
      case FrameType.goAway:
        if (!this.isClient) return 'go-away from a client';
        if (!this.retired) {
          this.retired = true;
          this.events.onGoAway();
        }
        return null;
      default:
        return null;
    }
  }

  private openCame(streamId: number, code: number): string | null {
    if (this.isClient) return 'stream opened by the server';
    if (streamId < this.nextStreamId) return `stream ${streamId} opened twice`;
    const protocol = protocols.find((name) => OpenCode[name] === code);
    if (protocol === undefined) return `open code ${code}`;
    this.nextStreamId = streamId + 2;
    this.opensLeft--;
    if (this.retired || this.streams.size >= maxStreams) {
      this.sendReset(streamId, ResetCode.refused);
      return null;
    }
    const stream = new MuxStream(this, streamId);
    this.streams.set(streamId, stream);
    this.events.onStream(stream, protocol);
    return null;
  }
}
