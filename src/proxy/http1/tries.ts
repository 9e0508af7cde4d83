/**
 * Whom one request is with: one server after the other while they fail and policy or safety lets it be sent again,
 * and a second one beside the first where policy hedges. The exchange says when it is over with each.
 */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint, Outcome } from '../balance/endpoint.ts';
import type { EngineContext } from '../engine.ts';
import type { Reach, UpstreamFailure } from '../failure.ts';
import { responseFlag } from '../observe/flags.ts';
import { backoffMs } from '../resilience/backoff.ts';
import type { RetryBudget } from '../resilience/retry-budget.ts';
import { highWaterBytes } from '../transport.ts';
import { Failover } from '../upstream/failover.ts';
import type { RequestProtocol, UpstreamGroup } from '../upstream/upstreams.ts';
import type { Account } from './account.ts';
import type { ExchangeClient } from './exchange-client.ts';
import type { ResponseHead } from './head.ts';
import { Hedge, type Hedging } from './hedge.ts';
import type { Refusal } from './refusal.ts';
import { Replay } from './replay.ts';
import type { RequestClock } from './request-clock.ts';
import { isUnwanted, type RetryPlan } from './retry.ts';
import type { RouteTarget } from './route.ts';
import type { Asker, UpstreamConnection } from './upstream.ts';

/** Reused for request after request. */
export class Tries implements Hedging {
  /** The connection that the answer is waited for on; null while nobody is being asked. */
  upstream: UpstreamConnection | null = null;
  readonly replay = new Replay();
  private group: UpstreamGroup | null = null;
  private endpoint: BalancedEndpoint | null = null;
  private readonly failover = new Failover();
  private retries = 0;
  /** A second try beside the first. */
  private hedge: Hedge | null = null;
  /** Null between requests. */
  private target: RouteTarget | null = null;
  private retry: RetryPlan | null = null;
  private protocol: RequestProtocol = 'http1';
  private hash = 0;
  private readonly asker: Asker;
  private readonly client: ExchangeClient;
  private readonly account: Account;
  private readonly clock: RequestClock;
  private readonly context: EngineContext;

  constructor(
    asker: Asker,
    client: ExchangeClient,
    account: Account,
    clock: RequestClock,
    context: EngineContext,
  ) {
    this.asker = asker;
    this.client = client;
    this.account = account;
    this.clock = clock;
    this.context = context;
  }

  /** For a new request, which servers are spoken to about with `protocol`. `hash` is what balancing may go by. */
  start(target: RouteTarget, retry: RetryPlan | null, protocol: RequestProtocol, hash: number): void {
    this.target = target;
    this.retry = retry;
    this.protocol = protocol;
    this.hash = hash;
    this.retries = 0;
    this.failover.reset();
    this.budget.earn(this.clock.startedAt);
  }

  /** The request is over. */
  stop(): void {
    if (this.hedge !== null) this.dropHedge();
    this.target = null;
    this.retry = null;
  }

  /** One for all groups of a target: those that stand in would else have budgets that nothing was earned for. */
  private get budget(): RetryBudget {
    return this.target!.groups[0]!.retries;
  }

  /** Asks the first group that has somebody, and sends what there is of the request. */
  connect(now: Millis, fresh: boolean): boolean {
    const { failover } = this;
    const { groups } = this.target!;
    const endpoint = failover.pick(groups, now, this.hash);
    if (endpoint === null) return false;
    const group = groups[failover.groupIndex]!;
    const upstream = group.upstreamOf(endpoint).take(this.protocol, fresh);
    const counter = this.account.counter!;
    this.group = group;
    this.endpoint = endpoint;
    this.upstream = upstream;
    this.clock.triedAt = now;
    this.account.observation?.sentTo(upstream.upstream.name);
    upstream.attach(this.asker);
    for (const part of this.replay.parts) {
      counter.bytesSent += part.length;
      upstream.transport.write(part, 0, part.length);
    }
    if (upstream.transport.pendingBytes > highWaterBytes) this.client.transport.pause();
    return true;
  }

  /** Prefers whom has not failed just now; asks them all the same where there is nobody else and it may help. */
  connectAnew(now: Millis, mayAskAgain: boolean): boolean {
    if (this.connect(now, true)) return true;
    if (!mayAskAgain || this.failover.isFull) return false;
    this.failover.forgive();
    return this.connect(now, true);
  }

  /** Why nobody could be asked. */
  unavailable(): Refusal {
    return this.target!.unavailable(this.failover.refusedBy);
  }

  /** The endpoint has nothing to do with the request any more. */
  end(now: Millis, outcome: Outcome, tookMs: number): void {
    this.release()?.end(now, outcome, tookMs);
  }

  /** As `end`: the endpoint is asked too much. */
  turnedAway(now: Millis, outcome: Outcome): void {
    this.release()?.turnAway(now, outcome, this.clock.triedAt);
  }

  private release(): BalancedEndpoint | null {
    const { endpoint } = this;
    this.upstream = null;
    if (endpoint === null) return null;
    this.failover.avoid(this.group!, endpoint);
    this.endpoint = null;
    this.group = null;
    return endpoint;
  }

