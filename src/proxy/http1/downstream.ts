/**
 * One HTTP/1.1 connection from a client: reads requests strictly, one at a time, and has each served by an
 * upstream connection. State is kept per connection and reused; a request makes no promise and no closure.
 */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint, Outcome } from '../balance.ts';
import type { RefusalReason } from '../dataplane.ts';
import type { Timed } from '../deadlines.ts';
import { type EngineContext, headReadMs, idleDownstreamMs } from '../engine.ts';
import { declineOf, type Reach, type UpstreamFailure } from '../failure.ts';
import { Relay } from '../relay.ts';
import { highWaterBytes, keepReceived, nobody, type Transport, type TransportOwner } from '../transport.ts';
import { BodyTracker, bodyMalformed } from './body.ts';
import { forwardedRequest, inlineEnd } from './edit.ts';
import { incomplete, malformed, maxHeadBytes, RequestHead } from './head.ts';
import { Refusal, refusalResponse } from './refusal.ts';
import { Replay } from './replay.ts';
import { type HttpRoute, isRefused, type RequestRouter } from './route.ts';
import type { UpstreamConnection } from './upstream.ts';

/** Bytes of requests behind the one being served; beyond, the client is not read until it is done. */
const maxHeldBytes = 64 * 1024;

/** Parsing is synchronous and its result used at once, so one head serves every connection. */
const head = new RequestHead();

type Phase =
  /** Waiting for a request, or in the middle of its head. */
  | 'head'
  /** Forwarding the body of a request; its response may have begun. */
  | 'body'
  /** The request is complete, its response is not. */
  | 'response'
  /** Given up, or handed over. */
  | 'over';

export class DownstreamConnection implements TransportOwner, Timed {
  readonly transport: Transport;
  deadlineMs: Millis;
  /** Of the current request. */
  minorVersion = 1;
  isHeadRequest = false;
  wantsUpgrade = false;
  requestDone = true;
  keepAlive = true;
  private readonly context: EngineContext;
  private readonly router: RequestRouter;
  private readonly onOver: (connection: DownstreamConnection) => void;
  private phase: Phase = 'head';
  private route: HttpRoute | null = null;
  private endpoint: BalancedEndpoint | null = null;
  private upstream: UpstreamConnection | null = null;
  private readonly body = new BodyTracker();
  private readonly replay = new Replay();
  private responseStatus = 0;
  private startedAt: Millis = 0;
  /** Bytes that were read and not used yet: the beginning of a head, or requests to come. */
  private held: Buffer | null = null;
  private inputEnded = false;
  /** In the loop over the requests of one read, which goes on by itself. */
  private reading = false;
  /** No further request is taken: the listener is going away. */
  private draining = false;
  /** The relay that took over after 101. */
  private tunnel: Relay | null = null;

  constructor(
    transport: Transport,
    router: RequestRouter,
    context: EngineContext,
    onOver: (connection: DownstreamConnection) => void,
  ) {
    this.transport = transport;
    this.router = router;
    this.context = context;
    this.onOver = onOver;
    this.deadlineMs = context.now() + idleDownstreamMs;
    transport.owner = this;
    context.deadlines.add(this);
  }

