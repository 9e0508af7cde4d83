/**
 * One authenticated connection to the inbound listener: whoever is behind it, and what it carries. What the
 * peer may do is decided for each request and stream; the decision is remembered until the next configuration.
 */

import { declineOf } from '../failure.ts';
import type { Admission, Permissions } from '../http1/admission.ts';
import { countRefusedStream } from '../http1/count-refused.ts';
import { DownstreamConnection } from '../http1/downstream.ts';
import type { RequestHead } from '../http1/head.ts';
import { Refusal } from '../http1/refusal.ts';
import {
  type HttpRoute,
  isRefused,
  plainRoute,
  type RefusedRoute,
  type RequestRouter,
  type RouteTarget,
} from '../http1/route.ts';
import { carriedBy } from '../http1/route-table.ts';
import { Http2ServerSession } from '../http2/server-session.ts';
import { VersionDetection } from '../http2/version.ts';
import type { MuxStream } from '../mux/stream.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import { Detection } from '../relay/detection.ts';
import { leastStandingMs, TcpConnection } from '../relay/tcp.ts';
import type { Transport } from '../transport.ts';
import type { CarriedProtocol, RequestProtocol } from '../upstream/upstreams.ts';
import type { Protocol } from '../view.ts';
import type { LocalService } from './inbound-service.ts';
import type { Plane, VerifiedPeer } from './options.ts';

/** Where a peer looks up the service it called, in the configuration of the moment. */
export interface LocalServices {
  /** Changes with every configuration. */
  readonly generation: number;
  serviceFor(sni: string): LocalService | null;
}

interface Allowed {
  readonly target: RouteTarget;
  readonly route: HttpRoute;
  /** What each request has to pass; null for nothing. */
  readonly admission: Admission | null;
  /** Why byte streams are not served; null where they are. */
  readonly streamRefusal: Refusal | null;
}

export class InboundPeer implements RequestRouter {
  readonly clientAddress: string;
  readonly reconsidersTunnels = true;
  private readonly sni: string;
  private readonly peer: VerifiedPeer;
  private readonly services: LocalServices;
  private readonly plane: Plane;
  private readonly clientCertificate: Buffer;
  private decidedAt = -1;
  private decision: Allowed | RefusedRoute | null = null;
  private readonly requests = new Set<DownstreamConnection>();
  /** Connections that speak HTTP/2, or may turn out to. */
  private readonly http2 = new Set<Http2ServerSession | VersionDetection>();
  private readonly connections = new Set<TcpConnection>();
  /** Where it is still to be found out what the peer speaks. */
  private detection: Detection | null = null;
  private draining = false;

  constructor(sni: string, peer: VerifiedPeer, clientAddress: string, services: LocalServices, plane: Plane) {
    this.clientAddress = clientAddress;
    this.sni = sni;
    this.peer = peer;
    this.services = services;
    this.plane = plane;
    // Envoy's form, so that applications read what they read elsewhere.
    this.clientCertificate = Buffer.from(`x-forwarded-client-cert: URI=${peer.spiffeId}\r\n`);
  }

  get unread(): TrafficCounter {
    const service = this.services.serviceFor(this.sni)?.name ?? 'unknown';
    return this.plane.traffic.counter('destination', this.peer.service, service, 'http');
  }

  route(bytes: Buffer, head: RequestHead): HttpRoute | RefusedRoute {
    const decision = this.current();
    if (isRefused(decision)) return decision;
    const { admission, route, target } = decision;
    if (admission === null) return route;
    const refusal = admission.refusal(bytes, head, this.plane.context.now());
    return refusal === null ? route : { refusal, counter: target.counter };
  }

  private current(): Allowed | RefusedRoute {
    if (this.decision === null || this.decidedAt !== this.services.generation) {
      this.decidedAt = this.services.generation;
      this.decision = this.decide();
    }
    return this.decision;
  }

  private decide(): Allowed | RefusedRoute {
    const source = this.peer.service;
    const service = this.services.serviceFor(this.sni);
    if (service === null)
      return {
        refusal: new Refusal(404, 'no-route', `no service ${this.sni} on this host`),
        counter: this.unread,
      };
    const { traffic } = this.plane;
    const principals = { sourcePrincipal: this.peer.spiffeId, destinationPrincipal: service.spiffeId };
    const details = { subset: service.subset, ...principals };
    const counter = traffic.counter('destination', source, service.name, 'http', details);
    const access = service.accessOf(source);
    if (access.type === 'refused') return { refusal: access.refusal, counter };
    const target: RouteTarget = {
      counter,
      tcpCounter: traffic.counter('destination', source, service.name, 'tcp', details),
      groups: [service.group],
      addedHeaders: this.clientCertificate,
      requestCuts: null,
      responseEdits: null,
      hasher: null,
      // The caller's proxy keeps the time.
      streamIdleMs: Infinity,
      standingMs: leastStandingMs,
      unavailable: () => service.unavailable(),
    };
    const route = plainRoute(target, carriedBy(service.protocol), service.timeouts);
    return { target, route, admission: access.admission, streamRefusal: service.streamRefusal(source) };
  }

  /** A stream of the peer's session. */
  serveStream(stream: MuxStream, protocol: CarriedProtocol): void {
    const service = this.services.serviceFor(this.sni);
    if (this.draining) stream.decline('refused');
    else if (protocol !== 'tcp' && service?.protocol !== 'tcp') this.serveHttp(stream, protocol);
    else if (service !== null && isHttpOnly(service.protocol)) this.serveEither(stream);
    else this.serveTcp(stream, Buffer.alloc(0), false, service?.protocol === 'auto');
  }

