/**
 * All of an agent's gossip traffic behind one narrow interface: frames, deltas, neighbours, membership's
 * datagrams, join requests.
 */
import type { PeerId } from '@libp2p/interface';
import { ed25519Signer, Fault, type HostId, type Millis } from '../../core.ts';
import type { Digest } from '../frames.ts';
import { defaultSwimParameters, type SwimParameters } from '../parameters.ts';
import type { RelayVerdict } from '../port.ts';
import type { SwimOrder, SwimReport } from '../swim-port.ts';
import { Dialer, type PeerAddress } from './dialer.ts';
import { admissionGater } from './gater.ts';
import { hostIdOf, peerIdOf, privateKeyFromSeed } from './identity.ts';
import { bindFault, type JoinHandler } from './join.ts';
import { Links } from './links.ts';
import { createNode, type Libp2pNode } from './node.ts';
import { DeltaPubsub } from './pubsub.ts';
import { defaultPatience } from './swim-messages.ts';
import { SwimThread } from './swim-thread.ts';

export interface TransportHandlers {
  /** One whole frame of an admitted peer. */
  frame(from: HostId, bytes: Uint8Array): void;
  /** Takes in a delta, whoever relayed it, once per content; the answer says whether to relay it further. */
  delta(bytes: Uint8Array): RelayVerdict;
  /** The first connection with a peer is up. */
  connected(peer: HostId): void;
  /** The last connection with a peer is gone. */
  disconnected(peer: HostId): void;
  /** A frame or a connection could not be had: no address, no answer within 5 s, refused, or reset. */
  unreachable(peer: HostId): void;
  /** What membership, on its own thread, has to say. */
  report(report: SwimReport): void;
  joinRequest: JoinHandler;
  /** A stranger says that it belongs to the mesh. */
  introduction(payload: Uint8Array): void;
}

export interface TransportOptions {
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  /** The hash of the mesh's genesis: datagrams of other meshes are noise. */
  readonly mesh: Uint8Array;
  /** How many times this agent has started, counted on disk; must never repeat. */
  readonly epoch: number;
  /** Digest of an empty replica. */
  readonly root: Digest;
  /** Only where the defaults are not wanted. */
  readonly swim?: SwimParameters;
  /** The IP address to listen on, TCP and UDP alike. */
  readonly bind: string;
  /** 0 takes any port that is free for both. */
  readonly port: number;
  /** Asked for every connection and every frame; must be quick. */
  readonly admitted: (host: HostId) => boolean;
  readonly addressOf: (host: HostId) => PeerAddress | null;
  readonly handlers: TransportHandlers;
  /**
   * Connections opened by us for a passing frame that may stay; beyond it the least recently used one is
   * closed. Neighbours (`connect`) and connections that peers opened do not count. 64 unless given.
   */
  readonly maxCasualConnections?: number;
  /** The clock that limits the connections of one source; any monotonic one. `performance.now` unless given. */
  readonly now?: () => Millis;
}

const defaultCasualConnections = 64;
/** How often an ephemeral port is tried anew when it is free for UDP but not for TCP. */
const portAttempts = 8;

/** The running transport of one agent. */
export class Transport {
  readonly self: HostId;
  readonly port: number;
  private readonly node: Libp2pNode;
  private readonly membership: SwimThread;
  private readonly dialer: Dialer;
  private readonly links: Links;
  private readonly pubsub: DeltaPubsub;
  private readonly options: TransportOptions;
  private readonly counters: { refusedConnections: number; limitedConnections: number };
  /** Peers to whom the core wants a lasting connection. */
  private readonly neighbours = new Set<HostId>();
  private readonly connected = new Set<HostId>();
  private stopping: Promise<void> | null = null;

  private constructor(
    self: HostId,
    options: TransportOptions,
    node: Libp2pNode,
    membership: SwimThread,
    counters: { refusedConnections: number; limitedConnections: number },
  ) {
    this.self = self;
    this.options = options;
    this.node = node;
    this.membership = membership;
    this.port = membership.port;
    this.counters = counters;
    this.dialer = new Dialer(node, options.addressOf);
    this.links = new Links(this.dialer, options.admitted, options.handlers);
    this.pubsub = new DeltaPubsub(node, options.handlers.delta);
  }

  /**
   * Listens on `bind:port`, TCP and UDP, and subscribes to deltas. Throws `Fault('address-in-use')` or
   * `Fault('bind-failed')`; nothing is left open then.
   */
  static async start(options: TransportOptions): Promise<Transport> {
    const privateKey = privateKeyFromSeed(options.seed);
    const self = ed25519Signer(options.seed).publicKey;
    for (let attempt = 1; ; attempt++) {
      const membership = await startMembership(options);
      const counters = { refusedConnections: 0, limitedConnections: 0 };
      const gater = admissionGater(
        options.admitted,
        () => {
          counters.refusedConnections += 1;
        },
        () => {
          counters.limitedConnections += 1;
        },
        options.now ?? (() => performance.now()),
      );
      const node = await createNode({ privateKey, bind: options.bind, port: membership.port, gater });
      const transport = new Transport(self, options, node, membership, counters);
      try {
        await transport.listen();
        return transport;
      } catch (error) {
        await transport.stop();
        const fault = bindFault(error, `TCP ${options.bind}:${membership.port}`);
        if (options.port !== 0 || fault.code !== 'address-in-use' || attempt === portAttempts) throw fault;
      }
    }
  }

