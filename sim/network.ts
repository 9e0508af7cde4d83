/**
 * Streams and datagrams between hosts, with the failures that TCP and UDP have. A stream is reliable and in
 * order until it breaks; how it breaks depends on whether the process died (told at once by its kernel), or
 * the host or path did (found out by a timeout).
 */
import { assert, type Millis } from '../src/core.ts';
import type { Links } from './links.ts';
import type { World } from './world.ts';

/** What a host is told by its network. Never called while the process is dead. */
export interface NetworkUser {
  frame(from: number, channel: Channel, bytes: Uint8Array): void;
  connected(peer: number): void;
  disconnected(peer: number): void;
  /** A dial failed, or a frame was given up. */
  unreachable(peer: number): void;
  datagram(from: number, bytes: Uint8Array): void;
}

/** Frames of the protocol itself, and messages of publish-subscribe on the same connection. */
export type Channel = 'frame' | 'publish';

export interface NetworkLimits {
  /** A dial to a host that does not answer fails after this. */
  readonly dialTimeoutMs: number;
  /** A stream whose packets are not acknowledged for so long is broken. */
  readonly streamTimeoutMs: number;
  /** First retransmission of a lost packet; doubles up to `retransmitMaxMs`. */
  readonly retransmitMs: number;
  readonly retransmitMaxMs: number;
  /** From a process's death until its neighbours' kernels say so, beside the path's delay. */
  readonly closeNoticeMs: number;
  /** CPU and extra round trips of a handshake. */
  readonly handshakeMs: number;
  /** A connection nobody holds is closed after so long without a frame. */
  readonly idleMs: number;
  /** Bytes waiting in one direction; a frame beyond them is given up. */
  readonly queueBytesMax: number;
}

export const networkLimits: NetworkLimits = {
  dialTimeoutMs: 5_000,
  streamTimeoutMs: 10_000,
  retransmitMs: 200,
  retransmitMaxMs: 1_600,
  closeNoticeMs: 8,
  handshakeMs: 4,
  idleMs: 30_000,
  queueBytesMax: 8 * 1024 * 1024,
};

interface Packet {
  readonly channel: Channel | 'close';
  readonly bytes: Uint8Array;
  readonly readyAt: Millis;
  readonly sentAt: Millis;
}

/** One direction of a connection, from its owner to the other end. */
class End {
  readonly host: number;
  readonly life: number;
  open = true;
  /** The owner asked for a lasting connection. */
  held = false;
  readonly queue: Packet[] = [];
  queuedBytes = 0;
  retransmitMs = 0;
  pumping = false;

  constructor(host: number, life: number) {
    this.host = host;
    this.life = life;
  }
}

class Connection {
  readonly ends: readonly [End, End];
  state: 'dialing' | 'open' = 'dialing';
  usedAt: Millis = 0;

  constructor(a: End, b: End) {
    this.ends = [a, b];
  }

  endOf(host: number): End {
    return this.ends[0].host === host ? this.ends[0] : this.ends[1];
  }

  peerOf(host: number): End {
    return this.ends[0].host === host ? this.ends[1] : this.ends[0];
  }
}

interface Port {
  readonly user: NetworkUser;
  /** Counts the processes this host has had, so that an old connection does not reach a new process. */
  life: number;
  running: boolean;
  /** Frozen processes accept no handshake; what arrives waits in the host. */
  frozen: boolean;
  readonly connections: Map<number, Connection>;
}

export interface NetworkCounters {
  frames: number;
  frameBytes: number;
  publishes: number;
  publishBytes: number;
  datagrams: number;
  dials: number;
  failedDials: number;
  /** Frames given up because `queueBytesMax` was reached. */
  overflows: number;
  queuedBytesMax: number;
}

