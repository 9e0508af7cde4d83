/** One connection of a local application: finds out what it speaks, then carries its requests or its bytes. */
import type { Caller } from '../caller.ts';
import { countRefusedStream } from '../http1/count-refused.ts';
import { DownstreamConnection } from '../http1/downstream.ts';
import { Refusal } from '../http1/refusal.ts';
import { drawTarget, isRefused } from '../http1/route.ts';
import { Http2ServerSession } from '../http2/server-session.ts';
import { VersionDetection } from '../http2/version.ts';
import { Detection } from '../relay/detection.ts';
import { TcpConnection } from '../relay/tcp.ts';
import type { Transport, TransportOwner } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import type { Plane } from './options.ts';
import { OutboundRouter } from './outbound-router.ts';
import type { OutboundRoutes } from './outbound-routes.ts';

/** Something a listener carries. */
export interface Carried {
  abort(): void;
  drain?(): void;
}

/** What a listener carries, and whether it takes anything new. */
export interface Carrying {
  readonly carried: Set<Carried>;
  readonly draining: boolean;
}

const noByteStreams = new Refusal(404, 'no-route', 'no route for byte streams');

export class OutboundClient {
  private readonly transport: Transport;
  private readonly caller: Caller;
  /** Null where each request says where it wants to go. */
  private readonly destination: string | null;
  private readonly address: string;
  private readonly listener: Carrying;
  private readonly routes: OutboundRoutes;
  private readonly plane: Plane;

  constructor(
    transport: Transport,
    caller: Caller,
    address: string,
    destination: string | null,
    listener: Carrying,
    routes: OutboundRoutes,
    plane: Plane,
  ) {
    this.transport = transport;
    this.caller = caller;
    this.address = address;
    this.destination = destination;
    this.listener = listener;
    this.routes = routes;
    this.plane = plane;
  }

  serve(): void {
    const { destination } = this;
    const protocol = destination === null ? 'http' : this.routes.protocolOf(destination);
    if (destination === null || (protocol !== 'tcp' && protocol !== 'auto')) this.detectVersion();
    else if (protocol === 'tcp') this.serveTcp(destination, Buffer.alloc(0), false, false);
    else this.detect(destination);
  }

  /** It carries requests, by either version of HTTP. */
  private detectVersion(): void {
    const { carried } = this.listener;
    const detection = new VersionDetection(
      this.transport,
      this.plane.context,
      (version, bytes, start, end) => {
        carried.delete(detection);
        this.serveDetected(version).onData(bytes, start, end);
      },
      () => carried.delete(detection),
    );
    carried.add(detection);
  }

  private serveDetected(version: RequestProtocol): TransportOwner {
    return version === 'http2' ? this.serveHttp2() : this.serveHttp(this.transport, version);
  }

  private serveHttp2(): Http2ServerSession {
    const { carried, draining } = this.listener;
    const { context, violations } = this.plane;
    const router = new OutboundRouter(this.routes, this.caller, this.destination, this.address);
    const session = new Http2ServerSession(
      this.transport,
      context,
      (stream) => new DownstreamConnection(stream, router, context, () => {}, 'http2'),
      (over, problem) => {
        carried.delete(over);
        if (problem !== null) violations.note('http2-broken', { client: this.address, problem });
      },
    );
    carried.add(session);
    if (draining) session.drain();
    return session;
  }

  private detect(destination: string): void {
    const { carried } = this.listener;
    const detection = new Detection(
      this.transport,
      this.plane.context,
      (detected, first, finished, silent) => {
        carried.delete(detection);
        if (detected === 'tcp') this.serveTcp(destination, first, finished, silent);
        else this.serveDetected(detected).onData(first, 0, first.length);
      },
      () => carried.delete(detection),
    );
    carried.add(detection);
  }

  /** `spoken` is what the application speaks, whatever carries its requests here. */
  private serveHttp(transport: Transport, spoken: RequestProtocol): DownstreamConnection {
    const { carried, draining } = this.listener;
    const router = new OutboundRouter(this.routes, this.caller, this.destination, this.address);
    const connection = new DownstreamConnection(
      transport,
      router,
      this.plane.context,
      (over) => carried.delete(over),
      spoken,
    );
    carried.add(connection);
    if (draining) connection.drain();
    return connection;
  }

  private serveTcp(destination: string, first: Buffer, finished: boolean, silent: boolean): void {
    const { carried } = this.listener;
    const table = this.routes.find(this.caller, destination);
    const route = isRefused(table) ? null : table.last;
    if (route === null) {
      this.refuseTcp(destination, isRefused(table) ? table.refusal : noByteStreams);
      return;
    }
    const target = drawTarget(route, this.plane.context.random);
    const connection = new TcpConnection(
      this.transport,
      target,
      this.plane.context,
      first,
      finished,
      (over) => carried.delete(over),
    );
    carried.add(connection);
    // A client that was only slow to begin may still turn out to speak HTTP.
    const onHttp = (begun: Buffer, version: RequestProtocol): void =>
      this.serveDetected(version).onData(begun, 0, begun.length);
    connection.start(silent ? onHttp : null);
  }

  private refuseTcp(destination: string, refusal: Refusal): void {
    const counter = this.plane.traffic.counter(
      'source',
      this.caller.service ?? 'unknown',
      this.routes.serviceOf(destination),
      'tcp',
    );
    countRefusedStream(counter, refusal, this.plane.context.now());
    this.transport.destroy();
  }
}
