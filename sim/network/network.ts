/**
 * The network between hosts, with the failures that TCP and UDP have and the rules of the real transport:
 * one connection between two hosts, dialled when there is something to say, admitted hosts only, few dials
 * at a time. How a connection ends depends on whether the process died (told at once by its kernel) or the
 * host or path did (found out by whoever probes).
 */
import { assert } from '../../src/core.ts';
import type { World } from '../world.ts';
import { type Channel, Connection, type ConnectionOwner, End, type StreamLimits } from './connection.ts';
import type { Links } from './links.ts';

/** What a datagram is for: the gossip port tells by its first bytes. */
export type DatagramKind = 'membership' | 'join-request' | 'join-reply' | 'introduction';

/** What a host is asked and told by its network; told only while its process runs. */
export interface NetworkUser {
  /** Whether the process would talk to this host. */
  admits(peer: number): boolean;
  /** Whether the process knows where this host is. */
  knowsAddressOf(peer: number): boolean;
  frame(from: number, channel: Channel, bytes: Uint8Array): void;
  connected(peer: number): void;
  disconnected(peer: number): void;
  /** A dial failed, or frames were lost. */
  unreachable(peer: number): void;
  datagram(from: number, kind: DatagramKind, bytes: Uint8Array): void;
}

export interface NetworkLimits extends StreamLimits {
  /** A dial to a host that does not answer fails after this. */
  readonly dialTimeoutMs: number;
  /** Dials of one host under way at once; more wait their turn. */
  readonly parallelDials: number;
  readonly waitingDialsMax: number;
  /** From a process's death until its neighbours' kernels say so, beside the path's delay. */
  readonly closeNoticeMs: number;
  /** CPU of a handshake, both sides. */
  readonly handshakeMs: number;
  /** Bytes waiting in one direction; a frame beyond them is dropped and counted. */
  readonly queueBytesMax: number;
  /** Connections a host dialled for a passing frame; beyond it the least recently used is closed. */
  readonly casualConnectionsMax: number;
}

/** As `src/gossip/io` and Linux have them. */
export const networkLimits: NetworkLimits = {
  retransmitMs: 200,
  retransmitMaxMs: 120_000,
  streamTimeoutMs: 924_000,
  dialTimeoutMs: 5_000,
  parallelDials: 8,
  waitingDialsMax: 1_024,
  closeNoticeMs: 8,
  handshakeMs: 8,
  queueBytesMax: 8 * 1024 * 1024,
  casualConnectionsMax: 64,
};

/** One host's socket table. */
interface Port {
  readonly user: NetworkUser;
  /** By this host, in all its lives. */
  sentBytes: number;
  /** Counts the processes this host has had, so that an old connection does not reach a new process. */
  life: number;
  running: boolean;
  /** Frozen processes finish no handshake. */
  frozen: boolean;
  readonly connections: Map<number, Connection>;
  /** Peers that the process wants a lasting connection to. */
  readonly neighbours: Set<number>;
  dialling: number;
  readonly waiting: (() => void)[];
}

export interface NetworkCounters {
  frames: number;
  frameBytes: number;
  publishes: number;
  publishBytes: number;
  datagrams: number;
  datagramBytes: number;
  dials: number;
  failedDials: number;
  /** Dropped because a queue was full. */
  overflows: number;
  /** The most that ever waited in one direction of one connection. */
  queuedBytesMax: number;
}

export function noNetworkCounters(): NetworkCounters {
  return {
    frames: 0,
    frameBytes: 0,
    publishes: 0,
    publishBytes: 0,
    datagrams: 0,
    datagramBytes: 0,
    dials: 0,
    failedDials: 0,
    overflows: 0,
    queuedBytesMax: 0,
  };
}

