/** The mTLS listener of this host: authenticates every peer, then serves its streams and connections. */
import { createServer, type SecureContext, type TLSSocket } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { Fault } from '../../core.ts';
import type { ProxyConfig } from '../config.ts';
import type { ListenerStatus } from '../dataplane.ts';
import { alpnName } from '../mux/frames.ts';
import { InboundConnection } from './inbound-connection.ts';
import type { LocalServices } from './inbound-peer.ts';
import { LocalService, ServiceLimits } from './inbound-service.ts';
import { BoundServer, logBind } from './listener.ts';
import type { Plane } from './options.ts';
import { type ServiceContext, serverOptions } from './tls-contexts.ts';

const handshakeTimeoutMs = 5000;
/** Kinds of failure counted apart; OpenSSL's set is finite, but not ours to know. */
const maxFailureCodes = 64;

export class InboundListener implements LocalServices {
  generation = 0;
  readonly handshakeFailures: { [code: string]: number } = {};
  private readonly plane: Plane;
  private server: BoundServer | null = null;
  private readonly services = new Map<string, LocalService>();
  private readonly limits = new Map<string, ServiceLimits>();
  private contexts: ReadonlyMap<string, ServiceContext> = new Map();
  private roots: ProxyConfig['roots'] = [];
  private readonly connections = new Set<InboundConnection>();

  constructor(plane: Plane) {
    this.plane = plane;
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  serviceFor(sni: string): LocalService | null {
    return this.services.get(sni) ?? null;
  }

  /** From here on everything is decided by `config`; then binds if that is still to do. */
  async apply(config: ProxyConfig, contexts: ReadonlyMap<string, ServiceContext>): Promise<void> {
    this.contexts = contexts;
    this.generation++;
    this.updateServices(config);
    const areRootsNew = !isDeepStrictEqual(config.roots, this.roots);
    this.roots = config.roots;
    for (const connection of [...this.connections]) connection.reconsider(areRootsNew);
    const { address, port } = config.inbound;
    if (this.server?.serves(address, port)) return;
    const before = this.server;
    before?.close();
    this.server = await BoundServer.bind(
      { id: 'inbound', address, port, isShared: this.plane.sharesPorts },
      this.createServer(),
      (code) => this.countFailure(code),
    );
    logBind(this.plane.log, before, this.server);
  }

  private updateServices(config: ProxyConfig): void {
    this.updateLimits(config);
    const wanted = new Set(config.inbound.services.map((service) => service.sni));
    for (const [sni, service] of this.services)
      if (!wanted.has(sni)) {
        service.retire();
        this.services.delete(sni);
      }
    for (const service of config.inbound.services) {
      const known = this.services.get(service.sni);
      if (known === undefined) {
        const limits = this.limits.get(service.service)!;
        this.services.set(service.sni, new LocalService(service, limits, this.plane));
      } else known.update(service);
    }
  }

  /** One for each service, whose entries all say the same of it. */
  private updateLimits(config: ProxyConfig): void {
    const wanted = new Map(config.inbound.services.map((entry) => [entry.service, entry]));
    for (const name of this.limits.keys()) if (!wanted.has(name)) this.limits.delete(name);
    for (const [name, entry] of wanted) {
      const limits = this.limits.get(name) ?? new ServiceLimits();
      limits.update(entry, this.plane.context.now(), config.shared ?? null);
      this.limits.set(name, limits);
    }
  }

  private createServer(): ReturnType<typeof createServer> {
    const server = createServer({
      ...serverOptions,
      ALPNProtocols: [alpnName, 'h2', 'http/1.1'],
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeTimeoutMs,
      allowHalfOpen: true,
      SNICallback: (sni, done) => this.chooseIdentity(sni, done),
    });
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const refused: unknown = socket.authorizationError;
      this.countFailure(typeof refused === 'string' ? refused : (error.code ?? 'unknown'));
      // Node leaves a connection open whose handshake timed out, and so one that ended before it began.
      socket.destroy();
    });
    server.on('secureConnection', (socket) => this.accept(socket));
    return server;
  }

  private chooseIdentity(sni: string, done: (error: Error | null, context?: SecureContext) => void): void {
    const service = this.serviceFor(sni);
    const identity = service === null ? undefined : this.contexts.get(service.name);
    if (identity !== undefined) done(null, identity.context);
    else done(new Fault('no-route', `no service ${sni} on this host`));
  }

  private countFailure(code: string): void {
    const known =
      code in this.handshakeFailures || Object.keys(this.handshakeFailures).length < maxFailureCodes;
    const key = known ? code : 'other';
    this.handshakeFailures[key] = (this.handshakeFailures[key] ?? 0) + 1;
  }

  private accept(socket: TLSSocket): void {
    const certificate = socket.getPeerX509Certificate();
    const isProven = certificate !== undefined && socket.authorized;
    const verified = isProven ? this.plane.peers.verify(certificate.raw) : { problem: 'no certificate' };
    if (!isProven || 'problem' in verified) {
      this.countFailure('peer-identity');
      if ('problem' in verified) {
        const from = socket.remoteAddress ?? '';
        this.plane.quietLog.warn('peer-refused', { problem: verified.problem, from });
        this.plane.peers.note(verified.problem, 'inbound', 'handshake', from);
      }
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.connections.add(
      new InboundConnection(socket, certificate, verified, this, this.plane, (over) =>
        this.connections.delete(over),
      ),
    );
  }

  /** How many requests were counted together with those of other callers. */
  get crowded(): number {
    let count = 0;
    for (const { rates } of this.limits.values()) count += rates?.crowded ?? 0;
    return count;
  }

  get status(): readonly ListenerStatus[] {
    return this.server === null ? [] : [this.server.status];
  }

  /** Stops accepting, and lets what is under way finish. */
  drain(): void {
    this.server?.close();
    for (const connection of this.connections) connection.drain();
  }

  destroy(): void {
    for (const connection of [...this.connections]) connection.destroy();
    for (const service of this.services.values()) service.retire();
  }
}
