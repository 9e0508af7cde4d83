/**
 * The connection of an HTTP/2 client. Each of its streams is given to an HTTP/1.1 engine as a connection with one
 * request, so that everything the engine does to requests is done to these as well.
 */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { type EngineContext, headReadMs, idleDownstreamMs } from '../engine.ts';
import type { Transport } from '../transport.ts';
import { responseBlock } from './blocks.ts';
import { Http2Connection } from './connection.ts';
import { delivery } from './delivery.ts';
import { ErrorCode, maxStreamId, Setting, type Violation, violation } from './frames.ts';
import {
  maxConcurrentStreams,
  maxHeaderListBytes,
  maxUnreadBytes,
  resetsPerTurn,
  streamWindowBytes,
} from './limits.ts';
import { SectionLines } from './lines.ts';
import { headRoomBytes, RequestBuilder } from './request-builder.ts';
import { ServerStream } from './server-stream.ts';

/** How long a client may take to learn that it is to open no more streams, before that is enforced. */
const drainGraceMs = 1000;
/** In the PING that asks whether it has. */
const drainMark = Buffer.from('draining');

const request = new RequestBuilder();
const tooLongLines = new SectionLines();
const tooLong = Buffer.from('HTTP/1.1 431 \r\ncontent-length: 0\r\n\r\n');
tooLongLines.readHead(tooLong, 0, tooLong.length);

export class Http2ServerSession extends Http2Connection {
  lastPeerStreamId = 0;
  private readonly accept: (stream: Transport) => void;
  private readonly whenOver: (session: Http2ServerSession, problem: string | null) => void;
  /** Connections of the engine that wait for a request. */
  private readonly free: ServerStream[] = [];
  /** The client does not read its answers, and is not read from. */
  private stalled = false;
  private resetsLeft = resetsPerTurn;
  /** What came after the client had its share, until others had theirs. */
  private held: Buffer | null = null;
  private finishedWhileHeld = false;
  private draining: 'no' | 'announced' | 'enforced' = 'no';
  /** Until when the frame must be complete that was the `timedFrame`th to begin; 0 is none. */
  private frameDeadlineMs: Millis = Number.POSITIVE_INFINITY;
  private timedFrame = 0;

  /**
   * `accept` takes a new connection, and gives it an owner at once; it is asked for as many as there are streams
   * at a time. `whenOver` is told once, and of what the client did wrong, if it did.
   */
  constructor(
    transport: Transport,
    context: EngineContext,
    accept: (stream: Transport) => void,
    whenOver: (session: Http2ServerSession, problem: string | null) => void,
  ) {
    super(transport, context, true);
    this.accept = accept;
    this.whenOver = whenOver;
    this.deadlineMs = context.now() + headReadMs;
    this.writer.settings([
      [Setting.maxConcurrentStreams, maxConcurrentStreams],
      [Setting.initialWindowSize, streamWindowBytes],
      [Setting.maxHeaderListSize, maxHeaderListBytes],
    ]);
    this.intake.open();
    this.writer.rest();
  }

  override onData(bytes: Buffer, start: number, end: number): void {
    if (this.held !== null) {
      this.held = Buffer.concat([this.held, bytes.subarray(start, end)]);
      return;
    }
    const at = this.take(bytes, start, end);
    if (this.over) return;
    if (at < end) this.hold(Buffer.from(bytes.subarray(at, end)));
    if (!this.stalled && this.transport.pendingBytes > maxUnreadBytes) {
      this.stalled = true;
      this.transport.pause();
    }
    this.setDeadline();
  }

  /** Of the frame that is under way, from when it began, and of a connection without requests. */
  private setDeadline(): void {
    const { reader, streams, context } = this;
    if (this.draining !== 'no' || !reader.isOpen) return;
    this.deadlineMs = streams.size > 0 ? Number.POSITIVE_INFINITY : context.now() + idleDownstreamMs;
    // While the client is not read from, it cannot be told from one that sends nothing.
    if (this.stalled || !reader.isWithinFrame) this.timedFrame = 0;
    else {
      if (this.timedFrame !== reader.begun) this.frameDeadlineMs = context.now() + headReadMs;
      this.timedFrame = reader.begun;
      this.deadlineMs = Math.min(this.deadlineMs, this.frameDeadlineMs);
    }
  }

  private hold(bytes: Buffer): void {
    const { promptDeadlines, now } = this.context;
    this.held = bytes;
    this.transport.pause();
    const nextTurn: Timed = {
      deadlineMs: now() + 1,
      onDeadline: () => {
        promptDeadlines.remove(nextTurn);
        this.takeHeld();
      },
    };
    promptDeadlines.add(nextTurn);
  }

  private takeHeld(): void {
    const { held } = this;
    this.held = null;
    if (held === null || this.over) return;
    this.resetsLeft = resetsPerTurn;
    this.onData(held, 0, held.length);
    // It may have been held again, or be over now.
    if (this.held !== null || this.over) return;
    if (!this.stalled) this.transport.resume();
    if (this.finishedWhileHeld) this.onFinish();
  }

  protected override spendReset(): Violation | null {
    if (--this.resetsLeft <= 0) this.reader.suspend();
    return super.spendReset();
  }

  override onDrain(): void {
    if (this.stalled) {
      this.stalled = false;
      if (this.held === null) this.transport.resume();
      this.setDeadline();
    }
    super.onDrain();
  }