export class Network implements ConnectionOwner {
  readonly links: Links;
  readonly counters: NetworkCounters = noNetworkCounters();
  /** Sees what arrives, and drops what it says true to: attackers listen here, and tests break things. */
  intercept: ((from: number, to: number, kind: 'frame' | DatagramKind, bytes: Uint8Array) => boolean) | null =
    null;
  private readonly world: World;
  private readonly limits: NetworkLimits;
  private readonly ports: Port[] = [];

  constructor(world: World, links: Links, limits: NetworkLimits = networkLimits) {
    this.world = world;
    this.links = links;
    this.limits = limits;
  }

  /** Plugs a host in and returns its number. */
  plug(user: NetworkUser): number {
    this.ports.push({
      user,
      sentBytes: 0,
      life: 0,
      running: false,
      frozen: false,
      connections: new Map(),
      neighbours: new Set(),
      dialling: 0,
      waiting: [],
    });
    return this.ports.length - 1;
  }

  processStarted(host: number): void {
    const port = this.port(host);
    port.life++;
    port.running = true;
    port.frozen = false;
  }

  /** The kernel closes what the process had open, and says so to whom it can reach; without power it cannot. */
  processDied(host: number): void {
    const port = this.port(host);
    port.running = false;
    port.dialling = 0;
    port.waiting.length = 0;
    port.neighbours.clear();
    for (const connection of port.connections.values())
      if (this.links.isIsolated(host)) connection.endOf(host).open = false;
      else connection.close(connection.endOf(host), this.limits.closeNoticeMs);
    port.connections.clear();
  }

  setFrozen(host: number, frozen: boolean): void {
    this.port(host).frozen = frozen;
  }

  /** Makes a peer a neighbour: dials unless connected, and keeps the connection. */
  connect(host: number, peer: number): void {
    this.port(host).neighbours.add(peer);
    this.ensure(host, peer);
  }

  /** Lets a neighbour go and closes what is open to it. */
  disconnect(host: number, peer: number): void {
    const port = this.port(host);
    port.neighbours.delete(peer);
    const connection = port.connections.get(peer);
    if (connection === undefined) return;
    const wasOpen = connection.isOpen;
    port.connections.delete(peer);
    connection.close(connection.endOf(host), 0);
    if (wasOpen) this.later(host, port.life, (user) => user.disconnected(peer));
  }

  /** Sends in order, dialling first if need be. */
  send(host: number, peer: number, channel: Channel, bytes: Uint8Array): void {
    const connection = this.ensure(host, peer);
    const end = connection.endOf(host);
    if (end.queuedBytes + bytes.length > this.limits.queueBytesMax) {
      this.counters.overflows++;
      return;
    }
    if (channel === 'frame') {
      this.counters.frames++;
      this.counters.frameBytes += bytes.length;
    } else {
      this.counters.publishes++;
      this.counters.publishBytes += bytes.length;
    }
    this.port(host).sentBytes += bytes.length;
    connection.send(end, channel, bytes);
    this.counters.queuedBytesMax = Math.max(this.counters.queuedBytesMax, end.queuedBytes);
  }

  /** What this host has sent so far, in all its lives. */
  sentBytes(host: number): number {
    return this.port(host).sentBytes;
  }

  /** Whether this host has an open connection to the peer. */
  isConnected(host: number, peer: number): boolean {
    return this.port(host).connections.get(peer)?.isOpen ?? false;
  }

  /** Whether there is a connection that the kernel has not got moving again since a link between the two was cut. */
  isStalled(host: number, peer: number): boolean {
    return this.port(host).connections.get(peer)?.isStalled ?? false;
  }

  /** Peers with an open connection, in a stable order. */
  openPeers(host: number): number[] {
    const peers: number[] = [];
    for (const [peer, connection] of this.port(host).connections) if (connection.isOpen) peers.push(peer);
    return peers;
  }

  /** Whether it was this host that opened its connection to the peer. */
  hasDialled(host: number, peer: number): boolean {
    return this.port(host).connections.get(peer)?.ends[0].host === host;
  }

