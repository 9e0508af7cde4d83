/**
 * A second try of a request, sent while the first is still silent: whichever answers first is the one (Dean and
 * Barroso, "The Tail at Scale", CACM 56 (2), 2013). Once it is chosen, all that its connection tells goes on to
 * the exchange.
 */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint } from '../balance/endpoint.ts';
import type { UpstreamFailure } from '../failure.ts';
import type { Transport } from '../transport.ts';
import type { RequestProtocol, UpstreamGroup } from '../upstream/upstreams.ts';
import type { FieldEdits } from './field-edits.ts';
import type { ResponseHead } from './head.ts';
import type { Asker, UpstreamConnection } from './upstream.ts';

/** Who sent the second try. */
export interface Hedging {
  /** It answers first: the other try is over, and this one is what is waited for. */
  hedgeAnswers(hedge: Hedge): void;
  /** Its connection broke, and has let go. */
  hedgeFailed(hedge: Hedge, failure: UpstreamFailure): void;
}

export class Hedge implements Asker {
  readonly group: UpstreamGroup;
  readonly endpoint: BalancedEndpoint;
  readonly upstream: UpstreamConnection;
  readonly triedAt: Millis;
  /** Whether it is what the exchange waits for. */
  isChosen = false;
  private readonly owner: Hedging;
  /** Whoever waits for the answer. */
  private readonly exchange: Asker;

  /** With another endpoint of `group` than `first`; null where there is none. */
  static beside(
    group: UpstreamGroup,
    first: BalancedEndpoint,
    owner: Hedging,
    exchange: Asker,
    protocol: RequestProtocol,
    hash: number,
    now: Millis,
  ): Hedge | null {
    const other = group.pick(now, first.id, hash);
    if (other === null) return null;
    return new Hedge(owner, exchange, group, other, group.upstreamOf(other).take(protocol, false), now);
  }

  private constructor(
    owner: Hedging,
    exchange: Asker,
    group: UpstreamGroup,
    endpoint: BalancedEndpoint,
    upstream: UpstreamConnection,
    now: Millis,
  ) {
    this.owner = owner;
    this.exchange = exchange;
    this.group = group;
    this.endpoint = endpoint;
    this.upstream = upstream;
    this.triedAt = now;
  }

  send(parts: readonly Buffer[]): void {
    this.upstream.attach(this);
    for (const part of parts) this.upstream.transport.write(part, 0, part.length);
  }

  /** The other try has answered. */
  drop(now: Millis): void {
    this.upstream.abandon();
    this.endpoint.end(now, 'abandoned', now - this.triedAt);
  }

  get minorVersion(): number {
    return this.exchange.minorVersion;
  }
  get isHeadRequest(): boolean {
    return this.exchange.isHeadRequest;
  }
  get wantsUpgrade(): boolean {
    return this.exchange.wantsUpgrade;
  }
  get requestDone(): boolean {
    return this.exchange.requestDone;
  }
  get isGrpc(): boolean {
    return this.exchange.isGrpc;
  }
  set grpcStatus(status: number) {
    this.exchange.grpcStatus = status;
  }
  get keepAlive(): boolean {
    return this.exchange.keepAlive;
  }
  set keepAlive(keepAlive: boolean) {
    this.exchange.keepAlive = keepAlive;
  }
  get unreadBytes(): number {
    return this.exchange.unreadBytes;
  }
  get responseEdits(): FieldEdits | null {
    return this.exchange.responseEdits;
  }
  resumeInput(): void {
    if (this.isChosen) this.exchange.resumeInput();
  }
  /** Before it is chosen, what is no answer yet is nobody's. */
  sendInformational(bytes: Buffer): void {
    if (this.isChosen) this.exchange.sendInformational(bytes);
  }
  declines(bytes: Buffer, head: ResponseHead): boolean {
    if (!this.isChosen) this.owner.hedgeAnswers(this);
    return this.exchange.declines(bytes, head);
  }
  answerDeclined(): void {
    this.exchange.answerDeclined();
  }
  startResponse(status: number, bytes: Buffer, now: Millis): void {
    this.exchange.startResponse(status, bytes, now);
  }
  sendBody(bytes: Buffer, start: number, end: number): void {
    this.exchange.sendBody(bytes, start, end);
  }
  finishResponse(now: Millis): void {
    this.exchange.finishResponse(now);
  }
  upstreamFailed(failed: UpstreamConnection, failure: UpstreamFailure): void {
    if (this.isChosen) this.exchange.upstreamFailed(failed, failure);
    else this.owner.hedgeFailed(this, failure);
  }
  becomeTunnel(response: Buffer, upstream: Transport): void {
    if (!this.isChosen) this.owner.hedgeAnswers(this);
    this.exchange.becomeTunnel(response, upstream);
  }
}
