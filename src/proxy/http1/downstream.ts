/**
 * One HTTP/1.1 connection from a client: reads requests strictly, one at a time, and hands each to its
 * exchange. State is kept per connection and reused; a request makes no promise and no closure.
 */
import type { Millis } from '../../core.ts';
import type { RefusalReason } from '../dataplane.ts';
import { drainIdleMs, type EngineContext, headReadMs, idleDownstreamMs } from '../engine.ts';
import { declineOf } from '../failure.ts';
import type { Relay } from '../relay/relay.ts';
import { highWaterBytes, keepReceived, nobody, type Transport, type TransportOwner } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { BodyTracker, bodyMalformed } from './body.ts';
import { countRefused, countUnread } from './count-refused.ts';
import { Exchange } from './exchange.ts';
import type { ExchangeClient } from './exchange-client.ts';
import { incomplete, malformed, maxHeadBytes, RequestHead } from './head.ts';
import { Refusal, refusalResponse } from './refusal.ts';
import { isRefused, type RequestRouter } from './route.ts';

/** Bytes of requests behind the one being served; beyond, the client is not read until it is done. */
const maxHeldBytes = 64 * 1024;

const headTooLong = new Refusal(431, 'bad-request', 'head too long');

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

export class DownstreamConnection implements TransportOwner, ExchangeClient {
  readonly transport: Transport;
  deadlineMs: Millis;
  private readonly context: EngineContext;
  private readonly router: RequestRouter;
  private readonly exchange: Exchange;
  private readonly onOver: (connection: DownstreamConnection) => void;
  private phase: Phase = 'head';
  private readonly body = new BodyTracker();
  /** Bytes that were read and not used yet: the beginning of a head, or requests to come. */
  private held: Buffer | null = null;
  private inputEnded = false;
  /** In the loop over the requests of one read, which goes on by itself. */
  private reading = false;
  /** No further request is taken: the listener is going away. */
  private draining = false;
  /** The relay that took over after 101. */
  private tunnel: Relay | null = null;
  /** Of the request that came last, where it asked for a tunnel and that may be decided upon again. */
  private upgradeHead: Buffer | null = null;

  /** `spoken` is what the client speaks, though its requests come as messages of HTTP/1.1 in any case. */
  constructor(
    transport: Transport,
    router: RequestRouter,
    context: EngineContext,
    onOver: (connection: DownstreamConnection) => void,
    spoken: RequestProtocol = 'http1',
  ) {
    this.transport = transport;
    this.router = router;
    this.context = context;
    this.onOver = onOver;
    this.exchange = new Exchange(this, spoken, router.clientAddress, context);
    this.deadlineMs = context.now() + idleDownstreamMs;
    transport.owner = this;
    context.deadlines.add(this);
  }

  /**
   * Closes after the next response, which says that it is the last. Where no request is under way one may be on its
   * way, from a client that could not know: it is waited for a little, and then answered.
   */
  drain(): void {
    this.draining = true;
    if (this.phase === 'head' && this.held === null) this.awaitLast(this.context.now());
    else if (!this.exchange.hasAnswerBegun) this.exchange.keepAlive = false;
  }

  private awaitLast(now: Millis): void {
    this.deadlineMs = now + drainIdleMs;
    this.context.promptDeadlines.add(this);
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
      this.refuseUnread(headTooLong);
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
    if (headEnd === malformed) {
      this.refuseUnread(new Refusal(head.problemStatus, 'bad-request', head.problem));
      return end;
    }
    if (headEnd - start > maxHeadBytes) {
      this.refuseUnread(headTooLong);
      return end;
    }
    const { exchange } = this;
    exchange.minorVersion = head.minorVersion;
    exchange.keepAlive = head.keepAlive && !this.draining;
    exchange.isHeadRequest = head.isHead(bytes);
    exchange.wantsUpgrade = head.upgrades;
    exchange.isGrpc = head.isGrpc;
    this.body.start(head.bodyKind(), head.contentLength);
    const used = this.body.feed(bytes, headEnd, end);
    exchange.requestDone = this.body.done;
    if (used === bodyMalformed) {
      this.refuseUnread(new Refusal(400, 'bad-request', 'malformed chunked body'));
      return end;
    }
    this.dispatch(bytes, used);
    return used;
  }

  private dispatch(bytes: Buffer, used: number): void {
    const { exchange } = this;
    if (head.isConnect(bytes)) {
      this.refuseUnread(new Refusal(405, 'bad-request', 'CONNECT is not served'));
      return;
    }
    if (exchange.wantsUpgrade && !exchange.requestDone) {
      this.refuseUnread(new Refusal(400, 'bad-request', 'upgrade with a body'));
      return;
    }
    const mayTunnel = exchange.wantsUpgrade && this.router.reconsidersTunnels === true;
    this.upgradeHead = mayTunnel ? Buffer.from(bytes.subarray(head.start, used)) : null;
    const now = this.context.now();
    this.phase = exchange.requestDone ? 'response' : 'body';
    const route = this.router.route(bytes, head);
    if (!isRefused(route)) exchange.begin(route, bytes, head, used, now);
    else {
      if (route.counter !== null) countRefused(route.counter, route.refusal, bytes, head, now);
      this.refuse(route.refusal, false, false);
    }
  }

