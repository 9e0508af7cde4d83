/** One plaintext listener for the applications of this host: finds out who calls, and carries what they send. */
import { createServer, type Socket } from 'node:net';
import { type Caller, callerNamed, callerOf } from '../caller.ts';
import type { CallerRule, OutboundListener as ListenerConfig } from '../config.ts';
import type { ListenerStatus } from '../dataplane.ts';
import { nobody, type Transport } from '../transport.ts';
import { BoundServer, logBind } from './listener.ts';
import type { Plane } from './options.ts';
import { type Carried, type Carrying, OutboundClient } from './outbound-client.ts';
import type { OutboundRoutes } from './outbound-routes.ts';
import { readsInto, reopened } from './reads.ts';
import { SocketTransport } from './socket.ts';
import { peerOwner } from './socket-owner.ts';

/** Room for one read of what an application asks, at first: most connections are idle most of the time. */
const firstReadBytes = 4 * 1024;

export class OutboundListener implements Carrying {
  private config: ListenerConfig;
  private readonly routes: OutboundRoutes;
  private readonly plane: Plane;
  private server: BoundServer | null = null;
  readonly carried = new Set<Carried>();
  draining = false;

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
    const server = createServer({ pauseOnConnect: true }, (socket) => this.accept(socket));
    this.server = await BoundServer.bind(
      { id, address, port, isShared: this.plane.sharesPorts },
      server,
      (code) => this.plane.quietLog.warn('accept-failed', { id, code }),
    );
    logBind(this.plane.log, before, this.server);
  }

  private accept(accepted: Socket): void {
    const socket = reopened(
      accepted,
      readsInto(firstReadBytes, () => transport.owner),
    );
    const transport = new SocketTransport(socket, this.plane.context, true);
    const { caller, destination } = this.config;
    const address = socket.remoteAddress ?? '';
    this.findCaller(caller, socket, transport, (found) =>
      new OutboundClient(transport, found, address, destination, this, this.routes, this.plane).serve(),
    );
  }

  /** Who calls is found out once per connection; the kernel is asked only where several services could be it. */
  private findCaller(
    rule: CallerRule,
    socket: Socket,
    transport: Transport,
    found: (caller: Caller) => void,
  ): void {
    if (rule.type === 'service') {
      found(callerNamed(rule.service));
      return;
    }
    if (rule.otherwise !== null && Object.keys(rule.byUid).length === 0) {
      found(callerNamed(rule.otherwise));
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
    peerOwner(socket, this.plane.uidOfSocket, (uid) => {
      if (gone) return;
      found(callerOf(rule, uid));
      transport.resume();
    });
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
