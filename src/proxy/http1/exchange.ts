/**
 * One request and its answer: where it goes, how often it is tried, how long it may take, and how it ends.
 * A client connection has one of these and uses it for request after request.
 */
import type { Millis } from '../../core.ts';
import { noHash } from '../balance/chooser.ts';
import type { Outcome } from '../balance/endpoint.ts';
import type { RequestHasher } from '../balance/hash-key.ts';
import type { RefusalReason } from '../dataplane.ts';
import type { EngineContext } from '../engine.ts';
import { isTurnedAway, outcomeOf, triedTooLong, type UpstreamFailure } from '../failure.ts';
import { responseFlag } from '../observe/flags.ts';
import type { FaultPolicy } from '../policy.ts';
import { Relay } from '../relay/relay.ts';
import { happens } from '../resilience/chance.ts';
import { highWaterBytes, type Transport } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { Account } from './account.ts';
import { forwardedRequest, inlineEnd } from './edit.ts';
import type { ExchangeClient } from './exchange-client.ts';
import { RequestFacts } from './facts.ts';
import { type FieldEdits, joinLines } from './field-edits.ts';
import type { RequestHead, ResponseHead } from './head.ts';
import type { MirroredRequest } from './mirror.ts';
import { redirectResponse } from './redirect.ts';
import { grpcStatusOf, Refusal } from './refusal.ts';
import { RequestClock, type Stage } from './request-clock.ts';
import { drawTarget, type HttpRoute, type RouteTarget, type Treatment } from './route.ts';
import { Tries } from './tries.ts';
import type { Asker, UpstreamConnection } from './upstream.ts';

/** Hashing is synchronous, so one object serves every request. */
const facts = new RequestFacts();

export class Exchange implements Asker {
  /** Of the request, set by whoever reads it. */
  minorVersion = 1;
  isHeadRequest = false;
  wantsUpgrade = false;
  isGrpc = false;
  requestDone = true;
  keepAlive = true;
  private readonly client: ExchangeClient;
  private readonly context: EngineContext;
  /** What the client speaks. */
  private readonly spoken: RequestProtocol;
  private readonly address: string;
  private readonly account = new Account();
  private readonly clock: RequestClock;
  /** Both null between requests. */
  private route: HttpRoute | null = null;
  private target: RouteTarget | null = null;
  private readonly tries: Tries;
  /** Of the answer; 0 until it begins. */
  private status = 0;
  /** Waits for the end of the request; null where there is none. */
  private mirrored: MirroredRequest | null = null;
  /** What to answer when the wait is over, by policy's wish; 0 goes on. */
  private faultStatus = 0;
  /** What hash balancing goes by, and the line that has the client come back to the same place. */
  private hash = noHash;
  private cookie: Buffer | null = null;

  /** `address` is of the client's socket. */
  constructor(client: ExchangeClient, spoken: RequestProtocol, address: string, context: EngineContext) {
    this.client = client;
    this.address = address;
    this.spoken = spoken;
    this.context = context;
    this.clock = new RequestClock(client, context);
    this.tries = new Tries(this, client, this.account, this.clock, context);
  }

