/**
 * One stream after the other of an HTTP/2 connection, as a connection that an HTTP/1.1 engine can use: what the
 * engine writes goes out as frames, what the peer sends comes in as HTTP/1.1. It outlives the stream, as a
 * connection with keep-alive does its request, so that an exchange costs neither side a new one.
 */
import type { BodyKind } from '../http1/fields.ts';
import { type CloseReason, keepReceived, nobody, type Transport, type TransportOwner } from '../transport.ts';
import type { Http2Connection } from './connection.ts';
import { type ErrorCode, maxWindow } from './frames.ts';
import { streamWindowBytes } from './limits.ts';
import type { SectionLines } from './lines.ts';
import { type Following, MessageReader, type MessageSink } from './message-reader.ts';

/** Once this much was taken, the peer is told that it may send as much again. */
const windowStepBytes = streamWindowBytes / 2;

export abstract class StreamTransport implements Transport, MessageSink {
  owner: TransportOwner = nobody;
  /** The stream of the exchange that is under way; 0 between exchanges. */
  streamId = 0;
  /** How the body that comes ends. */
  incoming: BodyKind = 'none';
  /** Of the body that comes: bytes still to come, where its length was said. */
  incomingLeft = 0;
  bodyBytes = 0;
  protected readonly reader = new MessageReader(this);
  /** The owner has let go; nothing is told any more. */
  protected over = false;
  protected localEnded = false;
  remoteEnded = false;
  /** Bytes the peer still takes on this stream. */
  credit = 0;
  /** Bytes the peer may still send, and those delivered for which it was not allowed as many more yet. */
  allowance = 0;
  private unreturned = 0;
  private paused = false;
  /** What waits for credit, and what comes behind it. */
  private queue: Buffer[] = [];
  private queuedBytes = 0;
  private queuedEnd = false;
  private queuedTrailers: Buffer | null = null;

  /** Null where it has not been used yet. */
  protected abstract readonly connection: Http2Connection | null;

  abstract head(bytes: Buffer, start: number, end: number, lines: SectionLines): Following | null;
  abstract close(): void;
  abstract destroy(): void;
  /** The last of what is to be sent was sent. */
  protected abstract onLocalEnd(): void;
  /** The last of what the peer sends has come; it may not have been delivered yet. */
  protected abstract onRemoteEnd(): void;
  /** The engine wrote what is no message. */
  protected abstract onUnsendable(): void;

  /** An exchange begins. */
  begin(streamId: number, credit: number): void {
    this.streamId = streamId;
    this.credit = credit;
    this.allowance = streamWindowBytes;
    this.localEnded = false;
    this.remoteEnded = false;
    this.unreturned = 0;
  }

  /** The exchange is over, in order or not; the bytes it held count for nobody any more. */
  protected leave(): void {
    const { connection, streamId } = this;
    if (streamId === 0 || connection === null) return;
    this.streamId = 0;
    this.queue.length = 0;
    this.queuedBytes = 0;
    this.queuedEnd = false;
    this.queuedTrailers = null;
    connection.forget(streamId, this);
  }

  /** Bytes that wait for credit. */
  protected get waitingBytes(): number {
    return this.queuedBytes;
  }

  get pendingBytes(): number {
    return this.queuedBytes + (this.connection === null ? 0 : this.connection.transport.pendingBytes);
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.over || start === end) return;
    if (!this.reader.feed(bytes, start, end)) this.onUnsendable();
  }

  /** Nothing behind it: a message that lasts until close ends here. */
  finish(): void {
    if (!this.over && this.reader.isUntilClose) this.reader.end();
  }

  /** Whoever is at the other end is no proxy of ours. */
  decline(): boolean {
    return false;
  }

  body(bytes: Buffer, start: number, end: number, isLast: boolean): void {
    const { connection, streamId } = this;
    if (streamId === 0 || connection === null) return;
    let at = start;
    if (this.queuedBytes === 0) {
      at += this.sendable(end - start);
      if (at > start || (isLast && start === end)) this.send(bytes, start, at, isLast && at === end);
      if (at === end) return;
    }
    if (at < end) {
      keepReceived();
      this.queue.push(bytes.subarray(at, end));
      this.queuedBytes += end - at;
      connection.outlet.block(this);
    }
    this.queuedEnd = isLast;
  }

  /** How much of so many bytes may be sent now. */
  private sendable(count: number): number {
    return Math.max(0, Math.min(count, this.credit, this.connection!.outlet.credit));
  }

  private send(bytes: Buffer, start: number, end: number, isLast: boolean): void {
    this.credit -= end - start;
    this.connection!.outlet.data(this.streamId, bytes, start, end, isLast);
    if (isLast) this.endLocal();
  }

  trailers(bytes: Buffer, start: number, end: number, lines: SectionLines): void {
    const { connection } = this;
    if (this.streamId === 0 || connection === null) return;
    if (this.queuedBytes > 0) {
      this.queuedTrailers = Buffer.from(bytes.subarray(start, end));
      return;
    }
    connection.outlet.trailers(this.streamId, bytes, start, end, lines);
    this.endLocal();
  }

  /** The message that was written is complete, and has been sent. */
  protected endLocal(): void {
    this.localEnded = true;
    this.onLocalEnd();
  }

  /** There is credit again. Returns whether it still waits for some. */
  pump(): boolean {
    if (this.queuedBytes === 0) return false;
    while (this.queue.length > 0) {
      const first = this.queue[0]!;
      const count = this.sendable(first.length);
      if (count === 0) return true;
      const isLast = this.queuedEnd && this.queue.length === 1 && count === first.length;
      this.queuedBytes -= count;
      if (count === first.length) this.queue.shift();
      else this.queue[0] = first.subarray(count);
      this.send(first, 0, count, isLast);
      if (this.streamId === 0) return false;
    }
    const trailers = this.queuedTrailers;
    this.queuedTrailers = null;
    this.queuedEnd = false;
    if (trailers !== null) {
      this.connection!.outlet.trailers(this.streamId, trailers, 0, trailers.length, null);
      this.endLocal();
    } else if (!this.localEnded) this.owner.onDrain();
    return false;
  }

  /** The backlog of the connection has left. */
  connectionDrained(): void {
    if (this.queuedBytes === 0) this.owner.onDrain();
  }

  /** The peer takes so many bytes more, or fewer; false where that is more than there can be. */
  addCredit(count: number): boolean {
    this.credit += count;
    return this.credit <= maxWindow;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.returnCredit();
  }

  /** So many bytes of the exchange were delivered. */
  delivered(count: number): void {
    this.unreturned += count;
    this.returnCredit();
  }

  private returnCredit(): void {
    if (this.paused || this.remoteEnded || this.streamId === 0 || this.unreturned < windowStepBytes) return;
    this.connection!.writer.windowUpdate(this.streamId, this.unreturned);
    this.allowance += this.unreturned;
    this.unreturned = 0;
  }

  /** Takes the exchange back, or breaks it; nothing is told. */
  protected cancel(code: ErrorCode): void {
    const { connection, streamId } = this;
    if (streamId === 0 || connection === null) return;
    connection.resetStream(streamId, code);
    this.leave();
  }

  /** The peer has sent all of its message. */
  endRemote(): void {
    this.remoteEnded = true;
    this.onRemoteEnd();
  }

  /** The peer took the exchange back, or broke it. */
  abstract resetByPeer(code: number): void;

  /** It ended from outside. */
  fail(reason: CloseReason): void {
    this.leave();
    if (this.over) return;
    this.over = true;
    const { owner } = this;
    this.owner = nobody;
    owner.onClose(reason);
  }
}
