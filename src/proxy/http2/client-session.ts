/** A connection to an application that speaks HTTP/2 with prior knowledge: requests of the engine, as streams. */
import { type EngineContext, idleUpstreamMs } from '../engine.ts';
import type { Transport } from '../transport.ts';
import { requestBlock } from './blocks.ts';
import type { ClientStream } from './client-stream.ts';
import { Http2Connection } from './connection.ts';
import { delivery } from './delivery.ts';
import { ErrorCode, maxStreamId, Setting, type Violation, violation } from './frames.ts';
import {
  assumedConcurrentStreams,
  maxHeaderListBytes,
  resetsPerOwnRequest,
  streamWindowBytes,
} from './limits.ts';
import type { SectionLines } from './lines.ts';
import { headRoomBytes } from './request-builder.ts';
import { ResponseBuilder } from './response-builder.ts';

const response = new ResponseBuilder();

export class Http2ClientSession extends Http2Connection {
  /** The server opens none. */
  readonly lastPeerStreamId = 0;
  private nextStreamId = 1;
  private maxStreams = assumedConcurrentStreams;
  /** Opens no streams any more. */
  private retired = false;
  private readonly whenOver: (session: Http2ClientSession, problem: string | null) => void;

  /** `whenOver` is told once, and of what the server did wrong, if it did. */
  constructor(
    transport: Transport,
    context: EngineContext,
    whenOver: (session: Http2ClientSession, problem: string | null) => void,
  ) {
    super(transport, context, false);
    this.whenOver = whenOver;
    this.writer.preface();
    this.writer.settings([
      [Setting.enablePush, 0],
      [Setting.initialWindowSize, streamWindowBytes],
      [Setting.maxHeaderListSize, maxHeaderListBytes],
    ]);
    this.intake.open();
  }

  /** Whether it takes another request. */
  get canOpen(): boolean {
    return (
      !this.over && !this.retired && this.streams.size < this.maxStreams && this.nextStreamId <= maxStreamId
    );
  }

  /** Sends the head of a request on a new stream; only when `canOpen`. */
  startRequest(
    stream: ClientStream,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    lines: SectionLines,
    methodEnd: number,
    targetEnd: number,
  ): void {
    const streamId = this.nextStreamId;
    this.nextStreamId += 2;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    stream.begin(streamId, this.outlet.initialCredit);
    stream.incoming = 'none';
    stream.incomingLeft = 0;
    this.streams.set(streamId, stream);
    this.earnRequest();
    this.resets.earn(resetsPerOwnRequest);
    requestBlock.target(methodEnd, targetEnd);
    this.outlet.head(streamId, endStream, requestBlock, bytes, start, end, lines);
  }

  headers(streamId: number, endStream: boolean, bytes: Buffer, start: number, end: number): Violation | null {
    const stream = this.streams.get(streamId) as ClientStream | null | undefined;
    if (stream === undefined && this.isIdle(streamId))
      return violation(ErrorCode.protocolError, `HEADERS on idle stream ${streamId}`);
    if (stream === undefined) return this.skipHeaders(bytes, start, end);
    if (stream === null) {
      this.settle(streamId, endStream);
      return this.skipHeaders(bytes, start, end);
    }
    if (stream.hasAnswer) return this.trailersCame(stream, endStream, bytes, start, end);
    return this.answerCame(stream, endStream, bytes, start, end);
  }

  private answerCame(
    stream: ClientStream,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): Violation | null {
    const isGone = !this.intake.prepare(stream, headRoomBytes);
    const mark = delivery.at;
    response.start();
    if (!this.decoder.decode(bytes, start, end, response)) return this.compressionError();
    const kind = response.finish(endStream, stream.isHeadRequest);
    if (response.problem !== '' || isGone) {
      delivery.at = mark;
      return isGone ? null : this.breakStream(stream, ErrorCode.protocolError);
    }
    stream.hasAnswer = response.status >= 200;
    stream.incoming = kind;
    stream.incomingLeft = kind === 'length' ? response.contentLength : 0;
    if (endStream) stream.endRemote();
    return null;
  }

  protected isIdle(streamId: number): boolean {
    return streamId >= this.nextStreamId || streamId % 2 === 0;
  }

  protected concurrencySetting(value: number): void {
    this.maxStreams = value;
    // It would be kept for nothing, and one more with every request.
    if (value === 0) this.retire();
  }

  /** The server takes no more: what it says it has not seen may be asked elsewhere. */
  goAway(lastStreamId: number): void {
    this.retired = true;
    this.intake.deliver();
    for (const [streamId, stream] of [...this.streams])
      if (streamId > lastStreamId) stream?.fail('not-taken');
    if (this.streams.size === 0) this.end('reset', null);
  }

  pingAck(): void {}

  /** Opens nothing new, and ends with its last stream. */
  retire(): void {
    this.retired = true;
    if (this.streams.size === 0) this.leave();
  }

  private leave(): void {
    if (this.over) return;
    this.writer.goAway(0, ErrorCode.noError);
    this.end('reset', null);
  }

  protected onUnused(): void {
    if (this.retired) this.leave();
    else this.deadlineMs = this.context.now() + idleUpstreamMs;
  }

  onDeadline(): void {
    this.leave();
  }

  /** A server that ends its side answers nothing any more. */
  onFinish(): void {
    this.end('reset', null);
  }

  protected onOver(problem: string | null): void {
    this.whenOver(this, problem);
  }
}