  /** Begins with a request whose head is at hand, and its body up to `bodyEnd`. It may be over on return. */
  begin(route: HttpRoute, bytes: Buffer, head: RequestHead, bodyEnd: number, now: Millis): void {
    const target = drawTarget(route, this.context.random);
    this.route = route;
    this.target = target;
    this.status = 0;
    this.faultStatus = 0;
    this.clock.start(route.timeouts, now);
    const counter = this.isGrpc ? target.counter.grpc : target.counter;
    this.account.open(counter, this.spoken, bytes, head, now);
    if (target.hasher !== null) this.hashBy(target.hasher, bytes, head);
    const { treatment } = route;
    if (treatment !== null && this.isAnswered(treatment, bytes, head, now)) return;
    if (target.requestCuts !== null) head.cutFields(bytes, target.requestCuts);
    const inline = inlineEnd(head.end, bodyEnd);
    const { observation } = this.account;
    const added =
      observation === null ? target.addedHeaders : joinLines(target.addedHeaders, observation.addedLines);
    const forwarded = forwardedRequest(bytes, head, inline, added, this.context.random);
    this.account.requestBytes = forwarded.length;
    this.tries.replay.start(forwarded, head.isIdempotent(bytes));
    this.tries.start(target, route.retry, this.protocol, this.hash);
    if (treatment !== null) this.treat(treatment, forwarded, now);
    if (!this.clock.isWaiting && this.route !== null && !this.tries.connect(now, false))
      this.refuse(this.tries.unavailable(), false);
    else if (this.route !== null) {
      if (inline < bodyEnd) this.sendRequestBody(bytes, inline, bodyEnd);
      else if (this.mirrored !== null && this.requestDone) this.sendMirrored();
    }
  }

  /** What few routes ask for; true when the request is answered with that. */
  private isAnswered(treatment: Treatment, bytes: Buffer, head: RequestHead, now: Millis): boolean {
    const { redirect, rewrite } = treatment;
    if (redirect !== null) {
      this.keepAlive &&= this.requestDone && this.minorVersion === 1;
      const response = redirectResponse(redirect, bytes, head, this.keepAlive);
      this.client.transport.write(response, 0, response.length);
      this.account.requestBytes = head.end - head.start;
      this.account.responseBytes = response.length;
      this.conclude(now, redirect.status, null, null);
      this.client.answered(now);
      return true;
    }
    if (rewrite !== null) head.newTarget = rewrite(bytes, head);
    return false;
  }

  /** Whether a request is under way. */
  get isUnderWay(): boolean {
    return this.route !== null;
  }

  /** Whether the client has been sent anything of the answer. */
  get hasAnswerBegun(): boolean {
    return this.status !== 0;
  }

  private hashBy(hasher: RequestHasher, bytes: Buffer, head: RequestHead): void {
    facts.of(bytes, head).sourceIp = this.address;
    this.hash = hasher.hash(facts, this.context.random);
    const { setCookie } = hasher;
    this.cookie = setCookie === null ? null : Buffer.from(`set-cookie: ${setCookie}\r\n`);
  }

  private treat({ mirror, fault, hedge }: Treatment, forwarded: Buffer, now: Millis): void {
    if (hedge !== null && this.tries.replay.idempotent) this.clock.hedgeFrom(now + hedge.afterMs);
    if (mirror !== null)
      this.mirrored = mirror.copy(forwarded, this.isHeadRequest, this.account.counter!, this.context);
    if (fault !== null) this.applyFault(fault, now);
  }

  /** Sends the copy of a request that is complete, and was short enough to be kept until then. */
  private sendMirrored(): void {
    const { mirrored } = this;
    const { replay } = this.tries;
    this.mirrored = null;
    const { mirror } = mirrored!;
    if (replay.complete && mirror.send(mirrored!, replay.parts.slice(1), this.protocol, this.context.now()))
      this.account.counter!.mirrored++;
    else this.account.counter!.mirrorsSkipped++;
  }

  /** Has the request fail, or wait, as policy asks for some; what has to wait may be failed after it. */
  private applyFault({ delay, abort }: FaultPolicy, now: Millis): void {
    const { random } = this.context;
    this.faultStatus = abort !== null && happens(abort.percent, random) ? abort.status : 0;
    if (delay !== null && happens(delay.percent, random)) {
      this.account.flags |= responseFlag.DI;
      this.clock.waitUntil(now + delay.ms);
    } else if (this.faultStatus !== 0) this.refuseAsFault();
  }

  private refuseAsFault(): void {
    this.refuse(new Refusal(this.faultStatus, 'fault', 'policy asks for a failure'), false);
  }

  /** What the server is spoken to with. */
  private get protocol(): RequestProtocol {
    return this.route!.carries ?? this.spoken;
  }

