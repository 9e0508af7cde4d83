/** One HTTP/1.1 connection towards a server: reads its responses strictly and passes them to the client. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { type EngineContext, idleUpstreamMs } from '../engine.ts';
import { badResponse, cutShort, failureOf, type UpstreamFailure } from '../failure.ts';
import {
  type CloseReason,
  highWaterBytes,
  keepReceived,
  nobody,
  type Transport,
  type TransportOwner,
} from '../transport.ts';
import type { RequestProtocol, Upstream } from '../upstream/upstreams.ts';
import { BodyTracker, bodyMalformed } from './body.ts';
import { type ConnectionNotice, forwardedResponse, inlineEnd } from './edit.ts';
import { fieldValue } from './facts.ts';
import type { FieldEdits } from './field-edits.ts';
import { incomplete, malformed, maxHeadBytes, ResponseHead } from './head.ts';
import * as names from './names.ts';

/** Parsing is synchronous and its result used at once, so one head serves every connection. */
const head = new ResponseHead();

const chunkingNames = [names.transferEncoding];
const framingNames = [names.transferEncoding, names.contentLength];
/**
 * All that may come before an answer, of heads that only inform: they are passed on whether or not the client reads.
 */
const maxInformationalBytes = 256 * 1024;

/** Whoever waits for the answer to a request that was written to the connection. */
export interface Asker {
  /** Of the request. */
  readonly minorVersion: number;
  readonly isHeadRequest: boolean;
  readonly wantsUpgrade: boolean;
  readonly requestDone: boolean;
  readonly isGrpc: boolean;
  /** What the answer to a gRPC call says of how it went; -1 while it has said nothing. */
  grpcStatus: number;
  /** Whether the client's connection can go on after the answer; an answer that ends with it says no. */
  keepAlive: boolean;
  /** Bytes of the answer that the client has not taken yet. */
  readonly unreadBytes: number;
  readonly responseEdits: FieldEdits | null;
  /** There is room for more of the request. */
  resumeInput(): void;
  sendInformational(bytes: Buffer): void;
  /** True has the answer thrown away instead; `answerDeclined` follows once the connection has let go. */
  declines(bytes: Buffer, head: ResponseHead): boolean;
  answerDeclined(): void;
  startResponse(status: number, bytes: Buffer, now: Millis): void;
  sendBody(bytes: Buffer, start: number, end: number): void;
  finishResponse(now: Millis): void;
  upstreamFailed(failed: UpstreamConnection, failure: UpstreamFailure): void;
  becomeTunnel(response: Buffer, upstream: Transport): void;
}

export class UpstreamConnection implements TransportOwner, Timed {
  readonly transport: Transport;
  readonly upstream: Upstream;
  readonly protocol: RequestProtocol;
  readonly generation: number;
  /** Whether an earlier request was served: then it may have died unnoticed. */
  reused = false;
  /** When it is given up while it waits for work. */
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  private readonly context: EngineContext;
  private asker: Asker | null = null;
  private readonly body = new BodyTracker();
  /** Where data lies within chunks that came, for a client of HTTP/1.0, which knows no chunks; null for all others. */
  private chunkData: number[] | null = null;
  private inBody = false;
  private keepAlive = true;
  private informationalBytes = 0;
  /** The beginning of a response head that is not complete. */
  private held: Buffer | null = null;

  constructor(upstream: Upstream, transport: Transport, protocol: RequestProtocol, context: EngineContext) {
    this.upstream = upstream;
    this.protocol = protocol;
    this.generation = upstream.generation;
    this.transport = transport;
    this.context = context;
    transport.owner = this;
    context.deadlines.add(this);
  }

  /** Whether any byte of the response to the current request has come. */
  get silent(): boolean {
    return !this.inBody && this.held === null;
  }

