/** Opens connections to peers: few at a time, one per peer, each with a deadline. */

import { isIPv6 } from 'node:net';
import type { Connection, PeerId } from '@libp2p/interface';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { Fault, type HostId } from '../../core.ts';
import type { Libp2pNode } from './node.ts';

/** Where a host listens: an IP literal and a port. */
export interface PeerAddress {
  readonly address: string;
  readonly port: number;
}

/**
 * How long one dial may take, handshakes included. On a LAN it takes 15 ms; a host that a whole fleet dials at
 * once takes seconds, and giving up on it would only make it do the same work again.
 */
const dialTimeoutMs = 5000;
/** Dials under way at once. A handshake costs about 6 ms of CPU: more would not be faster, only all late. */
const maxParallelDials = 8;
/** Dials that wait for their turn; one more is refused at once. */
const maxWaitingDials = 1024;

/** The libp2p address of a peer. */
export function dialAddress({ address, port }: PeerAddress, peerId: PeerId): Multiaddr {
  const family = isIPv6(address) ? 'ip6' : 'ip4';
  return multiaddr(`/${family}/${address}/tcp/${port}/p2p/${peerId.toString()}`);
}

/** Hands out connections, dialing where there is none. */
export class Dialer {
  private readonly node: Libp2pNode;
  private readonly addressOf: (host: HostId) => PeerAddress | null;
  private readonly pending = new Map<HostId, Promise<Connection>>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private stopped = false;

  constructor(node: Libp2pNode, addressOf: (host: HostId) => PeerAddress | null) {
    this.node = node;
    this.addressOf = addressOf;
  }

  /**
   * The open connection to `host`, or a new one. Rejects with whatever stopped the dial, among others
   * `Fault('peer-address-unknown')`, `Fault('dial-queue-full')` and `Fault('transport-stopped')`.
   */
  connection(host: HostId, peerId: PeerId): Promise<Connection> {
    const open = this.node.getConnections(peerId).find((connection) => connection.status === 'open');
    if (open !== undefined) return Promise.resolve(open);
    const pending = this.pending.get(host);
    if (pending !== undefined) return pending;
    const dialed = this.dial(host, peerId).finally(() => this.pending.delete(host));
    this.pending.set(host, dialed);
    return dialed;
  }

  /** Fails every dial that still waits for its turn, and all that are asked for later. */
  stop(): void {
    this.stopped = true;
    for (const start of this.waiting.splice(0)) start();
  }

  private async dial(host: HostId, peerId: PeerId): Promise<Connection> {
    await this.turn();
    try {
      if (this.stopped) throw new Fault('transport-stopped', 'the transport was stopped');
      const address = this.addressOf(host);
      if (address === null) throw new Fault('peer-address-unknown', `no address is known for ${host}`);
      return await this.node.dial(dialAddress(address, peerId), {
        signal: AbortSignal.timeout(dialTimeoutMs),
      });
    } finally {
      this.release();
    }
  }

  /** Resolves when a dial may start, with its place already taken; `release` gives the place back. */
  private async turn(): Promise<void> {
    if (this.running < maxParallelDials) {
      this.running += 1;
      return;
    }
    if (this.waiting.length >= maxWaitingDials) throw new Fault('dial-queue-full', 'too many dials wait');
    await new Promise<void>((start) => this.waiting.push(start));
  }

  /** Hands the place to the dial that waits longest, or frees it. */
  private release(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.running -= 1;
    else next();
  }
}