  sendRequestBody(bytes: Buffer, start: number, end: number): void {
    const { upstream, replay } = this.tries;
    this.clock.heard();
    this.account.requestBytes += end - start;
    if (upstream !== null) {
      this.account.counter!.bytesSent += end - start;
      replay.add(bytes, start, end);
      upstream.transport.write(bytes, start, end);
    } else replay.keep(bytes, start, end);
    if (!this.hasRoom) this.client.transport.pause();
    if (this.mirrored !== null && this.requestDone) this.sendMirrored();
  }

  /** Whether more of the request may be read. */
  get hasRoom(): boolean {
    const { upstream, replay } = this.tries;
    if (upstream === null) return this.route === null || !replay.isFull;
    return upstream.transport.pendingBytes <= highWaterBytes;
  }

  /** The client has taken what was sent to it. */
  clientDrained(): void {
    this.tries.upstream?.transport.resume();
  }

  // What the upstream connection tells.

  get unreadBytes(): number {
    return this.client.transport.pendingBytes;
  }

  /** What a gRPC call came to, for the account. */
  set grpcStatus(status: number) {
    this.account.grpcStatus = status;
  }

  get responseEdits(): FieldEdits | null {
    const { responseEdits } = this.target!;
    if (this.cookie === null) return responseEdits;
    return { cuts: responseEdits?.cuts ?? [], lines: joinLines(responseEdits?.lines ?? null, this.cookie) };
  }

  resumeInput(): void {
    this.client.resumeInput();
  }

  sendInformational(bytes: Buffer): void {
    // From here on the client has seen something of an answer: no second server may be asked.
    this.tries.replay.stop();
    this.client.transport.write(bytes, 0, bytes.length);
  }

  declines(bytes: Buffer, head: ResponseHead): boolean {
    return this.tries.declines(bytes, head);
  }

  /** The upstream connection has let go. */
  answerDeclined(): void {
    const now = this.context.now();
    this.letGo(now, 'failed');
    if (!this.tries.goOn(now)) this.refuse(this.tries.unavailable(), false);
  }

  startResponse(status: number, bytes: Buffer, now: Millis): void {
    this.tries.settle();
    this.status = status;
    this.clock.answeredAt = now;
    this.sendBody(bytes, 0, bytes.length);
  }

  sendBody(bytes: Buffer, start: number, end: number): void {
    this.clock.heard();
    this.account.responseBytes += end - start;
    this.account.counter!.bytesReceived += end - start;
    this.client.transport.write(bytes, start, end);
  }

  /** The response went out completely, and its upstream connection has let go. */
  finishResponse(now: Millis): void {
    this.letGo(now, outcomeOf(this.status, this.account.grpcStatus));
    this.conclude(now, this.status, null, null);
    this.client.answered(now);
  }

  /** The upstream connection broke, and has let go. A response under way is cut, never ended. */
  upstreamFailed(failed: UpstreamConnection, failure: UpstreamFailure): void {
    const now = this.context.now();
    const hasBegun = this.status !== 0;
    // Whoever cut an answer, its server did not give all of it.
    this.letGo(now, hasBegun && failure.outcome === 'abandoned' ? 'failed' : failure.outcome);
    if (hasBegun) {
      this.conclude(now, this.status, failure.reason, null, failure.detail);
      this.client.cut();
      return;
    }
    if (this.tries.survive(failed, failure, now)) return;
    this.account.flags |= failure.flags ?? 0;
    const detail = `${failed.upstream.name}: ${failure.detail}`;
    this.refuse(new Refusal(failure.status, failure.reason, detail), false);
  }