  /** The client sends no more. Requests that are complete are still answered. */
  onFinish(): void {
    if (this.held !== null) {
      this.finishedWhileHeld = true;
      return;
    }
    for (const stream of [...this.streams.values()])
      if (stream !== null && !stream.remoteEnded) stream.fail('reset');
    this.draining = 'enforced';
    if (this.streams.size === 0) this.end('reset', null);
  }

  headers(streamId: number, endStream: boolean, bytes: Buffer, start: number, end: number): Violation | null {
    const known = this.streams.get(streamId);
    if (known !== undefined && known !== null) return this.trailersCame(known, endStream, bytes, start, end);
    if (streamId % 2 === 0) return violation(ErrorCode.protocolError, `stream ${streamId} of a client`);
    if (streamId <= this.lastPeerStreamId)
      return this.wasReset(streamId)
        ? this.skipHeaders(bytes, start, end)
        : violation(ErrorCode.streamClosed, `HEADERS on closed stream ${streamId}`);
    this.lastPeerStreamId = streamId;
    return this.requestCame(streamId, endStream, bytes, start, end);
  }

  private requestCame(
    streamId: number,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): Violation | null {
    this.intake.prepare(null, headRoomBytes);
    request.start();
    const isRead = this.decoder.decode(bytes, start, end, request);
    if (isRead) request.finish(endStream);
    const refusal = isRead ? this.refusal() : null;
    if (isRead && refusal === null && request.problem === '' && !request.isTooLong) {
      this.serve(streamId, endStream);
      return null;
    }
    delivery.drop();
    if (!isRead) return this.compressionError();
    if (refusal === null && request.isTooLong) this.answerTooLong(streamId, endStream);
    else this.resetStream(streamId, refusal ?? ErrorCode.protocolError);
    return this.spendReset();
  }

  /** Why no request is taken for now. */
  private refusal(): ErrorCode | null {
    const isRefused = this.draining === 'enforced' || this.streams.size >= maxConcurrentStreams;
    return isRefused ? ErrorCode.refusedStream : null;
  }

  /** What the builder has put into `delivery` is the head of a request. */
  private serve(streamId: number, endStream: boolean): void {
    this.earnRequest();
    let stream = this.free.pop();
    if (stream === undefined) {
      stream = new ServerStream(this);
      this.accept(stream);
    }
    stream.beginRequest(streamId, this.outlet.initialCredit, request.isHead);
    this.streams.set(streamId, stream);
    stream.incoming = endStream ? 'none' : request.contentLength < 0 ? 'chunked' : 'length';
    stream.incomingLeft = stream.incoming === 'length' ? request.contentLength : 0;
    this.intake.address(stream);
    if (endStream) stream.endRemote();
  }

  private answerTooLong(streamId: number, endStream: boolean): void {
    this.outlet.head(streamId, true, responseBlock, tooLong, 0, tooLong.length, tooLongLines);
    if (!endStream) this.resetStream(streamId, ErrorCode.noError);
  }

  /** A connection of the engine has served its request, and waits for another. */
  giveBack(stream: ServerStream): void {
    this.resets.earn(1);
    this.free.push(stream);
  }

  /** A connection of the engine takes no more requests. */
  drop(stream: ServerStream): void {
    const index = this.free.lastIndexOf(stream);
    if (index >= 0) this.free.splice(index, 1);
  }

  protected isIdle(streamId: number): boolean {
    return streamId > this.lastPeerStreamId || streamId % 2 === 0;
  }

  goAway(): void {
    // A client that opens no more streams is served to the end of those it has.
  }

  /** Limits what is pushed, which nothing is. */
  protected concurrencySetting(): void {}

  /** Takes no new streams once the client can have learned of it, and closes after the last. */
  drain(): void {
    if (this.draining !== 'no' || this.over) return;
    this.draining = 'announced';
    if (!this.reader.isOpen) {
      this.enforceDrain();
      return;
    }
    this.writer.goAway(maxStreamId, ErrorCode.noError);
    this.writer.ping(drainMark, 0, false);
    this.deadlineMs = this.context.now() + drainGraceMs;
  }

  pingAck(bytes: Buffer, at: number): void {
    if (this.draining === 'announced' && bytes.compare(drainMark, 0, 8, at, at + 8) === 0)
      this.enforceDrain();
  }

  private enforceDrain(): void {
    this.draining = 'enforced';
    this.writer.goAway(this.lastPeerStreamId, ErrorCode.noError);
    this.deadlineMs = Number.POSITIVE_INFINITY;
    if (this.streams.size === 0) this.end('reset', null);
  }

  protected onUnused(): void {
    if (this.draining === 'enforced') this.end('reset', null);
    else this.setDeadline();
  }

  /** It is idle for long, does not speak HTTP/2 after all, stopped within a head, or was asked to go. */
  onDeadline(_now: Millis): void {
    if (this.draining === 'announced') {
      this.enforceDrain();
      return;
    }
    this.writer.goAway(this.lastPeerStreamId, ErrorCode.noError);
    this.end('reset', null);
  }

  override abort(): void {
    if (this.over) return;
    let isTold = false;
    for (const stream of this.streams.values())
      isTold = ((stream as ServerStream | null)?.tellBroken() ?? false) || isTold;
    // What was told leaves; whoever was told nothing sees the connection end before its answer does.
    if (isTold) this.transport.finish();
    super.abort();
  }

  protected onOver(problem: string | null): void {
    // The engine lets go of connections that wait.
    for (const stream of this.free.splice(0)) stream.fail('ended');
    this.whenOver(this, problem);
  }
}
