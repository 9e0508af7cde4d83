/**
 * A network for tens of thousands of members: datagrams that may be lost and connections that are open or not,
 * without the queues, retransmissions and limits of `Network`. What is sent is counted by its bytes.
 */

import { deliveryMs } from '../report/traffic.ts';
import type { World } from '../world.ts';
import type { Links } from './links.ts';
import { type NetworkCounters, noNetworkCounters } from './network.ts';
import type { Carrier } from './pubsub.ts';

/** What a member is told by its network. */
export interface LightUser<M> {
  datagram(host: number, from: number, message: M): void;
  /** Came over a connection. */
  message(host: number, from: number, message: M): void;
  publication(host: number, from: number, bytes: Uint8Array): void;
  connected(host: number, peer: number): void;
  disconnected(host: number, peer: number): void;
  /** A dial failed. */
  unreachable(host: number, peer: number): void;
}

/** Two round trips and the CPU of a handshake, beside the path's own delays. */
const handshakeMs = 8;
/** A dial into silence. */
const dialTimeoutMs = 2_000;
/** From a process's death until its neighbours' kernels say so, beside the path's delay. */
const closeNoticeMs = 8;
/** A connection that neither side asked to keep ends after so long. */
const casualMs = 10_000;

type Presence = 'up' | 'killed' | 'dark';

export class LightNetwork<M> implements Carrier {
  readonly links: Links;
  /** By host, headers included. */
  readonly sentBytes: Float64Array;
  readonly counters: NetworkCounters = noNetworkCounters();
  private readonly world: World;
  private readonly user: LightUser<M>;
  private readonly presence: Presence[];
  /** Hosts whose process is stopped: their kernels answer, nobody shakes hands. */
  private readonly frozen = new Set<number>();
  private readonly open: Set<number>[];
  private readonly kept: Set<number>[];
  /** Peers whose connection, if there is one, was opened by this host. */
  private readonly dialled: Set<number>[];
  /** Peers a host is dialling, with what waits for the connection. */
  private readonly dialling: Map<number, M[]>[];

  constructor(world: World, links: Links, hosts: number, user: LightUser<M>) {
    this.world = world;
    this.links = links;
    this.user = user;
    this.sentBytes = new Float64Array(hosts);
    const each = <T>(make: () => T): T[] => Array.from({ length: hosts }, make);
    this.presence = each(() => 'up');
    this.open = each(() => new Set());
    this.kept = each(() => new Set());
    this.dialled = each(() => new Set());
    this.dialling = each(() => new Map());
  }

  isUp(host: number): boolean {
    return this.presence[host] === 'up';
  }

  setFrozen(host: number, frozen: boolean): void {
    if (frozen) this.frozen.add(host);
    else this.frozen.delete(host);
  }

  isConnected(host: number, peer: number): boolean {
    return this.open[host]!.has(peer);
  }

  openPeers(host: number): number[] {
    return [...this.open[host]!];
  }

  hasDialled(host: number, peer: number): boolean {
    return this.dialled[host]!.has(peer) && this.isConnected(host, peer);
  }

  datagram(host: number, peer: number, message: M, bytes: number): void {
    this.counters.datagrams++;
    this.counters.datagramBytes += bytes;
    this.sentBytes[host]! += bytes;
    if (this.links.loses()) return;
    this.world.after(this.links.delayMs(), () => {
      if (this.isUp(peer)) this.user.datagram(peer, host, message);
    });
  }

  /** Over the connection that is there, or one that is dialled now. */
  message(host: number, peer: number, message: M, bytes: number): void {
    this.counters.frames++;
    this.counters.frameBytes += bytes;
    this.sentBytes[host]! += bytes;
    if (this.isConnected(host, peer)) this.carry(host, peer, () => this.user.message(peer, host, message));
    else this.dial(host, peer, message);
  }

  send(host: number, peer: number, _channel: 'publish', bytes: Uint8Array): void {
    this.counters.publishes++;
    this.counters.publishBytes += bytes.length;
    this.sentBytes[host]! += bytes.length;
    this.carry(host, peer, () =>
      this.world.after(deliveryMs, () => {
        if (this.isUp(peer)) this.user.publication(peer, host, bytes);
      }),
    );
  }

  private carry(host: number, peer: number, deliver: () => void): void {
    this.world.after(this.links.delayMs(), () => {
      if (this.isUp(peer) && this.isConnected(host, peer)) deliver();
    });
  }

  /** Makes a peer a neighbour. */
  connect(host: number, peer: number): void {
    this.kept[host]!.add(peer);
    if (!this.isConnected(host, peer)) this.dial(host, peer, null);
  }

  disconnect(host: number, peer: number): void {
    this.kept[host]!.delete(peer);
    if (!this.isConnected(host, peer)) return;
    this.open[host]!.delete(peer);
    this.world.after(0, () => this.ended(host, peer));
    this.world.after(this.links.delayMs(), () => this.ended(peer, host));
  }

  private dial(host: number, peer: number, message: M | null): void {
    const waiting = this.dialling[host]!.get(peer);
    if (waiting !== undefined) {
      if (message !== null) waiting.push(message);
      return;
    }
    this.counters.dials++;
    this.dialling[host]!.set(peer, message === null ? [] : [message]);
    const { delayMs } = this.links;
    const there = delayMs.call(this.links);
    const durations = { up: there * 4 + handshakeMs, killed: there * 2, dark: dialTimeoutMs };
    const presence = this.frozen.has(peer) ? 'dark' : this.presence[peer]!;
    this.world.after(durations[presence], () => this.answered(host, peer));
  }

  private answered(host: number, peer: number): void {
    const waiting = this.dialling[host]!.get(peer) ?? [];
    this.dialling[host]!.delete(peer);
    if (!this.isUp(host)) return;
    if (!this.isUp(peer) || this.frozen.has(peer)) {
      this.counters.failedDials++;
      this.user.unreachable(host, peer);
      return;
    }
    if (!this.isConnected(host, peer)) {
      this.open[host]!.add(peer);
      this.open[peer]!.add(host);
      this.dialled[host]!.add(peer);
      this.dialled[peer]!.delete(host);
      this.user.connected(host, peer);
      this.user.connected(peer, host);
      this.endUnlessKept(host, peer);
    }
    for (const message of waiting) this.carry(host, peer, () => this.user.message(peer, host, message));
  }

  private endUnlessKept(host: number, peer: number): void {
    this.world.after(casualMs, () => {
      if (!this.isConnected(host, peer)) return;
      if (this.kept[host]!.has(peer) || this.kept[peer]!.has(host)) this.endUnlessKept(host, peer);
      else this.disconnect(host, peer);
    });
  }

  /** This side learns that the connection is gone. */
  private ended(host: number, peer: number): void {
    this.open[host]!.delete(peer);
    if (this.isUp(host)) this.user.disconnected(host, peer);
  }

  /** `killed`: the kernel says so to its neighbours. `dark`: nobody says anything. */
  die(host: number, how: 'killed' | 'dark'): void {
    this.presence[host] = how;
    this.kept[host]!.clear();
    if (how === 'dark') return;
    for (const peer of this.open[host]!)
      this.world.after(closeNoticeMs + this.links.delayMs(), () => this.ended(peer, host));
    this.open[host]!.clear();
  }
}
