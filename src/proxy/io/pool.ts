/** The sessions of one local service to one endpoint of another: opened when needed, shared by all streams. */
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import type { Cluster, Endpoint } from '../config.ts';
import { alpnName } from '../mux/frames.ts';
import type { Transport } from '../transport.ts';
import type { CarriedProtocol, Dialer } from '../upstream/upstreams.ts';
import { SessionCarrier } from './carrier.ts';
import type { Plane, VerifiedPeer } from './options.ts';
import { type ServiceContext, tlsVersions } from './tls-contexts.ts';

interface PoolHooks {
  /** What waited for a connection has one. */
  onReady(): void;
  /** No session takes new streams, for the server is going away or the certificate was renewed: what is idle is done. */
  onRetired(): void;
}

export class SessionPool implements Dialer {
  private readonly plane: Plane;
  private readonly cluster: Cluster;
  private readonly endpoint: Endpoint;
  private identity: ServiceContext;
  private readonly connections = new Set<ClientConnection>();
  private readonly hooks: PoolHooks;

  constructor(
    cluster: Cluster,
    endpoint: Endpoint,
    identity: ServiceContext,
    plane: Plane,
    hooks: PoolHooks,
  ) {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.identity = identity;
    this.plane = plane;
    this.hooks = hooks;
  }

  /** New connections prove the new certificate; existing ones finish what they carry and take nothing new. */
  renew(identity: ServiceContext): void {
    if (identity === this.identity) return;
    this.identity = identity;
    this.retire();
  }

  retire(): void {
    for (const connection of this.connections) connection.retire();
    this.hooks.onRetired();
  }

  /** Ends everything at once. */
  destroy(): void {
    for (const connection of [...this.connections]) connection.destroy();
  }

  /** Ends every connection to a server that is denied now. */
  cutDenied(): void {
    for (const connection of [...this.connections]) connection.cutIfDenied();
  }

  get isReady(): boolean {
    for (const connection of this.connections) if (connection.isReady) return true;
    return false;
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  dial(protocol: CarriedProtocol): Transport {
    return this.available().carrier.session.open(protocol);
  }

  open(protocol: CarriedProtocol, done: (transport: Transport | null) => void): void {
    const connection = this.available();
    connection.whenReady((ready) => done(ready ? this.openOn(connection, protocol) : null));
  }

  /** Whoever waited together may be more than one session carries. */
  private openOn(connection: ClientConnection, protocol: CarriedProtocol): Transport {
    const { session } = connection.carrier;
    return session.canOpen ? session.open(protocol) : this.dial(protocol);
  }

  private available(): ClientConnection {
    for (const connection of this.connections) if (connection.carrier.session.canOpen) return connection;
    const connection = new ClientConnection(this.cluster, this.endpoint, this.identity, this.plane, {
      onOver: () => this.connections.delete(connection),
      onReady: () => this.hooks.onReady(),
      onGoAway: () => this.hooks.onRetired(),
    });
    this.connections.add(connection);
    return connection;
  }
}

interface ClientHooks {
  onOver(): void;
  onReady(): void;
  onGoAway(): void;
}

/** One TLS connection of a pool with the session over it. */
class ClientConnection {
  readonly carrier: SessionCarrier;
  deadlineMs: number;
  private readonly cluster: Cluster;
  private readonly endpoint: Endpoint;
  private readonly plane: Plane;
  private readonly hooks: ClientHooks;
  private readonly socket: TLSSocket;
  private ready = false;
  private waiting: ((ready: boolean) => void)[] = [];
  private failure = 'connection closed';
  /** Known from the handshake on. */
  private server: VerifiedPeer | null = null;

  constructor(
    cluster: Cluster,
    endpoint: Endpoint,
    identity: ServiceContext,
    plane: Plane,
    hooks: ClientHooks,
  ) {
    this.hooks = hooks;
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.plane = plane;
    const { context } = plane;
    this.deadlineMs = context.now() + cluster.connectTimeoutMs;
    this.carrier = new SessionCarrier(true, context, {
      onStream() {},
      onGoAway: () => hooks.onGoAway(),
      onOver: (problem) => {
        context.promptDeadlines.remove(this);
        this.tell(false);
        this.socket.destroy();
        if (problem !== null) plane.violations.note('session-broken', { endpoint: endpoint.id, problem });
        hooks.onOver();
      },
    });
    this.socket = this.connect(identity);
    context.promptDeadlines.add(this);
  }

  /** Whether it is up, and takes new streams. */
  get isReady(): boolean {
    return this.ready && this.carrier.session.canOpen;
  }

  /** `tell` is told at once when it is ready already. */
  whenReady(tell: (ready: boolean) => void): void {
    if (this.ready) tell(true);
    else this.waiting.push(tell);
  }

  /** Takes no further streams, and ends once the last is over. */
  retire(): void {
    this.carrier.session.retire();
  }

  destroy(): void {
    this.carrier.end(null, 'reset');
  }

  cutIfDenied(): void {
    const { peers } = this.plane;
    const denial = this.server === null ? null : peers.denialOf(this.server);
    if (denial === null) return;
    peers.note(denial, 'outbound', 'open', this.endpoint.hostName);
    this.failure = denial;
    this.fail();
  }

  onDeadline(): void {
    this.failure = 'timeout';
    this.fail();
  }

  private connect(identity: ServiceContext): TLSSocket {
    const socket = connect({
      host: this.endpoint.address,
      port: this.endpoint.port,
      servername: this.cluster.sni,
      secureContext: identity.context,
      ALPNProtocols: [alpnName],
      rejectUnauthorized: true,
      checkServerIdentity: (_name, certificate) => this.checkServer(certificate),
      ...tlsVersions,
    });
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.failure = error.message;
      this.fail();
    });
    socket.on('close', () => this.fail());
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol === alpnName) this.established();
      else {
        this.failure = `the server does not speak ${alpnName}`;
        this.fail();
      }
    });
    return socket;
  }

  /** The chain was verified; now the one name that counts. */
  private checkServer(certificate: PeerCertificate): Error | undefined {
    const { peers } = this.plane;
    const peer = peers.verify(certificate.raw);
    if ('problem' in peer) {
      peers.note(peer.problem, 'outbound', 'handshake', this.endpoint.hostName);
      return new Error(`server certificate: ${peer.problem}`);
    }
    this.server = peer;
    if (peer.spiffeId === this.cluster.spiffeId) return undefined;
    return new Error(`the server is ${peer.spiffeId}, not ${this.cluster.spiffeId}`);
  }

  /**
   * The server has still to accept our certificate: in TLS 1.3 it says so only by speaking. Nothing is sent
   * before, so that until then every failure is one to connect, after which another server may be asked.
   */
  private established(): void {
    this.carrier.attach(this.socket);
    this.socket.once('data', () => {
      this.ready = true;
      this.plane.context.promptDeadlines.remove(this);
      this.carrier.start();
      this.hooks.onReady();
      this.tell(true);
    });
  }

  private tell(ready: boolean): void {
    for (const tell of this.waiting.splice(0)) tell(ready);
  }

  private fail(): void {
    if (!this.ready && !this.carrier.session.isOver)
      this.plane.quietLog.warn('connect-failure', { endpoint: this.endpoint.id, problem: this.failure });
    this.carrier.end(null, this.ready ? 'reset' : 'connect-failure');
  }
}