  /** The server agreed to carry bytes, which is all the success there is to see; `leave` follows instead of `end`. */
  reached(now: Millis, tookMs: number): void {
    this.settle();
    this.upstream = null;
    this.endpoint?.reached(now, this.clock.triedAt, tookMs);
  }

  /** What `reached` was told of is over. */
  leave(): void {
    this.endpoint?.leave();
    this.endpoint = null;
    this.group = null;
  }

  /** Whether policy rather asks again than to pass this answer on; then `goOn` follows. */
  declines(bytes: Buffer, head: ResponseHead): boolean {
    const { retry } = this;
    if (retry === null || !this.replay.complete || !isUnwanted(retry, bytes, head)) return false;
    if (this.retries < retry.maxRetries) return this.budget.spend(this.context.now());
    if (this.retries > 0) this.account.flags |= responseFlag.URX;
    return false;
  }

  /** After an answer that was declined: goes on with the other try, or with another server; false where there is none. */
  goOn(now: Millis): boolean {
    this.replay.seen = true;
    return this.takeHedge() || this.tryAgain(now, false);
  }

  /**
   * The same after a connection that broke before the answer, if this server cannot have acted on the request, or
   * acting twice does no harm.
   */
  survive(failed: UpstreamConnection, failure: UpstreamFailure, now: Millis): boolean {
    if (failure.reach !== 'unseen') this.replay.seen = true;
    if (this.takeHedge()) return true;
    if (!failed.silent || !this.mayRetry(failure.reach, now)) return false;
    // A connection that had been idle says nothing about its server: where there is no other, it is asked anew.
    const isStale = failure.reach === 'unknown' && failed.reused;
    return this.tryAgain(now, isStale || failure.mayAskAgain === true);
  }

  /** Policy's conditions, then what holds without any: once, where it is safe. */
  private mayRetry(reach: Reach, now: Millis): boolean {
    const { retry, retries } = this;
    if (!this.replay.complete || reach === 'answered' || retry?.maxRetries === 0) return false;
    const isAsked = retry !== null && retries < retry.maxRetries && retry[reach];
    // Asking one other is free: nothing reached an application. To ask all hosts for every request is a storm too.
    const hasMore = retries === 0 || (retry === null && this.failover.hasMore(this.target!.groups));
    if (reach === 'unseen' && hasMore) return true;
    if (!isAsked && retries > 0) {
      if (retry?.[reach]) this.account.flags |= responseFlag.URX;
      return false;
    }
    const isAllowed = isAsked || (retry === null && this.replay.idempotent);
    return isAllowed && this.budget.spend(now);
  }

  /** Sends the request again, now or after a while; false where nobody can be asked. */
  private tryAgain(now: Millis, mayAskAgain: boolean): boolean {
    const { retry } = this;
    this.retries++;
    const wait = retry === null ? 0 : backoffMs(retry, this.retries - 1, this.context.random);
    if (wait > 0) this.clock.waitUntil(now + wait);
    else if (!this.connectAnew(now, mayAskAgain || retry !== null)) return false;
    this.account.counter!.retries++;
    this.client.resumeInput();
    return true;
  }

  // A second try beside the first.

  /** The first has been silent for as long as policy says. */
  startHedge(now: Millis): void {
    const { group, endpoint } = this;
    if (group === null || endpoint === null || !this.replay.complete || !this.budget.spend(now)) return;
    const hedge = Hedge.beside(group, endpoint, this, this.asker, this.protocol, this.hash, now);
    if (hedge === null) return;
    this.hedge = hedge;
    this.account.observation?.sentTo(hedge.upstream.upstream.name);
    this.account.counter!.retries++;
    hedge.send(this.replay.parts);
  }

  hedgeAnswers(hedge: Hedge): void {
    const now = this.context.now();
    this.upstream?.abandon();
    this.end(now, 'abandoned', now - this.clock.triedAt);
    this.adopt(hedge);
  }

  hedgeFailed({ endpoint, triedAt }: Hedge, { outcome }: UpstreamFailure): void {
    const now = this.context.now();
    this.hedge = null;
    endpoint.end(now, outcome, now - triedAt);
  }

  /** Waits for the second try, where there is one. */
  private takeHedge(): boolean {
    if (this.hedge === null) return false;
    this.adopt(this.hedge);
    return true;
  }

  /** From here on it is the try that is waited for. */
  private adopt(hedge: Hedge): void {
    this.hedge = null;
    hedge.isChosen = true;
    this.group = hedge.group;
    this.endpoint = hedge.endpoint;
    this.upstream = hedge.upstream;
    this.clock.triedAt = hedge.triedAt;
  }

  /** An answer has begun: nobody else is asked any more. */
  settle(): void {
    this.replay.stop();
    if (this.hedge !== null) this.dropHedge();
  }

  private dropHedge(): void {
    this.hedge!.drop(this.context.now());
    this.hedge = null;
  }
}