  /** One unreliable packet: it may be lost, doubled or overtaken. */
  sendDatagram(host: number, peer: number, kind: DatagramKind, bytes: Uint8Array): void {
    this.counters.datagrams++;
    this.counters.datagramBytes += bytes.length;
    this.port(host).sentBytes += bytes.length;
    const copies = this.links.duplicates() ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.links.loses() || this.links.isCut(host, peer)) continue;
      const replayMs = copy > 0 ? this.links.replayDelayMs() : 0;
      this.world.after(this.links.delayMs() + replayMs, () => {
        const port = this.port(peer);
        if (port.running && !this.intercept?.(host, peer, kind, bytes)) port.user.datagram(host, kind, bytes);
      });
    }
  }

  arrived(at: End, from: number, channel: Channel, bytes: Uint8Array): void {
    if (channel === 'frame' && this.intercept?.(from, at.host, channel, bytes)) return;
    this.tell(at.host, at.life, (user) => user.frame(from, channel, bytes));
  }

  ended(connection: Connection, end: End, lostFrames: boolean): void {
    const peer = connection.peerOf(end.host).host;
    const port = this.port(end.host);
    if (port.connections.get(peer) !== connection) return;
    port.connections.delete(peer);
    if (lostFrames) this.tell(end.host, end.life, (user) => user.unreachable(peer));
    this.tell(end.host, end.life, (user) => user.disconnected(peer));
  }

  private port(host: number): Port {
    const port = this.ports[host];
    assert(port !== undefined, `host ${host} has no network`);
    return port;
  }

  private tell(host: number, life: number, what: (user: NetworkUser) => void): void {
    const port = this.port(host);
    if (port.running && port.life === life) what(port.user);
  }

  /** As `tell`, after what happens now is done. */
  private later(host: number, life: number, what: (user: NetworkUser) => void): void {
    this.world.after(0, () => this.tell(host, life, what));
  }

  private ensure(host: number, peer: number): Connection {
    assert(host !== peer, `host ${host} dials itself`);
    const port = this.port(host);
    const known = port.connections.get(peer);
    if (known !== undefined) return known;
    const { world, links, limits } = this;
    const connection = new Connection(
      { world, links, limits, owner: this },
      new End(host, port.life),
      new End(peer, this.port(peer).life),
    );
    port.connections.set(peer, connection);
    this.whenItsTurn(port, connection);
    return connection;
  }

  /** Starts a dial, or lets it wait for one of the few places. */
  private whenItsTurn(port: Port, connection: Connection): void {
    const start = (): void => {
      port.dialling++;
      this.dial(connection);
    };
    if (port.dialling < this.limits.parallelDials) start();
    else if (port.waiting.length < this.limits.waitingDialsMax) port.waiting.push(start);
    else this.world.after(0, () => this.dialFailed(connection));
  }

  /** A dial ended, one way or another: the next may start. */
  private dialEnded(dialler: End): void {
    const port = this.port(dialler.host);
    if (!port.running || port.life !== dialler.life) return;
    port.dialling--;
    port.waiting.shift()?.();
  }

  /** A round trip to learn whether somebody listens, then the handshake. */
  private dial(connection: Connection): void {
    this.counters.dials++;
    const [dialler, listener] = connection.ends;
    const giveUpAt = this.world.now + this.limits.dialTimeoutMs;
    const fail = (): void => {
      this.dialEnded(dialler);
      this.dialFailed(connection);
    };
    if (!this.port(dialler.host).user.knowsAddressOf(listener.host)) {
      this.world.after(0, fail);
      return;
    }
    const lossMs = this.links.loses() ? this.limits.retransmitMs : 0;
    this.world.after(this.links.delayMs() + lossMs, () => {
      const port = this.port(listener.host);
      if (!this.links.isOpen(dialler.host, listener.host) || (port.running && port.frozen))
        this.world.at(giveUpAt, fail);
      else if (!port.running) this.world.after(this.links.delayMs(), fail);
      else
        this.world.after(this.links.delayMs() * 3 + this.limits.handshakeMs, () => {
          this.dialEnded(dialler);
          this.shakeHands(connection);
        });
    });
  }

  private dialFailed(connection: Connection): void {
    // The peer's own dial may have come first and taken this one in.
    if (connection.isOpen) return;
    this.counters.failedDials++;
    const [dialler, listener] = connection.ends;
    const port = this.port(dialler.host);
    if (port.life !== dialler.life || port.connections.get(listener.host) !== connection) return;
    port.connections.delete(listener.host);
    this.tell(dialler.host, dialler.life, (user) => user.unreachable(listener.host));
  }

  /** The peer's identity is proven: both sides decide, and the connection is up or refused. */
  private shakeHands(connection: Connection): void {
    if (connection.isOpen) return;
    const [dialler, listener] = connection.ends;
    const port = this.port(listener.host);
    const welcome =
      dialler.open &&
      this.port(dialler.host).connections.get(listener.host) === connection &&
      port.running &&
      port.life === listener.life &&
      this.links.isOpen(dialler.host, listener.host) &&
      port.user.admits(dialler.host) &&
      this.port(dialler.host).user.admits(listener.host);
    if (!welcome) {
      this.dialFailed(connection);
      return;
    }
    const reverse = port.connections.get(dialler.host);
    if (reverse === undefined) this.opened(connection);
    else if (reverse.isOpen) this.replace(reverse, connection);
    else if (reverse.endOf(dialler.host).life === dialler.life) this.merge(connection, reverse);
    else this.overtake(reverse, connection);
  }

  /** The listener still holds the remains of a connection to the dialler's former process. */
  private replace(stale: Connection, connection: Connection): void {
    stale.close(stale.endOf(connection.ends[1].host), 0);
    this.opened(connection, true);
  }

  /** Both dialled at once: the peer's connection stays, and takes over what waits on this one. */
  private merge(from: Connection, into: Connection): void {
    const [dialler, listener] = from.ends;
    this.port(dialler.host).connections.set(listener.host, into);
    this.opened(into);
    for (const { channel, bytes } of from.endOf(dialler.host).queue.splice(0))
      into.send(into.endOf(dialler.host), channel, bytes);
  }

  /** The listener still dials the dialler's former process: what waits for that goes to the new one. */
  private overtake(dialling: Connection, connection: Connection): void {
    const listener = connection.ends[1];
    const waiting = dialling.endOf(listener.host).queue.splice(0);
    this.opened(connection);
    for (const { channel, bytes } of waiting) connection.send(listener, channel, bytes);
  }

  /** `replaces`: the listener is told of the end of the one before, with the new one in place already. */
  private opened(connection: Connection, replaces = false): void {
    const [dialler, listener] = connection.ends;
    this.port(dialler.host).connections.set(listener.host, connection);
    this.port(listener.host).connections.set(dialler.host, connection);
    connection.open();
    if (replaces) this.tell(listener.host, listener.life, (user) => user.disconnected(dialler.host));
    this.tell(dialler.host, dialler.life, (user) => user.connected(listener.host));
    this.tell(listener.host, listener.life, (user) => user.connected(dialler.host));
    this.trim(dialler.host);
  }

  /** Closes the least recently used connections that this host dialled in passing, beyond the limit. */
  private trim(host: number): void {
    const port = this.port(host);
    const casual = [...port.connections]
      .filter(([peer, { isOpen, ends }]) => isOpen && ends[0].host === host && !port.neighbours.has(peer))
      .sort(([, a], [, b]) => a.usedAt - b.usedAt);
    for (const [peer] of casual.slice(0, Math.max(0, casual.length - this.limits.casualConnectionsMax)))
      this.disconnect(host, peer);
  }
}