  /** A connection of a peer that is not a proxy of ours: as ALPN says, or null for whatever it turns out to be. */
  serveConnection(transport: Transport, version: RequestProtocol | null): void {
    const service = this.services.serviceFor(this.sni);
    if (version === 'http2') this.serveHttp2(transport);
    else if (version === 'http1') this.serveHttp(transport, 'http1');
    else if (service !== null && isHttpOnly(service.protocol)) this.serveEither(transport);
    else if (service?.protocol === 'tcp') this.serveTcp(transport, Buffer.alloc(0), false, false);
    else
      this.detection = new Detection(
        transport,
        this.plane.context,
        (detected, first, finished, silent) => {
          this.detection = null;
          if (detected === 'tcp') this.serveTcp(transport, first, finished, silent);
          else this.serveDetected(transport, detected, first, 0, first.length);
        },
        () => {
          this.detection = null;
        },
      );
  }

  /** Requests by either version of HTTP, whatever was said before. */
  private serveEither(transport: Transport): void {
    const detection = new VersionDetection(
      transport,
      this.plane.context,
      (version, bytes, start, end) => {
        this.http2.delete(detection);
        this.serveDetected(transport, version, bytes, start, end);
      },
      () => this.http2.delete(detection),
    );
    this.http2.add(detection);
  }

  private serveDetected(
    transport: Transport,
    version: RequestProtocol,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const owner = version === 'http2' ? this.serveHttp2(transport) : this.serveHttp(transport, version);
    owner.onData(bytes, start, end);
  }

  private serveHttp2(transport: Transport): Http2ServerSession {
    const session = new Http2ServerSession(
      transport,
      this.plane.context,
      (stream) => new DownstreamConnection(stream, this, this.plane.context, () => {}, 'http2'),
      (over, problem) => {
        this.http2.delete(over);
        if (problem !== null)
          this.plane.violations.note('http2-broken', { peer: this.peer.spiffeId, problem });
      },
    );
    this.http2.add(session);
    if (this.draining) session.drain();
    return session;
  }

  /** `spoken` is what the client speaks, whatever carries its requests here. */
  private serveHttp(transport: Transport, spoken: RequestProtocol): DownstreamConnection {
    const over = (connection: DownstreamConnection): boolean => this.requests.delete(connection);
    const connection = new DownstreamConnection(transport, this, this.plane.context, over, spoken);
    this.requests.add(connection);
    if (this.draining) connection.drain();
    return connection;
  }

  /**
   * `guarded` keeps an eye on the client's first bytes: a client that calls HTTP a byte stream would otherwise
   * reach the application with identity headers of its own making.
   */
  private serveTcp(transport: Transport, first: Buffer, finished: boolean, guarded: boolean): void {
    const decision = this.current();
    if (isRefused(decision)) {
      this.refuseStream(transport, decision.refusal);
      return;
    }
    if (decision.streamRefusal !== null) {
      // Where requests are looked at one by one, a client that has said nothing yet may still send some.
      if (guarded && decision.admission !== null && !finished) this.serveEither(transport);
      else this.refuseStream(transport, decision.streamRefusal);
      return;
    }
    const connection = new TcpConnection(
      transport,
      decision.target,
      this.plane.context,
      first,
      finished,
      (over) => this.connections.delete(over),
    );
    this.connections.add(connection);
    const onHttp = (begun: Buffer, version: RequestProtocol): void =>
      this.serveDetected(transport, version, begun, 0, begun.length);
    connection.start(guarded ? onHttp : null);
  }

  private refuseStream(transport: Transport, refusal: Refusal): void {
    const service = this.services.serviceFor(this.sni);
    const { traffic } = this.plane;
    const counter = traffic.counter('destination', this.peer.service, service?.name ?? 'unknown', 'tcp');
    countRefusedStream(counter, refusal, this.plane.context.now());
    const decline = declineOf(refusal.reason, false);
    if (decline === null || !transport.decline(decline)) transport.destroy();
  }

  /**
   * A new configuration: byte streams and tunnels that are not allowed any more are cut. Requests are decided one by
   * one, and those under way finish.
   */
  reconsider(): void {
    const before = permissionsOf(this.decision);
    const decision = this.current();
    const isRefusedAll = isRefused(decision);
    if (isRefusedAll || decision.streamRefusal !== null)
      for (const connection of [...this.connections]) connection.abort();
    const permissions = permissionsOf(decision);
    if (isRefusedAll) this.cutTunnels(() => false);
    else if (permissions !== null && permissions !== before)
      this.cutTunnels((upgrade) => permissions.mayStay(upgrade));
  }

  private cutTunnels(mayStay: (upgrade: Buffer) => boolean): void {
    for (const connection of [...this.requests]) {
      const { upgrade } = connection;
      if (upgrade !== null && !mayStay(upgrade)) connection.abort();
    }
  }

  /** Takes nothing new; what is under way may finish. */
  drain(): void {
    this.draining = true;
    this.detection?.drain();
    for (const connection of [...this.requests]) connection.drain();
    for (const connection of [...this.http2]) connection.drain();
  }

  abort(): void {
    this.detection?.abort();
    for (const connection of [...this.requests]) connection.abort();
    for (const connection of [...this.http2]) connection.abort();
    for (const connection of [...this.connections]) connection.abort();
  }
}

function permissionsOf(decision: Allowed | RefusedRoute | null): Permissions | null {
  return decision === null || isRefused(decision) ? null : (decision.admission?.permissions ?? null);
}

/** Whether every connection to a service of this protocol carries requests. */
function isHttpOnly(protocol: Protocol): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}
