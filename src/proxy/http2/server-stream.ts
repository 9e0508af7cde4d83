/** One connection of the engine that serves requests of an HTTP/2 client, one after the other. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { nobody } from '../transport.ts';
import { responseBlock } from './blocks.ts';
import { FieldKind } from './field-kind.ts';
import { lengthOf, unknownLength } from './field-value.ts';
import { ErrorCode } from './frames.ts';
import { chunkedLength, framingOf } from './framing.ts';
import type { SectionLines } from './lines.ts';
import type { Following } from './message-reader.ts';
import type { Http2ServerSession } from './server-session.ts';
import { StreamTransport } from './stream.ts';

/** How long a client may take none of an answer that is complete here. */
const creditWaitMs = 30_000;
/**
 * The end of a call whose answer broke off: UNAVAILABLE, after which clients may ask again. Of a stream that is only
 * reset they make INTERNAL, which says that somebody has a bug.
 */
const brokenTrailers = Buffer.from('grpc-status: 14\r\ngrpc-message: starling: the answer broke off\r\n\r\n');
const grpcType = /^application\/grpc(?:$|[+;])/i;

export class ServerStream extends StreamTransport implements Timed {
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  protected readonly connection: Http2ServerSession;
  private isHeadRequest = false;
  /** An answer of gRPC has begun, whose trailers are to come. */
  private isGrpcAnswer = false;
  /** What waited for credit when it was last looked at. */
  private waitedBytes = 0;

  constructor(connection: Http2ServerSession) {
    super();
    this.connection = connection;
  }

  beginRequest(streamId: number, credit: number, isHeadRequest: boolean): void {
    this.begin(streamId, credit);
    this.isHeadRequest = isHeadRequest;
    this.isGrpcAnswer = false;
    this.reader.start();
  }

  head(bytes: Buffer, start: number, end: number, lines: SectionLines): Following | null {
    // `HTTP/1.x nnn`
    const status = lengthOf(bytes, start + 9, start + 12);
    // Whoever asks by HTTP/2 cannot ask for another protocol.
    if (status < 100 || status > 599 || status === 101) return null;
    const following = this.following(status, framingOf(bytes, lines));
    const { outlet } = this.connection;
    outlet.head(this.streamId, following === 'none', responseBlock, bytes, start, end, lines);
    if (following === 'none') this.endLocal();
    else if (following === 'chunked') this.isGrpcAnswer = isGrpc(bytes, lines);
    return following;
  }

  private following(status: number, framing: number): Following {
    if (status < 200) return 'head';
    if (this.isHeadRequest || status === 204 || status === 304 || framing === 0) return 'none';
    if (framing === chunkedLength) return 'chunked';
    if (framing <= unknownLength) return 'until-close';
    this.bodyBytes = framing;
    return 'length';
  }

  protected onLocalEnd(): void {
    if (this.remoteEnded) this.complete();
    // The engine answered early and takes no more of the request (RFC 9113 section 8.1).
    else if (this.over) this.cancel(ErrorCode.noError);
  }

  protected onRemoteEnd(): void {
    if (this.localEnded) this.complete();
  }

  private complete(): void {
    this.leave();
    if (!this.over) this.connection.giveBack(this);
  }

  resetByPeer(): void {
    this.fail('reset');
  }

  protected onUnsendable(): void {
    this.over = true;
    this.cancel(ErrorCode.internalError);
  }

  close(): void {
    this.owner = nobody;
    if (this.over) return;
    if (this.reader.isUntilClose) this.reader.end();
    this.over = true;
    if (this.streamId === 0) this.connection.drop(this);
    else if (this.localEnded) this.cancel(ErrorCode.noError);
    else if (!this.reader.hasBegun) this.cancel(ErrorCode.refusedStream);
    else if (!this.reader.isDone) this.breakOff();
    else this.waitForCredit();
  }

  /** The engine is done with it: the rest of the answer leaves as the client takes it, or not at all. */
  private waitForCredit(): void {
    const { context } = this.connection;
    this.resume();
    this.waitedBytes = this.waitingBytes;
    this.deadlineMs = context.now() + creditWaitMs;
    context.deadlines.add(this);
  }

  onDeadline(now: Millis): void {
    const isTaken = this.waitingBytes < this.waitedBytes;
    this.waitedBytes = this.waitingBytes;
    this.deadlineMs = now + creditWaitMs;
    if (!isTaken) this.cancel(ErrorCode.cancel);
  }

  protected override leave(): void {
    if (this.deadlineMs !== Number.POSITIVE_INFINITY) this.connection.context.deadlines.remove(this);
    super.leave();
  }

  destroy(): void {
    this.owner = nobody;
    if (this.over) return;
    this.over = true;
    if (this.streamId === 0) this.connection.drop(this);
    else this.breakOff();
  }

  /** The answer will not be complete. */
  private breakOff(): void {
    if (!this.tellBroken()) this.cancel(ErrorCode.internalError);
    else if (this.remoteEnded) this.leave();
    else this.cancel(ErrorCode.noError);
  }

  /** Tells the client of a gRPC call in its own terms that it broke off; false where there is none. */
  tellBroken(): boolean {
    if (!this.isGrpcAnswer || this.localEnded || this.streamId === 0) return false;
    this.localEnded = true;
    this.connection.outlet.trailers(this.streamId, brokenTrailers, 0, brokenTrailers.length, null);
    return true;
  }
}

function isGrpc(bytes: Buffer, lines: SectionLines): boolean {
  for (let i = 0; i < lines.count; i++)
    if (lines.kind(i) === FieldKind.contentType)
      return grpcType.test(bytes.toString('latin1', lines.valueStarts[i], lines.valueEnds[i]));
  return false;
}
