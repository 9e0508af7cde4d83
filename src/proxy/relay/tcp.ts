/** One TCP connection of a client: finds it a server, trying another if the first cannot be reached, then relays. */
import type { Millis } from '../../core.ts';
import { noHash } from '../balance/chooser.ts';
import { type BalancedEndpoint, notMeasured, type Outcome } from '../balance/endpoint.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { declineOf, failureOf } from '../failure.ts';
import { Refusal } from '../http1/refusal.ts';
import { type ResponseFlags, responseFlag } from '../observe/flags.ts';
import type { Observation } from '../observe/observation.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import { type CloseReason, nobody, type Transport, type TransportOwner } from '../transport.ts';
import { Failover, triesEach } from '../upstream/failover.ts';
import type { UpstreamGroup } from '../upstream/upstreams.ts';
import { type OnHttp, Relay, type RelayEnd } from './relay.ts';

export interface TcpRoute {
  /** In order: see `Failover`. */
  readonly groups: readonly UpstreamGroup[];
  readonly tcpCounter: TrafficCounter;
  /** How long nothing may come from either side; `Infinity` for ever. */
  readonly streamIdleMs: number;
  /** How long a connection has to stand to be served, though its server waits for the client to speak. */
  readonly standingMs: number;
  /** Why no group has an endpoint to offer, by the index of the one that says so. */
  unavailable(groupIndex: number): Refusal;
}

/** Statuses under which the counters file a connection: there are only classes. */
const servedStatus = 200;
const failedStatus = 500;

/** The least that `TcpRoute.standingMs` is: where there is a way to the application already. */
export const leastStandingMs = 2000;
/** For word of it to come back, and for clocks that tick once a second. */
const standingMarginMs = 1000;

/** Longer than a server's proxy takes to find that it cannot reach its application, with so long for each try. */
export function standingMsOf(localConnectTimeoutMs: number): number {
  return Math.max(leastStandingMs, triesEach * localConnectTimeoutMs + standingMarginMs);
}

export class TcpConnection implements TransportOwner, Timed {
  /** When it has stood for long enough; counted from when there is a way to the server's proxy. */
  deadlineMs: Millis = Infinity;
  private readonly client: Transport;
  private readonly route: TcpRoute;
  private readonly context: EngineContext;
  private readonly onOver: (connection: TcpConnection) => void;
  private readonly startedAt: Millis;
  /** Null where nobody wants to know of it. */
  private readonly observation: Observation | null;
  /** What the client sent before there was a server. It is paused, so this is bounded by one read. */
  private first: Buffer;
  private clientFinished: boolean;
  private readonly failover = new Failover();
  /** Of the endpoint that was picked last. */
  private group: UpstreamGroup | null = null;
  /** And of that try: when it began, and who it was of once there is a way to it, until it has an outcome. */
  private triedAt: Millis = 0;
  private unproven: BalancedEndpoint | null = null;
  private relay: Relay | null = null;
  private over = false;
  private onHttp: OnHttp | null = null;

  constructor(
    client: Transport,
    route: TcpRoute,
    context: EngineContext,
    first: Buffer,
    clientFinished: boolean,
    onOver: (connection: TcpConnection) => void,
  ) {
    this.client = client;
    this.route = route;
    this.context = context;
    this.first = first;
    this.clientFinished = clientFinished;
    this.onOver = onOver;
    this.startedAt = context.now();
    const { tcpCounter } = route;
    tcpCounter.opened();
    this.observation = tcpCounter.observer?.beginStream(tcpCounter, this.startedAt) ?? null;
    client.owner = this;
    client.pause();
  }

  /** `onHttp` is as `Relay.onHttp`: it takes the client over, and this connection is done with it. */
  start(onHttp: OnHttp | null): void {
    this.onHttp = onHttp;
    const endpoint = this.pick();
    if (endpoint === null) this.refuse(this.route.unavailable(this.failover.refusedBy));
    else this.connect(endpoint);
  }

  private pick(): BalancedEndpoint | null {
    const { failover } = this;
    const { groups } = this.route;
    const endpoint = failover.pick(groups, this.context.now(), noHash);
    if (endpoint !== null) this.group = groups[failover.groupIndex]!;
    return endpoint;
  }

  /** Another endpoint than `failed`, as long as there is a group that not too many tries failed in. */
  private pickOther(failed: BalancedEndpoint): BalancedEndpoint | null {
    this.failover.avoid(this.group!, failed);
    return this.failover.hasMore(this.route.groups) ? this.pick() : null;
  }

  private connect(endpoint: BalancedEndpoint): void {
    const { dialer, name } = this.group!.upstreamOf(endpoint);
    this.triedAt = this.context.now();
    this.observation?.sentTo(name);
    dialer.open('tcp', (transport) => {
      if (transport === null) this.failedToConnect(endpoint);
      else this.connected(endpoint, transport);
    });
  }

  private failedToConnect(endpoint: BalancedEndpoint): void {
    this.endTry(endpoint, 'connect-failure');
    if (this.over) return;
    const other = this.pickOther(endpoint);
    if (other === null) this.refuse(new Refusal(503, 'connect-failure', 'no connection'));
    else this.retry(other);
  }