  private async listen(): Promise<void> {
    this.node.addEventListener('peer:connect', (event) => this.onConnect(event.detail));
    this.node.addEventListener('peer:disconnect', (event) => this.onDisconnect(event.detail));
    await this.links.serve(this.node);
    await this.node.start();
    this.pubsub.start();
  }

  /** Queues a frame for a peer, dialing it if need be. At most once, in order per stream. */
  send(to: HostId, bytes: Uint8Array): void {
    this.links.send(to, bytes);
  }

  /** Tells membership. */
  order(order: SwimOrder): void {
    this.membership.order(order);
  }

  /** Where membership's datagrams for a host go from now on. */
  locate(host: HostId, address: string, port: number): void {
    this.membership.locate(host, address, port);
  }

  /** Shows a host that may take this one for a stranger who it is; unanswered, and lost if nobody is there. */
  introduce(to: HostId, introductions: readonly Uint8Array[]): void {
    this.membership.introduce(to, introductions);
  }

  /** Spreads a delta to every agent. */
  publish(bytes: Uint8Array): void {
    this.pubsub.publish(bytes);
  }

  /** Makes a peer a neighbour: connects unless connected, and keeps the connection. */
  connect(peer: HostId): void {
    if (this.stopping !== null) return;
    this.neighbours.add(peer);
    this.dialer.connection(peer, peerIdOf(peer)).catch(() => {
      // Why does not matter to the core: it asks others, or tries again later.
      if (this.stopping === null) this.options.handlers.unreachable(peer);
    });
  }

  /** Lets a neighbour go and closes what is open to it. Frames already handed to the stream still leave. */
  disconnect(peer: HostId): void {
    this.neighbours.delete(peer);
    this.links.forget(peer);
    for (const connection of this.node.getConnections(peerIdOf(peer)))
      connection.close().catch((error: Error) => connection.abort(error));
  }

  /** Cuts every connection whose peer is no longer admitted. To be called when admission shrinks. */
  dropUnadmitted(): void {
    for (const connection of this.node.getConnections()) {
      const host = hostIdOf(connection.remotePeer);
      if (host !== null && this.options.admitted(host)) continue;
      if (host !== null) {
        this.neighbours.delete(host);
        this.links.forget(host);
      }
      connection.abort(new Fault('not-admitted', 'the peer is no longer admitted'));
    }
  }

  /** How many peers are connected. */
  connections(): number {
    return this.connected.size;
  }

  /** Everything that is counted, since start. */
  stats() {
    return {
      connections: this.connected.size,
      neighbours: this.neighbours.size,
      meshPeers: this.pubsub.meshPeers(),
      ...this.counters,
      frames: { ...this.links.counters },
      deltas: { ...this.pubsub.counters },
      datagrams: { ...this.membership.counters },
      queued: this.links.queued(),
      thread: this.membership.health,
    };
  }

  /** Closes every socket and stream; no handler is called afterwards. */
  stop(): Promise<void> {
    this.stopping ??= this.close();
    return this.stopping;
  }

  private async close(): Promise<void> {
    this.dialer.stop();
    this.links.stop();
    this.pubsub.stop();
    await this.membership.stop();
    await this.node.stop();
  }

  private onConnect(peerId: PeerId): void {
    const host = hostIdOf(peerId);
    if (host === null || this.stopping !== null || this.connected.has(host)) return;
    this.connected.add(host);
    this.trim();
    this.options.handlers.connected(host);
  }

  private onDisconnect(peerId: PeerId): void {
    const host = hostIdOf(peerId);
    if (host === null || this.stopping !== null || !this.connected.delete(host)) return;
    this.links.forget(host);
    this.options.handlers.disconnected(host);
  }

  /** Closes the least recently used casual connections beyond their limit. */
  private trim(): void {
    const casual = new Set<HostId>();
    for (const connection of this.node.getConnections()) {
      const host = hostIdOf(connection.remotePeer);
      if (host !== null && connection.direction === 'outbound' && !this.neighbours.has(host))
        casual.add(host);
    }
    let excess = casual.size - (this.options.maxCasualConnections ?? defaultCasualConnections);
    if (excess <= 0) return;
    const used = this.links.leastRecentlyUsed();
    const unused = [...casual].filter((host) => this.links.queuedFrames(host) === 0 && !used.includes(host));
    for (const host of [...unused, ...used]) {
      if (excess === 0) return;
      if (!casual.has(host) || this.links.queuedFrames(host) > 0) continue;
      this.disconnect(host);
      excess -= 1;
    }
  }
}

function startMembership({ seed, mesh, epoch, root, bind, port, swim, handlers }: TransportOptions) {
  const parameters = swim ?? defaultSwimParameters;
  const data = { seed, mesh, epoch, root, bind, port, parameters, patience: defaultPatience };
  return SwimThread.start(data, handlers);
}
