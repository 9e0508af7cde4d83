/**
 * One simulated connection between two processes: packets in order in each direction, retransmitted while
 * the path is cut as TCP does, and an end that is told how it ended.
 */
import type { Millis } from '../../src/core.ts';
import type { World } from '../world.ts';
import type { Links } from './links.ts';

/** Frames of the protocol itself, and messages of publish-subscribe on the same connection. */
export type Channel = 'frame' | 'publish';

export interface StreamLimits {
  /** First retransmission of a lost packet; doubles up to `retransmitMaxMs` (RFC 6298; Linux's minimum). */
  readonly retransmitMs: number;
  readonly retransmitMaxMs: number;
  /** A stream whose packets are not acknowledged for so long is broken (Linux's `tcp_retries2` of 15). */
  readonly streamTimeoutMs: number;
}

interface Packet {
  readonly channel: Channel | 'close';
  readonly bytes: Uint8Array;
  readonly readyAt: Millis;
  readonly sentAt: Millis;
}

/** One end, and the packets on their way from it. */
export class End {
  readonly host: number;
  /** Which of the host's processes, counted from 1. */
  readonly life: number;
  open = true;
  /** Waiting and on the way, in order. Its length is bounded by the network's `queueBytesMax`. */
  readonly queue: Packet[] = [];
  queuedBytes = 0;
  retransmitMs = 0;
  /** Whether an event for the head of the queue is under way. */
  pumping = false;

  constructor(host: number, life: number) {
    this.host = host;
    this.life = life;
  }
}

/** What a connection tells its network. */
export interface ConnectionOwner {
  arrived(at: End, from: number, channel: Channel, bytes: Uint8Array): void;
  /** `end` learnt that the connection is gone; `lostFrames` when something it sent was not delivered. */
  ended(connection: Connection, end: End, lostFrames: boolean): void;
}

export class Connection {
  /** The end that dialled comes first. */
  readonly ends: readonly [End, End];
  isOpen = false;
  usedAt: Millis;
  private readonly world: World;
  private readonly links: Links;
  private readonly limits: StreamLimits;
  private readonly owner: ConnectionOwner;

  constructor(
    parts: {
      readonly world: World;
      readonly links: Links;
      readonly limits: StreamLimits;
      readonly owner: ConnectionOwner;
    },
    dialler: End,
    listener: End,
  ) {
    this.world = parts.world;
    this.links = parts.links;
    this.limits = parts.limits;
    this.owner = parts.owner;
    this.ends = [dialler, listener];
    this.usedAt = parts.world.now;
  }

  endOf(host: number): End {
    return this.ends[0].host === host ? this.ends[0] : this.ends[1];
  }

  peerOf(host: number): End {
    return this.ends[0].host === host ? this.ends[1] : this.ends[0];
  }

  /** Whether neither end is gone, seen from above. */
  get isWhole(): boolean {
    return this.isOpen && this.ends[0].open && this.ends[1].open;
  }

  /** The handshake is done: what waited goes out. */
  /** Whether one end waits to send again what was lost: for as long as that took to be lost, at the longest. */
  get isStalled(): boolean {
    return this.ends.some(({ retransmitMs }) => retransmitMs > 0);
  }

  open(): void {
    this.isOpen = true;
    this.usedAt = this.world.now;
    for (const end of this.ends) this.pump(end);
  }

  send(end: End, channel: Packet['channel'], bytes: Uint8Array, extraMs = 0): void {
    this.usedAt = this.world.now;
    const lossMs = this.links.loses() ? this.limits.retransmitMs : 0;
    const readyAt = this.world.now + this.links.delayMs() + lossMs + extraMs;
    end.queue.push({ channel, bytes, readyAt, sentAt: this.world.now });
    end.queuedBytes += bytes.length;
    this.pump(end);
  }

  /** This end is gone; what it had sent still arrives, then the close, `noticeMs` later. */
  close(end: End, noticeMs: number): void {
    end.open = false;
    if (this.isOpen && this.peerOf(end.host).open) this.send(end, 'close', new Uint8Array(0), noticeMs);
  }

  /** Keeps one event under way for the packet at the head of the queue. */
  private pump(end: End): void {
    const head = end.queue[0];
    if (end.pumping || !this.isOpen || head === undefined) return;
    end.pumping = true;
    this.world.at(head.readyAt, () => this.arrive(end));
  }

  private arrive(end: End): void {
    end.pumping = false;
    const packet = end.queue[0];
    if (packet === undefined) return;
    const peer = this.peerOf(end.host);
    // A packet and its acknowledgement must both pass.
    if (!this.links.isOpen(end.host, peer.host)) {
      this.retransmit(end, packet);
      return;
    }
    end.retransmitMs = 0;
    end.queue.shift();
    end.queuedBytes -= packet.bytes.length;
    if (!peer.open) {
      this.reset(end, packet);
      return;
    }
    if (packet.channel === 'close') {
      const lost = peer.queue.length > 0;
      this.abandon(peer);
      this.owner.ended(this, peer, lost);
      return;
    }
    this.owner.arrived(peer, end.host, packet.channel, packet.bytes);
    this.pump(end);
  }

  /** Tries again later, until the stream's timeout breaks it at this end. */
  private retransmit(end: End, packet: Packet): void {
    if (this.world.now - packet.sentAt >= this.limits.streamTimeoutMs) {
      const told = end.open;
      this.abandon(end);
      if (told) this.owner.ended(this, end, true);
      return;
    }
    const { retransmitMs, retransmitMaxMs } = this.limits;
    end.retransmitMs = Math.min(Math.max(retransmitMs, end.retransmitMs * 2), retransmitMaxMs);
    end.pumping = true;
    this.world.after(end.retransmitMs, () => this.arrive(end));
  }

  /** Somebody sent to an end that is gone: its kernel answers with a reset. */
  private reset(end: End, packet: Packet): void {
    end.queue.length = 0;
    end.queuedBytes = 0;
    if (!end.open) return;
    this.world.after(this.links.delayMs(), () => {
      if (!end.open) return;
      this.abandon(end);
      this.owner.ended(this, end, packet.channel !== 'close');
    });
  }

  private abandon(end: End): void {
    end.open = false;
    end.queue.length = 0;
    end.queuedBytes = 0;
  }
}