  private retry(endpoint: BalancedEndpoint): void {
    this.route.tcpCounter.retries++;
    this.connect(endpoint);
  }

  /** The other proxy turned the stream away, so nobody has read what the client sent: another one may. */
  private takeBack(
    endpoint: BalancedEndpoint,
    reason: CloseReason,
    sent: Buffer,
    finished: boolean,
  ): boolean {
    const other = this.pickOther(endpoint);
    if (other === null) return false;
    this.endTry(endpoint, failureOf(reason).outcome);
    this.relay = null;
    this.first = sent;
    this.clientFinished = finished;
    this.client.owner = this;
    this.client.pause();
    this.retry(other);
    return true;
  }

  private connected(endpoint: BalancedEndpoint, transport: Transport): void {
    if (this.over) {
      this.endTry(endpoint, 'abandoned');
      transport.destroy();
      return;
    }
    const { tcpCounter } = this.route;
    this.awaitProof(endpoint);
    const relay = new Relay(this.client, transport, tcpCounter, (end) => {
      const isOwnDoing = end === 'ended' || end === 'client-reset' || end === 'idle';
      const wasServed = isOwnDoing || isBreak(end);
      this.endTry(endpoint, isOwnDoing ? 'abandoned' : failureOf(end).outcome);
      if (wasServed) this.conclude(servedStatus, flagsOf(end), '');
      else {
        const { reason, detail } = failureOf(end);
        this.conclude(failedStatus, tcpCounter.refuse(reason, null), detail);
      }
      this.leave();
    });
    this.relay = relay;
    relay.endWhenIdle(this.route.streamIdleMs, this.context);
    relay.onHttp = this.onHttp;
    relay.onServed = () => this.proved();
    relay.onUnserved = (reason, sent, finished) => this.takeBack(endpoint, reason, sent, finished);
    relay.feedClient(this.first);
    this.first = Buffer.alloc(0);
    if (this.clientFinished) relay.finishClient();
    this.client.resume();
  }

  /** That the other proxy was reached says nothing about the application behind it. */
  private awaitProof(endpoint: BalancedEndpoint): void {
    this.unproven = endpoint;
    this.deadlineMs = this.context.now() + this.route.standingMs;
    this.context.deadlines.add(this);
  }

  onDeadline(): void {
    this.proved();
  }

  /** The server serves it. How the connection ends says little after that. */
  private proved(): void {
    const { unproven } = this;
    this.settleProof();
    unproven?.reached(this.context.now(), this.triedAt);
  }

  private settleProof(): void {
    this.unproven = null;
    this.context.deadlines.remove(this);
  }

  /**
   * Every try of an endpoint ends here, once. One that stood and yet reached no application, for its proxy took longer
   * than it may, is no success after all.
   */
  private endTry(endpoint: BalancedEndpoint, outcome: Outcome): void {
    const isProven = this.relay !== null && this.unproven === null;
    this.settleProof();
    if (isProven && outcome !== 'connect-failure') endpoint.leave();
    else endpoint.end(this.context.now(), outcome, notMeasured, this.triedAt);
  }

  /** Every connection ends here, once. */
  private conclude(status: number, flags: ResponseFlags, detail: string): void {
    const { observation, relay, startedAt } = this;
    const now = this.context.now();
    this.route.tcpCounter.finished(status, now - startedAt, flags);
    if (observation === null) return;
    observation.detail = detail;
    observation.end(now, status, flags, relay?.sentBytes ?? 0, relay?.receivedBytes ?? 0);
  }

  private refuse({ reason, rule, text }: Refusal): void {
    this.conclude(failedStatus, this.route.tcpCounter.refuse(reason, rule), text);
    const decline = declineOf(reason, false);
    if (decline === null || !this.client.decline(decline)) this.client.destroy();
    this.leave();
  }

  private leave(): void {
    if (this.over) return;
    this.over = true;
    this.onOver(this);
  }

  /** Breaks it, so that both ends see a cut. */
  abort(): void {
    if (this.over) return;
    if (this.relay !== null) this.relay.cut();
    else {
      this.client.owner = nobody;
      this.client.destroy();
      this.gone();
    }
  }

  /** The client is, before there was a server for it. */
  private gone(): void {
    if (!this.over) this.conclude(servedStatus, responseFlag.DC, '');
    this.leave();
  }

  /** Until the relay takes over, this is the owner of the client. */
  onData(bytes: Buffer, start: number, end: number): void {
    this.first = Buffer.concat([this.first, bytes.subarray(start, end)]);
  }
  onFinish(): void {
    this.clientFinished = true;
  }
  onClose(_reason: CloseReason): void {
    this.gone();
  }
  onDrain(): void {}
}

/** Of a connection that was relayed until one of the two had enough. */
function flagsOf(end: RelayEnd): ResponseFlags {
  if (end === 'client-reset') return responseFlag.DC;
  if (end === 'idle') return responseFlag.SI;
  return isBreak(end) ? responseFlag.UC : 0;
}

/** Whether it ended from the server's side, after it had reached an application. */
function isBreak(end: RelayEnd): boolean {
  return end === 'reset' || end === 'cut' || end === 'failed';
}