  /** Serves `asker` until its response is complete. */
  attach(asker: Asker): void {
    this.asker = asker;
    this.inBody = false;
    this.informationalBytes = 0;
    this.deadlineMs = Number.POSITIVE_INFINITY;
  }

  /** The client is gone, or does not want this connection's answer any more. */
  abandon(): void {
    this.asker = null;
    this.context.deadlines.remove(this);
    this.transport.destroy();
  }

  /** Ends an idle connection in order. */
  close(): void {
    this.context.deadlines.remove(this);
    this.transport.owner = nobody;
    this.transport.close();
  }

  onDeadline(): void {
    this.upstream.forget(this);
    this.close();
  }

  onData(bytes: Buffer, start: number, end: number): void {
    const { asker } = this;
    if (asker === null) {
      // Nobody asked: what a server sends between responses could pass for the answer to the next request.
      this.upstream.forget(this);
      this.abandon();
    } else if (this.inBody) this.readBody(asker, bytes, start, end);
    else this.readHead(asker, bytes, start, end);
  }

  private readHead(asker: Asker, chunk: Buffer, from: number, to: number): void {
    let bytes = chunk;
    let start = from;
    let end = to;
    if (this.held !== null) {
      bytes = Buffer.concat([this.held, chunk.subarray(from, to)]);
      start = 0;
      end = bytes.length;
      this.held = null;
    }
    while (start < end) {
      const headEnd = head.parse(bytes, start, end);
      if (headEnd === malformed) {
        this.fail(badResponse(head.problem));
        return;
      }
      if ((headEnd === incomplete ? end : headEnd) - start > maxHeadBytes) {
        this.fail(badResponse('head too long'));
        return;
      }
      if (headEnd === incomplete) {
        keepReceived();
        this.held = bytes.subarray(start, end);
        return;
      }
      if (head.status === 101) {
        this.switchProtocols(asker, bytes, end);
        return;
      }
      if (head.status >= 200) {
        this.startResponse(asker, bytes, headEnd, end);
        return;
      }
      this.informationalBytes += headEnd - start;
      if (this.informationalBytes > maxInformationalBytes) {
        this.fail(badResponse('too much before the answer'));
        return;
      }
      // 100, 102, 103: passed on, the final response is still to come. HTTP/1.0 does not know them.
      if (asker.minorVersion === 1)
        asker.sendInformational(forwardedResponse(bytes, head, headEnd, 'none', null));
      start = headEnd;
    }
  }

  private startResponse(asker: Asker, bytes: Buffer, headEnd: number, end: number): void {
    const kind = head.bodyKind(asker.isHeadRequest);
    this.chunkData = kind === 'chunked' && asker.minorVersion === 0 ? [] : null;
    this.body.start(kind, head.contentLength);
    const bodyEnd = this.body.feed(bytes, headEnd, end, this.chunkData);
    if (bodyEnd === bodyMalformed) {
      this.fail(badResponse('malformed chunked body'));
      return;
    }
    this.inBody = true;
    this.keepAlive = head.keepAlive && kind !== 'until-close';
    const now = this.context.now();
    if (asker.declines(bytes, head)) {
      this.release(asker, bodyEnd === end && this.body.done, now);
      asker.answerDeclined();
      return;
    }
    // An answer without a message has its trailers in the head.
    if (asker.isGrpc) asker.grpcStatus = grpcStatusIn(bytes, head);
    const edits = asker.responseEdits;
    if (edits !== null) head.cutFields(bytes, edits.cuts);
    if (this.chunkData !== null) head.cutFields(bytes, chunkingNames);
    // Some servers frame the body that there cannot be, and some clients would wait for it.
    else if (head.status === 204 && (head.isChunked || head.hasContentLength))
      head.cutFields(bytes, framingNames);
    const notice = this.noticeFor(asker);
    const inline = this.chunkData === null ? inlineEnd(headEnd, bodyEnd) : headEnd;
    const added = edits === null ? null : edits.lines;
    asker.startResponse(head.status, forwardedResponse(bytes, head, inline, notice, added), now);
    if (inline < bodyEnd) this.sendBody(asker, bytes, inline, bodyEnd);
    if (this.body.done) this.finishResponse(asker, bodyEnd === end, now);
    else this.heedReader(asker);
  }