  private readBody(bytes: Buffer, start: number, end: number): void {
    const { exchange } = this;
    const used = this.body.feed(bytes, start, end);
    if (used === bodyMalformed) {
      exchange.refuse(new Refusal(400, 'bad-request', 'malformed chunked body'), true);
      return;
    }
    exchange.requestDone = this.body.done;
    if (this.body.done) this.phase = 'response';
    exchange.sendRequestBody(bytes, start, used);
    if (used < end) this.hold(bytes, used, end);
  }

  /** Reads on when nothing speaks against it any more. */
  resumeInput(): void {
    if (this.held !== null && this.held.length > maxHeldBytes) return;
    if (this.exchange.hasRoom) this.transport.resume();
  }

  answered(now: Millis): void {
    const { exchange } = this;
    if (!exchange.keepAlive || !exchange.requestDone) {
      this.close();
      return;
    }
    this.phase = 'head';
    this.deadlineMs = now + idleDownstreamMs;
    if (this.draining) this.awaitLast(now);
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

  /** Refuses what is no request, or whose end cannot be told. */
  private refuseUnread(refusal: Refusal): void {
    const { exchange } = this;
    exchange.minorVersion = 1;
    exchange.isGrpc = false;
    exchange.requestDone = false;
    countUnread(this.router.unread, refusal, this.context.now());
    this.refuse(refusal, true, false);
  }

  /**
   * Answers in the server's stead; a client that is a proxy of ours is told instead that it may ask elsewhere,
   * where that makes a difference. `broken` says that the request's own end cannot be told.
   */
  refuse(refusal: Refusal, broken: boolean, seen: boolean): void {
    const { exchange } = this;
    if (broken || !exchange.requestDone || exchange.minorVersion === 0) exchange.keepAlive = false;
    const decline = declineOf(refusal.reason, seen);
    if (decline !== null && this.transport.decline(decline)) {
      this.leave();
      return;
    }
    const { keepAlive, isGrpc } = exchange;
    const isHeadRequest = exchange.isHeadRequest && !broken;
    const response = refusalResponse(refusal, { keepAlive, isHeadRequest, isGrpc });
    this.transport.write(response, 0, response.length);
    this.answered(this.context.now());
  }

  private close(): void {
    this.leave();
    this.transport.close();
  }

  cut(): void {
    this.leave();
    this.transport.destroy();
  }

  private cutFor(reason: RefusalReason | null): void {
    this.exchange.abandon(reason);
    this.cut();
  }

  /** Lets go of everything; the transport is dealt with by the caller. */
  private leave(): void {
    this.phase = 'over';
    this.held = null;
    this.exchange.abandon(null);
    this.context.deadlines.remove(this);
    if (this.draining) this.context.promptDeadlines.remove(this);
    this.transport.owner = nobody;
    this.onOver(this);
  }

  becomeTunnel(tunnel: Relay): void {
    this.phase = 'over';
    this.tunnel = tunnel;
    if (this.held !== null) tunnel.feedClient(this.held);
    this.held = null;
    if (this.inputEnded) tunnel.finishClient();
    this.transport.resume();
  }

  tunnelEnded(): void {
    this.context.deadlines.remove(this);
    if (this.draining) this.context.promptDeadlines.remove(this);
    this.onOver(this);
  }

  /** The head that asked for the tunnel which this is, or is about to become; null where it is neither. */
  get upgrade(): Buffer | null {
    return this.tunnel !== null || this.exchange.isUnderWay ? this.upgradeHead : null;
  }

  /** Breaks the connection, whatever it is doing. */
  abort(): void {
    if (this.tunnel !== null) this.tunnel.cut();
    else if (this.phase !== 'over') this.cutFor(null);
  }

  onFinish(): void {
    this.inputEnded = true;
    if (this.phase === 'head' && this.held === null) this.close();
    else if (this.phase === 'head' || this.phase === 'body') this.cutFor('bad-request');
  }

  onClose(): void {
    if (this.phase !== 'over') this.leave();
  }

  onDrain(): void {
    if (this.phase === 'head') this.serveHeld();
    else this.exchange.clientDrained();
  }

  onDeadline(now: Millis): void {
    if (this.exchange.isUnderWay) this.exchange.onDeadline(now);
    else if (this.held === null) this.close();
    else this.refuseUnread(new Refusal(408, 'timeout', 'the request head did not come'));
  }
}
