/** Transports in memory and a clock that stands still, to drive the engines without sockets. */
import { seededRandom } from '../../src/core.ts';
import { Deadlines } from '../../src/proxy/deadlines.ts';
import type { EngineContext } from '../../src/proxy/engine.ts';
import { DownstreamConnection } from '../../src/proxy/http1/downstream.ts';
import { Refusal } from '../../src/proxy/http1/refusal.ts';
import {
  type HttpRoute,
  plainRoute,
  type RequestRouter,
  type RouteTarget,
} from '../../src/proxy/http1/route.ts';
import { idleOnly } from '../../src/proxy/http1/timeouts.ts';
import { TrafficCounter } from '../../src/proxy/observe/traffic.ts';
import { leastStandingMs } from '../../src/proxy/relay/tcp.ts';
import {
  type CloseReason,
  type DeclineReason,
  nobody,
  type Transport,
  type TransportOwner,
  takeKept,
} from '../../src/proxy/transport.ts';
import { type Dialer, Upstream, UpstreamGroup } from '../../src/proxy/upstream/upstreams.ts';

/** Keeps what is written; the test plays the peer. */
export class MemoryTransport implements Transport {
  owner: TransportOwner = nobody;
  pendingBytes = 0;
  readonly written: Buffer[] = [];
  paused = false;
  /** How this side ended it, if it did. */
  end: 'finish' | 'close' | 'destroy' | null = null;

  write(bytes: Buffer, start: number, end: number): void {
    this.written.push(Buffer.from(bytes.subarray(start, end)));
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  finish(): void {
    this.end ??= 'finish';
  }
  close(): void {
    this.owner = nobody;
    this.end ??= 'close';
  }
  destroy(): void {
    this.owner = nobody;
    this.end ??= 'destroy';
  }
  /** Set where the peer is to be taken for a proxy of ours: then `declined` says what it was told. */
  isProxy = false;
  declined: DeclineReason | null = null;
  decline(reason: DeclineReason): boolean {
    if (!this.isProxy) return false;
    this.declined = reason;
    this.destroy();
    return true;
  }
  /** Everything written so far, which is then forgotten. */
  take(): string {
    return Buffer.concat(this.written.splice(0)).toString('latin1');
  }
  /** The peer sends. As with a real read, what nobody keeps is overwritten. */
  receive(text: string | Buffer): void {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : Buffer.from(text);
    takeKept();
    this.owner.onData(bytes, 0, bytes.length);
    if (!takeKept()) bytes.fill('*');
  }
  /** The connection breaks. */
  break(reason: CloseReason): void {
    const { owner } = this;
    this.owner = nobody;
    owner.onClose(reason);
  }
}

export class TestEngine {
  nowMs = 1000;
  readonly context: EngineContext;
  readonly group: UpstreamGroup;
  readonly counter = new TrafficCounter('source', 'web', 'api', 'http');
  /** Where `accept` sends requests when it is told nothing else. */
  readonly target: RouteTarget;
  /** Every connection opened to a server, by endpoint id, in order. */
  readonly dialed: { id: string; transport: MemoryTransport }[] = [];

  constructor(endpointIds: readonly string[] = ['one']) {
    const now = (): number => this.nowMs;
    const random = seededRandom(7);
    this.context = { now, random, deadlines: new Deadlines(), promptDeadlines: new Deadlines() };
    this.group = this.groupOf(endpointIds);
    this.target = this.targetOf([this.group]);
  }

  groupOf(endpointIds: readonly string[]): UpstreamGroup {
    const group = new UpstreamGroup(this.context.random);
    group.update(
      endpointIds.map((id) => ({ upstream: new Upstream(id, this.dialerOf(id), this.context), weight: 1 })),
    );
    return group;
  }

  targetOf(groups: readonly UpstreamGroup[], more: Partial<RouteTarget> = {}): RouteTarget {
    return {
      counter: this.counter,
      tcpCounter: this.counter,
      groups,
      addedHeaders: null,
      requestCuts: null,
      responseEdits: null,
      hasher: null,
      streamIdleMs: Infinity,
      standingMs: leastStandingMs,
      unavailable: () => new Refusal(503, 'no-healthy-upstream', 'none'),
      ...more,
    };
  }

  private dialerOf(id: string): Dialer {
    const dial = (): MemoryTransport => {
      const transport = new MemoryTransport();
      this.dialed.push({ id, transport });
      return transport;
    };
    return { dial, open: (_protocol, done) => done(dial()) };
  }

  /** The server side of the connection opened last. */
  get server(): MemoryTransport {
    const last = this.dialed.at(-1);
    if (last === undefined) throw new Error('no connection was opened');
    return last.transport;
  }

  accept(more: Partial<HttpRoute> = {}): { client: MemoryTransport; connection: DownstreamConnection } {
    const route: HttpRoute = { ...plainRoute(this.target, null, idleOnly), ...more };
    return this.acceptBy({ route: () => route, clientAddress: '127.0.0.1', unread: this.counter });
  }

  acceptBy(router: RequestRouter): { client: MemoryTransport; connection: DownstreamConnection } {
    const client = new MemoryTransport();
    return { client, connection: new DownstreamConnection(client, router, this.context, () => {}) };
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.context.promptDeadlines.expire(this.nowMs);
    this.context.deadlines.expire(this.nowMs);
  }
}
