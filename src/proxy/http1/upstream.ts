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
import type { Upstream } from '../upstreams.ts';
import { BodyTracker, bodyMalformed } from './body.ts';
import type { DownstreamConnection } from './downstream.ts';
import { type ConnectionNotice, forwardedResponse, inlineEnd } from './edit.ts';
import { incomplete, malformed, maxHeadBytes, ResponseHead } from './head.ts';

/** Parsing is synchronous and its result used at once, so one head serves every connection. */
const head = new ResponseHead();

export class UpstreamConnection implements TransportOwner, Timed {
  readonly transport: Transport;
  readonly upstream: Upstream;
  readonly generation: number;
  /** Whether an earlier request was served: then it may have died unnoticed. */
  reused = false;
  /** When it is given up while it waits for work. */
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  private readonly context: EngineContext;
  private downstream: DownstreamConnection | null = null;
  private readonly body = new BodyTracker();
  private inBody = false;
  private keepAlive = true;
  /** The beginning of a response head that is not complete. */
  private held: Buffer | null = null;

  constructor(upstream: Upstream, transport: Transport, context: EngineContext) {
    this.upstream = upstream;
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

  /** Serves `downstream` until its response is complete. */
  attach(downstream: DownstreamConnection): void {
    this.downstream = downstream;
    this.inBody = false;
    this.deadlineMs = Number.POSITIVE_INFINITY;
  }

  /** The client is gone, or does not want this connection's answer any more. */
  abandon(): void {
    this.downstream = null;
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
    const downstream = this.downstream;
    if (downstream === null) {
      // Nobody asked: what a server sends between responses could pass for the answer to the next request.
      this.upstream.forget(this);
      this.abandon();
    } else if (this.inBody) this.readBody(downstream, bytes, start, end);
    else this.readHead(downstream, bytes, start, end);
  }

  private readHead(downstream: DownstreamConnection, chunk: Buffer, from: number, to: number): void {
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
      if (headEnd === incomplete) {
        if (end - start > maxHeadBytes) {
          this.fail(badResponse('head too long'));
          return;
        }
        keepReceived();
        this.held = bytes.subarray(start, end);
        return;
      }
      if (head.status === 101) {
        this.switchProtocols(downstream, bytes, end);
        return;
      }
      if (head.status >= 200) {
        this.startResponse(downstream, bytes, headEnd, end);
        return;
      }
      // 100, 102, 103: passed on, the final response is still to come. HTTP/1.0 does not know them.
      if (downstream.minorVersion === 1)
        downstream.sendInformational(forwardedResponse(bytes, head, headEnd, 'none'));
      start = headEnd;
    }
  }

  private startResponse(downstream: DownstreamConnection, bytes: Buffer, headEnd: number, end: number): void {
    const kind = head.bodyKind(downstream.isHeadRequest);
    if (kind === 'chunked' && downstream.minorVersion === 0) {
      this.fail(badResponse('chunked response to HTTP/1.0'));
      return;
    }
    this.body.start(kind, head.contentLength);
    const bodyEnd = this.body.feed(bytes, headEnd, end);
    if (bodyEnd === bodyMalformed) {
      this.fail(badResponse('malformed chunked body'));
      return;
    }
    this.inBody = true;
    this.keepAlive = head.keepAlive && kind !== 'until-close';
    const notice = this.noticeFor(downstream);
    const inline = inlineEnd(headEnd, bodyEnd);
    downstream.startResponse(head.status, forwardedResponse(bytes, head, inline, notice));
    if (inline < bodyEnd) downstream.sendBody(bytes, inline, bodyEnd);
    this.afterBytes(downstream, bodyEnd === end);
  }

  private noticeFor(downstream: DownstreamConnection): ConnectionNotice {
    if (this.body.untilClose) downstream.keepAlive = false;
    if (!downstream.keepAlive) return 'close';
    return downstream.minorVersion === 0 ? 'keep-alive' : 'none';
  }

  private readBody(downstream: DownstreamConnection, bytes: Buffer, start: number, end: number): void {
    const bodyEnd = this.body.feed(bytes, start, end);
    if (bodyEnd === bodyMalformed) {
      this.fail(badResponse('malformed chunked body'));
      return;
    }
    downstream.sendBody(bytes, start, bodyEnd);
    this.afterBytes(downstream, bodyEnd === end);
  }

  private afterBytes(downstream: DownstreamConnection, consumedAll: boolean): void {
    if (this.body.done) this.finishResponse(downstream, consumedAll);
    else if (downstream.transport.pendingBytes > highWaterBytes) this.transport.pause();
  }

  /** The response is complete; `clean` says whether nothing came after it. */
  private finishResponse(downstream: DownstreamConnection, clean: boolean): void {
    this.downstream = null;
    this.reused = true;
    if (clean && this.keepAlive && downstream.requestDone) {
      this.transport.resume();
      this.deadlineMs = this.context.now() + idleUpstreamMs;
      if (!this.upstream.give(this)) this.close();
    } else if (downstream.requestDone) this.close();
    else this.abandon();
    downstream.finishResponse();
  }

  private switchProtocols(downstream: DownstreamConnection, bytes: Buffer, end: number): void {
    if (!downstream.wantsUpgrade || !head.upgradesToWebSocket) {
      this.fail(badResponse('unasked 101'));
      return;
    }
    this.downstream = null;
    this.context.deadlines.remove(this);
    downstream.becomeTunnel(forwardedResponse(bytes, head, end, 'upgrade'), this.transport);
  }

  private fail(failure: UpstreamFailure): void {
    const downstream = this.downstream;
    this.abandon();
    downstream?.upstreamFailed(this, failure);
  }

  onFinish(): void {
    const downstream = this.downstream;
    if (downstream === null) {
      this.upstream.forget(this);
      this.close();
    } else if (this.inBody && this.body.untilClose) {
      this.keepAlive = false;
      this.body.done = true;
      this.finishResponse(downstream, true);
    } else this.fail(cutShort('the server ended the connection before the response was complete'));
  }

  onClose(reason: CloseReason): void {
    this.context.deadlines.remove(this);
    const downstream = this.downstream;
    if (downstream === null) {
      this.upstream.forget(this);
      return;
    }
    this.downstream = null;
    downstream.upstreamFailed(this, failureOf(reason));
  }

  onDrain(): void {
    this.downstream?.resumeInput();
  }
}