  /** Closes at once when nothing is under way, else after the current response. */
  drain(): void {
    this.draining = true;
    if (this.phase === 'head' && this.held === null) this.close();
    // A response that has not begun yet says that it is the last.
    else this.keepAlive = false;
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.phase === 'head') this.readRequests(bytes, start, end);
    else if (this.phase === 'body') this.readBody(bytes, start, end);
    else if (this.phase === 'response') this.hold(bytes, start, end);
  }

  /** Starts requests until one has to wait for its response or more bytes are needed. */
  private readRequests(chunk: Buffer, from: number, to: number): void {
    let bytes = chunk;
    let start = from;
    let end = to;
    if (this.held !== null) {
      const hasLineEnd = chunk.subarray(from, to).includes(10);
      bytes = Buffer.concat([this.held, chunk.subarray(from, to)]);
      this.held = null;
      start = 0;
      end = bytes.length;
      // Without a line end nothing can have become complete: bytes that trickle in are not parsed over and over.
      if (!hasLineEnd && end <= maxHeadBytes) {
        this.hold(bytes, 0, end);
        return;
      }
    }
    this.reading = true;
    while (start < end && this.phase === 'head') {
      const used = this.readRequest(bytes, start, end);
      if (used === incomplete) {
        this.holdHead(bytes, start, end);
        return;
      }
      start = used;
    }
    this.reading = false;
    if (start < end && this.phase === 'response') this.hold(bytes, start, end);
  }

  private holdHead(bytes: Buffer, start: number, end: number): void {
    this.reading = false;
    if (end - start > maxHeadBytes) {
      this.refuse(new Refusal(431, 'bad-request', 'head too long'), true);
      return;
    }
    this.deadlineMs = Math.min(this.deadlineMs, this.context.now() + headReadMs);
    this.hold(bytes, start, end);
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const more = bytes.subarray(start, end);
    keepReceived();
    this.held = this.held === null ? more : Buffer.concat([this.held, more]);
    if (this.held.length > maxHeldBytes && this.phase === 'response') this.transport.pause();
  }

  /** Reads one head, decides and forwards. Returns how far the bytes were used, or `incomplete`. */
  private readRequest(bytes: Buffer, start: number, end: number): number {
    const headEnd = head.parse(bytes, start, end);
    if (headEnd === incomplete) return incomplete;
    this.startedAt = this.context.now();
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.responseStatus = 0;
    if (headEnd === malformed) {
      this.refuse(new Refusal(head.problemStatus, 'bad-request', head.problem), true);
      return end;
    }
    this.minorVersion = head.minorVersion;
    this.keepAlive = head.keepAlive && !this.draining;
    this.isHeadRequest = head.isHead(bytes);
    this.wantsUpgrade = head.upgradesToWebSocket;
    this.body.start(head.bodyKind(), head.contentLength);
    const used = this.body.feed(bytes, headEnd, end);
    this.requestDone = this.body.done;
    this.route = null;
    if (used === bodyMalformed) {
      this.refuse(new Refusal(400, 'bad-request', 'malformed chunked body'), true);
      return end;
    }
    this.dispatch(bytes, used);
    return used;
  }

  private dispatch(bytes: Buffer, used: number): void {
    if (head.isConnect(bytes)) {
      this.refuse(new Refusal(405, 'bad-request', 'CONNECT is not served'), true);
      return;
    }
    if (this.wantsUpgrade && !this.requestDone) {
      this.refuse(new Refusal(400, 'bad-request', 'upgrade with a body'), true);
      return;
    }
    const route = this.router.route(bytes, head);
    if (isRefused(route)) {
      route.counter?.refuse(route.refusal.reason, route.refusal.rule);
      route.counter?.finished(route.refusal.status, 0);
      this.refuse(route.refusal, false);
      return;
    }
    this.route = route;
    const inline = inlineEnd(head.end, used);
    const forwarded = forwardedRequest(bytes, head, inline, route.addedHeaders, this.context.random);
    this.replay.start(forwarded, head.isIdempotent(bytes));
    route.group.retries.earn(this.startedAt);
    this.phase = this.requestDone ? 'response' : 'body';
    if (!this.connect(this.startedAt, undefined, false)) this.refuse(route.unavailable(), false);
    else if (inline < used) this.sendRequestBody(bytes, inline, used);
  }

  /** Picks an endpoint and sends what there is of the request; false when there is no endpoint to pick. */
  private connect(now: Millis, exclude: string | undefined, fresh: boolean): boolean {
    const { group, counter } = this.route!;
    const endpoint = group.pick(now, exclude);
    if (endpoint === null) return false;
    const upstream = group.upstreamOf(endpoint).take(fresh);
    this.endpoint = endpoint;
    this.upstream = upstream;
    upstream.attach(this);
    for (const part of this.replay.parts) {
      counter.bytesSent += part.length;
      upstream.transport.write(part, 0, part.length);
    }
    if (upstream.transport.pendingBytes > highWaterBytes) this.transport.pause();
    return true;
  }

  private readBody(bytes: Buffer, start: number, end: number): void {
    const used = this.body.feed(bytes, start, end);
    if (used === bodyMalformed) {
      this.dropUpstream('ok');
      this.refuse(new Refusal(400, 'bad-request', 'malformed chunked body'), true);
      return;
    }
    this.requestDone = this.body.done;
    if (this.requestDone) this.phase = 'response';
    this.sendRequestBody(bytes, start, used);
    if (used < end) this.hold(bytes, used, end);
  }

  private sendRequestBody(bytes: Buffer, start: number, end: number): void {
    const { transport } = this.upstream!;
    this.route!.counter.bytesSent += end - start;
    this.replay.add(bytes, start, end);
    transport.write(bytes, start, end);
    if (transport.pendingBytes > highWaterBytes) this.transport.pause();
  }

  /** Reads on when nothing speaks against it any more. */
  resumeInput(): void {
    if (this.held !== null && this.held.length > maxHeldBytes) return;
    if (this.upstream === null || this.upstream.transport.pendingBytes <= highWaterBytes)
      this.transport.resume();
  }

  sendInformational(bytes: Buffer): void {
    // From here on the client has seen something of an answer: no second server may be asked.
    this.replay.stop();
    this.transport.write(bytes, 0, bytes.length);
  }

  startResponse(status: number, bytes: Buffer): void {
    this.replay.stop();
    this.responseStatus = status;
    this.sendBody(bytes, 0, bytes.length);
  }

  sendBody(bytes: Buffer, start: number, end: number): void {
    this.route!.counter.bytesReceived += end - start;
    this.transport.write(bytes, start, end);
  }

  /** The response went out completely, and its upstream connection has let go. */
  finishResponse(): void {
    const now = this.context.now();
    this.upstream = null;
    this.endpoint?.end(now, this.responseStatus < 500 ? 'ok' : 'failed');
    this.endpoint = null;
    this.route!.counter.finished(this.responseStatus, now - this.startedAt);
    this.next(now);
  }

  private next(now: Millis): void {
    if (!this.keepAlive || !this.requestDone || this.draining) {
      this.close();
      return;
    }
    this.route = null;
    this.phase = 'head';
    this.deadlineMs = now + idleDownstreamMs;
    if (!this.reading) this.serveHeld();
  }

  /** Goes on with requests that came early, unless the client does not read its answers. */
  private serveHeld(): void {
    const held = this.held;
    if (held !== null) {
      if (this.transport.pendingBytes > highWaterBytes) return;
      this.held = null;
      this.readRequests(held, 0, held.length);
    }
    if (this.phase === 'head' && this.inputEnded) this.close();
    else if (this.phase !== 'over') this.resumeInput();
  }

  /**
   * The upstream connection broke, and has let go. Asks another server if this one cannot have acted on the
   * request, or acting twice does no harm; a response under way is cut, never ended.
   */
  upstreamFailed(failed: UpstreamConnection, failure: UpstreamFailure): void {
    const now = this.context.now();
    this.upstream = null;
    this.endpoint?.end(now, failure.outcome);
    this.endpoint = null;
    if (this.responseStatus !== 0) {
      this.cut(failure.reason);
      return;
    }
    if (failure.reach !== 'unseen') this.replay.seen = true;
    if (this.retry(failed, failure.reach, now)) return;
    const detail = `${failed.upstream.name}: ${failure.detail}`;
    this.refuse(new Refusal(failure.status, failure.reason, detail), false);
  }

  private retry(failed: UpstreamConnection, reach: Reach, now: Millis): boolean {
    const { group, counter } = this.route!;
    if (reach === 'answered' || !failed.silent || !this.replay.mayRetry) return false;
    if (reach === 'unknown' && !group.retries.spend(now)) return false;
    this.replay.retry();
    // A connection that had been idle says nothing about its server: where there is no other, it is asked anew.
    const mayAskAgain = reach === 'unknown' && failed.reused;
    const isSent =
      this.connect(now, failed.upstream.id, true) || (mayAskAgain && this.connect(now, undefined, true));
    if (!isSent) return false;
    counter.retries++;
    this.resumeInput();
    return true;
  }

  /**
   * Answers in the server's stead; a client that is a proxy of ours is told instead that it may ask elsewhere,
   * where that makes a difference. `broken` says that the request's own end cannot be told.
   */
  private refuse(refusal: Refusal, broken: boolean): void {
    if (broken || !this.requestDone) this.keepAlive = false;
    if (this.route !== null) {
      this.route.counter.refuse(refusal.reason, refusal.rule);
      this.route.counter.finished(refusal.status, this.context.now() - this.startedAt);
    }
    // After the first byte of a response nothing else can be said.
    if (this.responseStatus !== 0) {
      this.cut(null);
      return;
    }
    const decline = declineOf(refusal.reason, this.route !== null && this.replay.seen);
    if (decline !== null && this.transport.decline(decline)) {
      this.leave();
      return;
    }
    const isHeadResponse = this.isHeadRequest && !broken;
    const response = refusalResponse(refusal, this.keepAlive && this.minorVersion === 1, isHeadResponse);
    if (this.minorVersion === 0) this.keepAlive = false;
    this.transport.write(response, 0, response.length);
    this.next(this.context.now());
  }

  private cut(reason: RefusalReason | null): void {
    if (reason !== null && this.route !== null) {
      this.route.counter.refuse(reason, null);
      this.route.counter.finished(this.responseStatus, this.context.now() - this.startedAt);
    }
    this.leave();
    this.transport.destroy();
  }

  private close(): void {
    this.leave();
    this.transport.close();
  }

  /** Lets go of everything; the transport is dealt with by the caller. */
  private leave(): void {
    this.phase = 'over';
    this.held = null;
    this.dropUpstream('ok');
    this.context.deadlines.remove(this);
    this.transport.owner = nobody;
    this.onOver(this);
  }

  private dropUpstream(outcome: Outcome): void {
    if (this.upstream !== null) {
      this.upstream.abandon();
      this.upstream = null;
    }
    this.endpoint?.end(this.context.now(), outcome);
    this.endpoint = null;
  }

  /** The server agreed to another protocol: from here on bytes go through as they are. */
  becomeTunnel(response: Buffer, upstream: Transport): void {
    const route = this.route!;
    const endpoint = this.endpoint!;
    const { context, startedAt, held } = this;
    this.upstream = null;
    this.endpoint = null;
    this.transport.write(response, 0, response.length);
    const relay = new Relay(this.transport, upstream, route.counter, (end) => {
      endpoint.end(context.now(), end === 'ended' ? 'ok' : 'failed');
      route.counter.finished(101, context.now() - startedAt);
      this.onOver(this);
    });
    this.phase = 'over';
    context.deadlines.remove(this);
    this.tunnel = relay;
    if (held !== null) relay.feedClient(held);
    if (this.inputEnded) relay.finishClient();
    this.transport.resume();
  }

  get isTunnel(): boolean {
    return this.tunnel !== null;
  }

  /** Breaks the connection, whatever it is doing. */
  abort(): void {
    if (this.tunnel !== null) this.tunnel.cut();
    else if (this.phase !== 'over') this.cut(null);
  }

  onFinish(): void {
    this.inputEnded = true;
    if (this.phase === 'head' && this.held === null) this.close();
    else if (this.phase === 'head' || this.phase === 'body') this.cut('bad-request');
  }

  onClose(): void {
    const route = this.route;
    if (this.phase !== 'head' && this.phase !== 'over' && route !== null)
      // The client did not wait. There is no status; 499 is how others count it.
      route.counter.finished(499, this.context.now() - this.startedAt);
    if (this.phase !== 'over') this.leave();
  }

  onDrain(): void {
    if (this.phase === 'head') this.serveHeld();
    else this.upstream?.transport.resume();
  }

  onDeadline(): void {
    if (this.held === null) {
      this.close();
      return;
    }
    this.requestDone = false;
    this.route = null;
    this.minorVersion = 1;
    this.refuse(new Refusal(408, 'timeout', 'the request head did not come'), true);
  }
}
