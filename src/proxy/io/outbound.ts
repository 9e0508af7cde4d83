/** One plaintext listener for the applications of this host: finds out who calls and where to, then carries it. */
import { createServer, type Socket } from 'node:net';
import type { CallerRule, OutboundListener as ListenerConfig } from '../config.ts';
import type { ListenerStatus } from '../dataplane.ts';
import { Detection } from '../detection.ts';
import { DownstreamConnection } from '../http1/downstream.ts';
import { Refusal } from '../http1/refusal.ts';
import { drawTarget, isRefused } from '../http1/route.ts';
import { TcpConnection } from '../tcp.ts';
import { nobody, type Transport } from '../transport.ts';
import { BoundServer, logBind } from './listener.ts';
import type { Plane } from './options.ts';
import { OutboundRouter } from './outbound-router.ts';
import type { OutboundRoutes } from './outbound-routes.ts';
import { SocketTransport } from './socket.ts';

const noByteStreams = new Refusal(404, 'no-route', 'no route for byte streams');

/** Something a listener carries. */
interface Carried {
  abort(): void;
  drain?(): void;
}

export class OutboundListener {
  private config: ListenerConfig;
  private readonly routes: OutboundRoutes;
  private readonly plane: Plane;
  private server: BoundServer | null = null;
  private readonly carried = new Set<Carried>();
  private draining = false;

  constructor(config: ListenerConfig, routes: OutboundRoutes, plane: Plane) {
    this.config = config;
    this.routes = routes;
    this.plane = plane;
  }

  get connectionCount(): number {
    return this.carried.size;
  }

  get status(): ListenerStatus {
    const { id, address, port } = this.config;
    return this.server?.status ?? { id, address, port, error: 'not bound yet' };
  }

  serves(address: string, port: number): boolean {
    return this.config.address === address && this.config.port === port;
  }

  /** Connections from here on follow `config`, whose address is the same as before. */
  update(config: ListenerConfig): void {
    this.config = config;
  }

  /** Binds unless it is bound already. */
  async bind(): Promise<void> {
    if (this.server?.accepts) return;
    const before = this.server;
    const { id, address, port } = this.config;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket));
    this.server = await BoundServer.bind(id, address, port, server, (code) =>
      this.plane.log('warn', 'accept-failed', { id, code }),
    );
    logBind(this.plane.log, before, this.server);
  }

  private accept(socket: Socket): void {
    const transport = new SocketTransport(socket, this.plane.context, true);
    this.findCaller(this.config.caller, socket, transport, (source) => this.serve(transport, source));
  }

  /** Who calls is found out once per connection; the kernel is asked only where several services could be it. */
  private findCaller(
    rule: CallerRule,
    socket: Socket,
    transport: Transport,
    found: (source: string | null) => void,
  ): void {
    if (rule.type === 'service') {
      found(rule.service);
      return;
    }
    if (Object.keys(rule.byUid).length === 0) {
      found(rule.otherwise);
      return;
    }
    let gone = false;
    transport.pause();
    transport.owner = {
      ...nobody,
      onClose() {
        gone = true;
      },
    };
    // The caller's end of the connection is the one whose owner counts.
    const ends = {
      localAddress: socket.remoteAddress ?? '',
      localPort: socket.remotePort ?? 0,
      remoteAddress: socket.localAddress ?? '',
      remotePort: socket.localPort ?? 0,
    };
    this.plane.uidOfSocket(ends, (uid) => {
      if (gone) return;
      found(uid === null ? null : (rule.byUid[String(uid)] ?? rule.otherwise));
      transport.resume();
    });
  }

  private serve(transport: Transport, source: string | null): void {
    const { destination } = this.config;
    const protocol = destination === null ? 'http' : this.routes.protocolOf(destination);
    if (protocol === 'http' || destination === null) this.serveHttp(transport, source, destination);
    else if (protocol !== 'auto')
      this.serveTcp(transport, source, destination, Buffer.alloc(0), false, false);
    else {
      const detection = new Detection(
        transport,
        this.plane.context,
        (detected, first, finished, silent) => {
          this.carried.delete(detection);
          if (detected === 'http1')
            this.serveHttp(transport, source, destination).onData(first, 0, first.length);
          else this.serveTcp(transport, source, destination, first, finished, silent);
        },
        () => this.carried.delete(detection),
      );
      this.carried.add(detection);
    }
  }

  private serveHttp(
    transport: Transport,
    source: string | null,
    destination: string | null,
  ): DownstreamConnection {
    const router = new OutboundRouter(this.routes, source, destination);
    const connection = new DownstreamConnection(transport, router, this.plane.context, (over) =>
      this.carried.delete(over),
    );
    this.carried.add(connection);
    if (this.draining) connection.drain();
    return connection;
  }

  private serveTcp(
    transport: Transport,
    source: string | null,
    destination: string,
    first: Buffer,
    finished: boolean,
    silent: boolean,
  ): void {
    const table = this.routes.find(source, destination);
    const route = isRefused(table) ? null : table.last;
    if (route === null) {
      const counter = this.plane.traffic.counter('source', source ?? 'unknown', destination, 'tcp');
      const refusal = isRefused(table) ? table.refusal : noByteStreams;
      counter.refuse(refusal.reason, null);
      counter.finished(refusal.status, 0);
      transport.destroy();
      return;
    }
    const target = drawTarget(route, this.plane.context.random);
    const connection = new TcpConnection(transport, target, this.plane.context, first, finished, (over) =>
      this.carried.delete(over),
    );
    this.carried.add(connection);
    // A client that was only slow to begin may still turn out to speak HTTP.
    const onHttp = (begun: Buffer): void =>
      this.serveHttp(transport, source, destination).onData(begun, 0, begun.length);
    connection.start(silent ? onHttp : null);
  }

  /** Stops accepting, and lets what is under way finish. */
  drain(): void {
    this.draining = true;
    this.server?.close();
    for (const carried of [...this.carried]) carried.drain?.();
  }

  destroy(): void {
    this.server?.close();
    for (const carried of [...this.carried]) carried.abort();
  }
}