  /** The server agreed to another protocol: from here on bytes go through as they are. */
  becomeTunnel(response: Buffer, upstream: Transport): void {
    const { client } = this;
    const agreedAt = this.context.now();
    this.tries.reached(agreedAt, agreedAt - this.clock.triedAt);
    this.status = 101;
    this.clock.answeredAt = agreedAt;
    this.clock.stop();
    client.deadlineMs = Infinity;
    client.transport.write(response, 0, response.length);
    const tunnel = new Relay(client.transport, upstream, this.account.counter!, () => {
      this.tries.leave();
      this.account.requestBytes += tunnel.sentBytes;
      this.account.responseBytes += response.length + tunnel.receivedBytes;
      this.conclude(this.context.now(), 101, null, null);
      client.tunnelEnded();
    });
    tunnel.endWhenIdle(this.target!.streamIdleMs, this.context);
    client.becomeTunnel(tunnel);
  }

  // Time.

  onDeadline(now: Millis): void {
    const due = this.clock.due(this.stage, now);
    if (due === null) return;
    if (due.type === 'too-late') this.timedOut(now, due.detail);
    else if (due.type === 'try-too-late') this.tryTimedOut(due.perTryMs);
    else if (due.type === 'hedge') this.tries.startHedge(now);
    else this.wake(now);
  }

  private get stage(): Stage {
    if (this.status !== 0) return 'answering';
    if (this.tries.upstream === null) return 'waiting';
    return this.requestDone ? 'awaiting' : 'sending';
  }

  private wake(now: Millis): void {
    if (this.faultStatus !== 0) this.refuseAsFault();
    else if (this.tries.connectAnew(now, true)) this.client.resumeInput();
    else this.refuse(this.tries.unavailable(), false);
  }

  private tryTimedOut(perTryMs: number): void {
    const failed = this.tries.upstream!;
    failed.abandon();
    this.upstreamFailed(failed, triedTooLong(perTryMs));
  }

  private timedOut(now: Millis, detail: string): void {
    this.abandonUpstream(now, 'failed');
    if (this.status === 0) this.refuse(new Refusal(504, 'timeout', detail), false);
    else {
      this.conclude(now, this.status, 'timeout', null, detail);
      this.client.cut();
    }
  }

  // Ends.

  /** Answers in the server's stead. `broken` says that the request's own end cannot be told. */
  refuse(refusal: Refusal, broken: boolean): void {
    const now = this.context.now();
    this.abandonUpstream(now, 'abandoned');
    const { status } = this;
    if (this.isGrpc && status === 0) {
      this.account.grpcStatus = grpcStatusOf(refusal);
      this.conclude(now, 200, refusal.reason, refusal.rule, refusal.text);
    } else
      this.conclude(now, status === 0 ? refusal.status : status, refusal.reason, refusal.rule, refusal.text);
    if (status === 0) this.client.refuse(refusal, broken, this.tries.replay.seen);
    else this.client.cut();
  }

  /** The client is gone. Whatever had been answered, it did not get it all: 499 is how others count that. */
  abandon(reason: RefusalReason | null): void {
    if (this.route === null) return;
    const now = this.context.now();
    this.abandonUpstream(now, 'abandoned');
    this.account.flags |= responseFlag.DC;
    this.conclude(now, 499, reason, null);
  }

  private abandonUpstream(now: Millis, outcome: Outcome): void {
    this.tries.upstream?.abandon();
    this.letGo(now, outcome);
  }

  /** The endpoint has nothing to do with the request any more. */
  private letGo(now: Millis, outcome: Outcome): void {
    const { triedAt, answeredAt } = this.clock;
    const tookMs = (this.status === 0 ? now : answeredAt) - triedAt;
    if (isTurnedAway(this.status, this.account.grpcStatus)) this.tries.turnedAway(now, outcome);
    else this.tries.end(now, outcome, tookMs);
  }

  /** Every request that had a route ends here, once. */
  private conclude(
    now: Millis,
    status: number,
    reason: RefusalReason | null,
    rule: string | null,
    detail = '',
  ): void {
    this.tries.stop();
    this.account.close(now, status, reason, rule, detail);
    this.route = null;
    this.target = null;
    this.mirrored = null;
    this.hash = noHash;
    this.cookie = null;
    this.clock.stop();
  }
}
