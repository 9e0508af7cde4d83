/**
 * One authenticated connection to the inbound listener: whoever is behind it, and what it carries. What the
 * peer may do is decided for each request and stream; the decision is remembered until the next configuration.
 */

import { Detection } from '../detection.ts';
import { declineOf } from '../failure.ts';
import type { Admission } from '../http1/admission.ts';
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
import type { MuxStream } from '../mux/stream.ts';
import type { TrafficCounter } from '../stats.ts';
import { TcpConnection } from '../tcp.ts';
import type { Transport } from '../transport.ts';
import type { CarriedProtocol, RequestProtocol } from '../upstreams.ts';
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
  private readonly sni: string;
  private readonly peer: VerifiedPeer;
  private readonly services: LocalServices;
  private readonly plane: Plane;
  private readonly clientCertificate: Buffer;
  private decidedAt = -1;
  private decision: Allowed | RefusedRoute | null = null;
  private readonly requests = new Set<DownstreamConnection>();
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
      unavailable: () => service.unavailable(),
    };
    const route = plainRoute(target, carriedBy(service.protocol), service.timeouts);
    return { target, route, admission: access.admission, streamRefusal: service.streamRefusal(source) };
  }

  /** A stream of the peer's session. */
  serveStream(stream: MuxStream, protocol: CarriedProtocol): void {
    const service = this.services.serviceFor(this.sni);
    const isHttp = protocol !== 'tcp' && service?.protocol !== 'tcp';
    if (this.draining) stream.decline('refused');
    else if (isHttp || service?.protocol === 'http')
      this.serveHttp(stream, protocol === 'http2' ? 'http2' : 'http1');
    else this.serveTcp(stream, Buffer.alloc(0), false, service?.protocol === 'auto');
  }

  /** A connection of a peer that is not a proxy of ours: `http/1.1` by ALPN, or whatever it turns out to be. */
  serveConnection(transport: Transport, isHttp: boolean): void {
    const service = this.services.serviceFor(this.sni);
    if (isHttp || service?.protocol === 'http') this.serveHttp(transport);
    else if (service !== null && service.protocol !== 'auto')
      this.serveTcp(transport, Buffer.alloc(0), false, false);
    else
      this.detection = new Detection(
        transport,
        this.plane.context,
        (detected, first, finished, silent) => {
          this.detection = null;
          if (detected !== 'http1') this.serveTcp(transport, first, finished, silent);
          else this.serveHttp(transport).onData(first, 0, first.length);
        },
        () => {
          this.detection = null;
        },
      );
  }

  private serveHttp(transport: Transport, spoken: RequestProtocol = 'http1'): DownstreamConnection {
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
      if (guarded && decision.admission !== null && !finished) this.serveHttp(transport);
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
    connection.start(guarded ? (first) => this.serveHttp(transport).onData(first, 0, first.length) : null);
  }

  private refuseStream(transport: Transport, refusal: Refusal): void {
    const service = this.services.serviceFor(this.sni);
    const { traffic } = this.plane;
    const counter = traffic.counter('destination', this.peer.service, service?.name ?? 'unknown', 'tcp');
    countRefusedStream(counter, refusal, this.plane.context.now());
    const decline = declineOf(refusal.reason, false);
    if (decline === null || !transport.decline(decline)) transport.destroy();
  }

  /** A new configuration: byte streams that are not allowed any more are cut; requests are decided one by one. */
  reconsider(): void {
    const decision = this.current();
    const isRefusedAll = isRefused(decision);
    if (isRefusedAll || decision.streamRefusal !== null)
      for (const connection of [...this.connections]) connection.abort();
    if (isRefusedAll)
      for (const connection of [...this.requests]) if (connection.isTunnel) connection.abort();
  }

  /** Takes nothing new; what is under way may finish. */
  drain(): void {
    this.draining = true;
    this.detection?.drain();
    for (const connection of [...this.requests]) connection.drain();
  }

  abort(): void {
    this.detection?.abort();
    for (const connection of [...this.requests]) connection.abort();
    for (const connection of [...this.connections]) connection.abort();
  }
}