  private noticeFor(asker: Asker): ConnectionNotice {
    if (this.body.untilClose || this.chunkData !== null) asker.keepAlive = false;
    if (!asker.keepAlive) return 'close';
    return asker.minorVersion === 0 ? 'keep-alive' : 'none';
  }

  private readBody(asker: Asker, bytes: Buffer, start: number, end: number): void {
    const bodyEnd = this.body.feed(bytes, start, end, this.chunkData);
    if (bodyEnd === bodyMalformed) {
      this.fail(badResponse('malformed chunked body'));
      return;
    }
    this.sendBody(asker, bytes, start, bodyEnd);
    if (this.body.done) this.finishResponse(asker, bodyEnd === end, this.context.now());
    else this.heedReader(asker);
  }

  private sendBody(asker: Asker, bytes: Buffer, start: number, end: number): void {
    const { chunkData } = this;
    if (chunkData === null) {
      asker.sendBody(bytes, start, end);
      return;
    }
    for (let i = 0; i < chunkData.length; i += 2) asker.sendBody(bytes, chunkData[i]!, chunkData[i + 1]!);
    chunkData.length = 0;
  }

  private heedReader(asker: Asker): void {
    if (asker.unreadBytes > highWaterBytes) this.transport.pause();
  }

  /** The response is complete; `clean` says whether nothing came after it. */
  private finishResponse(asker: Asker, clean: boolean, now: Millis): void {
    this.release(asker, clean, now);
    if (asker.isGrpc && this.body.grpcStatus >= 0) asker.grpcStatus = this.body.grpcStatus;
    asker.finishResponse(now);
  }

  /** Waits for other work, if both messages are over and nothing else came; `clean` says so of the response. */
  private release(asker: Asker, clean: boolean, now: Millis): void {
    this.asker = null;
    this.reused = true;
    if (!asker.requestDone || !this.body.done) this.abandon();
    else if (clean && this.keepAlive) {
      this.transport.resume();
      this.deadlineMs = now + idleUpstreamMs;
      if (!this.upstream.give(this)) this.close();
    } else this.close();
  }

  private switchProtocols(asker: Asker, bytes: Buffer, end: number): void {
    if (!asker.wantsUpgrade || !head.upgrades) {
      this.fail(badResponse('unasked 101'));
      return;
    }
    this.asker = null;
    this.context.deadlines.remove(this);
    asker.becomeTunnel(forwardedResponse(bytes, head, end, 'upgrade', null), this.transport);
  }

  private fail(failure: UpstreamFailure): void {
    const { asker } = this;
    this.abandon();
    asker?.upstreamFailed(this, failure);
  }

  onFinish(): void {
    const { asker } = this;
    if (asker === null) {
      this.upstream.forget(this);
      this.close();
    } else if (this.inBody && this.body.untilClose) {
      this.keepAlive = false;
      this.body.done = true;
      this.finishResponse(asker, true, this.context.now());
    } else this.fail(cutShort('the server ended the connection before the response was complete'));
  }

  onClose(reason: CloseReason): void {
    this.context.deadlines.remove(this);
    const { asker } = this;
    if (asker === null) {
      this.upstream.forget(this);
      return;
    }
    this.asker = null;
    asker.upstreamFailed(this, failureOf(reason));
  }

  onDrain(): void {
    this.asker?.resumeInput();
  }
}

function grpcStatusIn(bytes: Buffer, { fieldsStart, end }: ResponseHead): number {
  const value = fieldValue(bytes, fieldsStart, end, names.grpcStatus);
  return value === null || !/^\d{1,2}$/.test(value) ? -1 : Number(value);
}