export class Network {
  readonly links: Links;
  readonly counters: NetworkCounters = {
    frames: 0,
    frameBytes: 0,
    publishes: 0,
    publishBytes: 0,
    datagrams: 0,
    dials: 0,
    failedDials: 0,
    overflows: 0,
    queuedBytesMax: 0,
  };
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
    this.ports.push({ user, life: 0, running: false, frozen: false, connections: new Map() });
    return this.ports.length - 1;
  }

  processStarted(host: number): void {
    const port = this.port(host);
    port.life++;
    port.running = true;
    port.frozen = false;
  }

  /** The kernel closes what the process had open, and says so to whom it can reach. */
  processDied(host: number): void {
    const port = this.port(host);
    port.running = false;
    for (const connection of [...port.connections.values()]) this.closeEnd(connection, host);
  }

  setFrozen(host: number, frozen: boolean): void {
    this.port(host).frozen = frozen;
  }

  /** Dials unless connected; the connection stays until `release`. */
  hold(host: number, peer: number): void {
    this.ensure(host, peer).endOf(host).held = true;
  }

  /** Lets the connection go: it closes once idle, unless the peer holds it. */
  release(host: number, peer: number): void {
    const connection = this.port(host).connections.get(peer);
    if (connection === undefined) return;
    connection.endOf(host).held = false;
    this.closeWhenIdle(connection);
  }

  /** Sends in order, dialling first if need be. */
  send(host: number, peer: number, channel: Channel, bytes: Uint8Array): void {
    const connection = this.ensure(host, peer);
    const end = connection.endOf(host);
    if (end.queuedBytes + bytes.length > this.limits.queueBytesMax) {
      this.counters.overflows++;
      this.world.after(0, () => this.tell(host, end.life, (user) => user.unreachable(peer)));
      return;
    }
    connection.usedAt = this.world.now;
    this.count(channel, bytes.length);
    this.enqueue(connection, end, channel, bytes, 0);
  }

  /** Peers with an open connection, in a stable order. */
  openPeers(host: number): number[] {
    const peers: number[] = [];
    for (const [peer, connection] of this.port(host).connections)
      if (connection.state === 'open' && connection.endOf(host).open && connection.peerOf(host).open)
        peers.push(peer);
    return peers;
  }

  /** One unreliable packet: it may be lost, doubled or overtaken. */
  sendDatagram(host: number, peer: number, bytes: Uint8Array): void {
    this.counters.datagrams++;
    const copies = this.links.duplicates() ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.links.loses() || this.links.isCut(host, peer)) continue;
      this.world.after(this.links.delayMs(), () => {
        const port = this.port(peer);
        if (port.running) port.user.datagram(host, bytes);
      });
    }
  }

  private port(host: number): Port {
    const port = this.ports[host];
    assert(port !== undefined, `host ${host} has no network`);
    return port;
  }

  private count(channel: Channel, bytes: number): void {
    if (channel === 'frame') {
      this.counters.frames++;
      this.counters.frameBytes += bytes;
    } else {
      this.counters.publishes++;
      this.counters.publishBytes += bytes;
    }
  }

  private tell(host: number, life: number, what: (user: NetworkUser) => void): void {
    const port = this.port(host);
    if (port.running && port.life === life) what(port.user);
  }

  private ensure(host: number, peer: number): Connection {
    assert(host !== peer, `host ${host} dials itself`);
    const known = this.port(host).connections.get(peer);
    if (known !== undefined) return known;
    // The peer may hold the remains of a connection to this host's former process: the new one replaces it.
    const stale = this.port(peer).connections.get(host);
    const connection = new Connection(
      new End(host, this.port(host).life),
      new End(peer, this.port(peer).life),
    );
    connection.usedAt = this.world.now;
    this.port(host).connections.set(peer, connection);
    this.dial(connection, host, peer, stale);
    return connection;
  }

  /** A round trip to learn whether somebody listens, then the handshake. */
  private dial(connection: Connection, host: number, peer: number, stale: Connection | undefined): void {
    this.counters.dials++;
    const gaveUpAt = this.world.now + this.limits.dialTimeoutMs;
    const retries = this.links.loses() ? this.limits.retransmitMs : 0;
    this.world.after(this.links.delayMs() + retries, () => {
      const port = this.port(peer);
      if (!this.links.isOpen(host, peer) || (port.running && port.frozen)) {
        this.world.at(gaveUpAt, () => this.dialFailed(connection, host, peer));
      } else if (!port.running) {
        this.world.after(this.links.delayMs(), () => this.dialFailed(connection, host, peer));
      } else {
        const handshakeMs = this.links.delayMs() * 3 + this.limits.handshakeMs;
        this.world.after(handshakeMs, () => this.dialDone(connection, host, peer, stale));
      }
    });
  }

  private dialFailed(connection: Connection, host: number, peer: number): void {
    if (connection.state === 'open') return;
    this.counters.failedDials++;
    if (this.port(host).connections.get(peer) === connection) this.port(host).connections.delete(peer);
    this.tell(host, connection.endOf(host).life, (user) => user.unreachable(peer));
  }

  private dialDone(connection: Connection, host: number, peer: number, stale: Connection | undefined): void {
    // The peer's own dial came first and took this one in.
    if (connection.state === 'open') return;
    const mine = connection.endOf(host);
    const theirs = connection.peerOf(host);
    const port = this.port(peer);
    const diedMeanwhile = !port.running || port.life !== theirs.life;
    if (!mine.open || diedMeanwhile || !this.links.isOpen(host, peer)) {
      this.dialFailed(connection, host, peer);
      return;
    }
    const reverse = port.connections.get(host);
    if (reverse !== undefined && reverse !== stale && reverse !== connection && reverse.endOf(host).open) {
      // Both dialled at once: the peer's connection stays, and takes over what waits on this one.
      this.merge(connection, reverse, host, peer);
      return;
    }
    if (reverse?.state === 'open') port.user.disconnected(host);
    port.connections.set(host, connection);
    this.opened(connection);
  }

  private merge(from: Connection, into: Connection, host: number, peer: number): void {
    this.port(host).connections.set(peer, into);
    const target = into.endOf(host);
    target.held ||= from.endOf(host).held;
    for (const packet of from.endOf(host).queue)
      if (packet.channel !== 'close') this.enqueue(into, target, packet.channel, packet.bytes, 0);
    this.opened(into);
  }

  private opened(connection: Connection): void {
    if (connection.state === 'open') return;
    connection.state = 'open';
    connection.usedAt = this.world.now;
    const [a, b] = connection.ends;
    this.port(a.host).connections.set(b.host, connection);
    this.port(b.host).connections.set(a.host, connection);
    this.tell(a.host, a.life, (user) => user.connected(b.host));
    this.tell(b.host, b.life, (user) => user.connected(a.host));
    this.pump(connection, a);
    this.pump(connection, b);
    this.closeWhenIdle(connection);
  }

  private enqueue(
    connection: Connection,
    end: End,
    channel: Packet['channel'],
    bytes: Uint8Array,
    extraMs: number,
  ): void {
    const lossMs = this.links.loses() ? this.limits.retransmitMs : 0;
    const readyAt = this.world.now + this.links.delayMs() + lossMs + extraMs;
    end.queue.push({ channel, bytes, readyAt, sentAt: this.world.now });
    end.queuedBytes += bytes.length;
    this.counters.queuedBytesMax = Math.max(this.counters.queuedBytesMax, end.queuedBytes);
    this.pump(connection, end);
  }

  /** Keeps one event under way for the packet at the head of the queue. */
  private pump(connection: Connection, end: End): void {
    if (end.pumping || connection.state !== 'open' || end.queue.length === 0) return;
    end.pumping = true;
    this.world.at(end.queue[0]!.readyAt, () => this.arrive(connection, end));
  }

  private arrive(connection: Connection, end: End): void {
    end.pumping = false;
    const packet = end.queue[0];
    if (packet === undefined) return;
    const peer = connection.peerOf(end.host);
    if (this.links.isCut(end.host, peer.host) || this.links.isCut(peer.host, end.host)) {
      this.retransmit(connection, end, packet);
      return;
    }
    end.retransmitMs = 0;
    end.queue.shift();
    end.queuedBytes -= packet.bytes.length;
    if (!peer.open) this.resetByPeer(connection, end);
    else if (packet.channel === 'close') this.closedByPeer(connection, peer, end);
    else {
      const { channel, bytes } = packet;
      this.tell(peer.host, peer.life, (user) => user.frame(end.host, channel, bytes));
      this.pump(connection, end);
    }
  }

  /** Tries again later, until the stream's timeout breaks it at this end. */
  private retransmit(connection: Connection, end: End, packet: Packet): void {
    if (this.world.now - packet.sentAt >= this.limits.streamTimeoutMs) {
      end.queue.length = 0;
      end.queuedBytes = 0;
      if (!end.open) return;
      const peer = connection.peerOf(end.host).host;
      this.forget(connection, end);
      this.tell(end.host, end.life, (user) => user.unreachable(peer));
      this.tell(end.host, end.life, (user) => user.disconnected(peer));
      return;
    }
    end.retransmitMs = Math.min(
      Math.max(this.limits.retransmitMs, end.retransmitMs * 2),
      this.limits.retransmitMaxMs,
    );
    end.pumping = true;
    this.world.after(end.retransmitMs, () => this.arrive(connection, end));
  }

  /** Somebody sent to an end that is gone: its kernel answers with a reset. */
  private resetByPeer(connection: Connection, end: End): void {
    end.queue.length = 0;
    end.queuedBytes = 0;
    if (!end.open) return;
    const peer = connection.peerOf(end.host).host;
    this.world.after(this.links.delayMs(), () => {
      if (!end.open) return;
      this.forget(connection, end);
      this.tell(end.host, end.life, (user) => user.disconnected(peer));
    });
  }

  private closedByPeer(connection: Connection, end: End, peer: End): void {
    this.forget(connection, end);
    this.tell(end.host, end.life, (user) => user.disconnected(peer.host));
  }

  /** This end is gone; what it had sent still arrives, then the close. */
  private closeEnd(connection: Connection, host: number): void {
    const end = connection.endOf(host);
    const peer = connection.peerOf(host);
    this.forget(connection, end);
    if (connection.state === 'open' && peer.open)
      this.enqueue(connection, end, 'close', new Uint8Array(0), this.limits.closeNoticeMs);
  }

  private forget(connection: Connection, end: End): void {
    end.open = false;
    const peer = connection.peerOf(end.host);
    const connections = this.port(end.host).connections;
    if (connections.get(peer.host) === connection) connections.delete(peer.host);
  }

  /** A connection that neither end holds closes after `idleMs` without a frame, and nobody is told. */
  private closeWhenIdle(connection: Connection): void {
    const [a, b] = connection.ends;
    if (a.held || b.held || !a.open || !b.open) return;
    this.world.at(connection.usedAt + this.limits.idleMs, () => {
      if (a.held || b.held || !a.open || !b.open) return;
      if (this.world.now - connection.usedAt < this.limits.idleMs) this.closeWhenIdle(connection);
      else for (const end of connection.ends) this.forget(connection, end);
    });
  }
}
