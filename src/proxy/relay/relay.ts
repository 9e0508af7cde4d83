/** Two transports joined byte for byte, with back-pressure and half-close each way: TCP, and HTTP after 101. */
import type { Millis } from '../../core.ts';
import type { Deadlines, Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { failureOf } from '../failure.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import {
  type CloseReason,
  highWaterBytes,
  keepReceived,
  type Transport,
  type TransportOwner,
} from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { detectProtocol } from './detect.ts';

export type RelayEnd =
  | CloseReason
  /** The client broke it, or it was cut from here: that says nothing about the server. */
  | 'client-reset'
  /** Nothing came from either side for too long. */
  | 'idle';

/** Takes over a client that turned out to speak HTTP, with what it sent first. */
export type OnHttp = (first: Buffer, protocol: RequestProtocol) => void;

/**
 * Takes back a client of whom no server has read anything, with all it sent; `finished` says that it has ended
 * its side. False leaves it with the relay, which then cuts it.
 */
export type OnUnserved = (reason: CloseReason, sent: Buffer, finished: boolean) => boolean;

/** A client that has sent more than this before the server spoke is not taken to another one. */
const maxUnservedBytes = 64 * 1024;

export class Relay implements Timed {
  deadlineMs: Millis = Infinity;
  private readonly client: RelaySide;
  private readonly upstream: RelaySide;
  private readonly counter: TrafficCounter;
  private readonly onEnd: (end: RelayEnd) => void;
  /**
   * Looks out for a client that speaks HTTP over what was taken for a byte stream: its first bytes are kept
   * back until that is decided, unless the server has spoken before. Null once it is, or where all is allowed.
   */
  onHttp: OnHttp | null = null;
  private first: Buffer | null = null;
  /** Told once, when the server says something, or ends its side in order. */
  onServed: (() => void) | null = null;
  /** Null once the server has spoken, or the client sent too much to begin anew elsewhere. */
  onUnserved: OnUnserved | null = null;
  private unserved: Buffer[] = [];
  private unservedBytes = 0;
  private over = false;
  /** Null where it may be idle for ever. */
  private deadlines: Deadlines | null = null;
  private idleMs = Infinity;
  /** As exact as the ticks of `deadlines`. */
  private heardAt: Millis = 0;
  /** By the client, and to it. */
  sentBytes = 0;
  receivedBytes = 0;

  /** `onEnd` is told once how it went; by then both transports are given up. */
  constructor(
    client: Transport,
    upstream: Transport,
    counter: TrafficCounter,
    onEnd: (end: RelayEnd) => void,
  ) {
    this.counter = counter;
    this.onEnd = onEnd;
    this.client = new RelaySide(client, this, true);
    this.upstream = new RelaySide(upstream, this, false);
    client.owner = this.client;
    upstream.owner = this.upstream;
  }

  /** Cuts it after so long without a byte in either direction. */
  endWhenIdle(idleMs: number, context: EngineContext): void {
    if (idleMs === Infinity || this.over) return;
    this.deadlines = context.deadlines;
    this.idleMs = idleMs;
    this.heardAt = context.now();
    this.deadlineMs = this.heardAt + idleMs;
    this.deadlines.add(this);
  }

  onDeadline(now: Millis): void {
    this.deadlineMs = this.heardAt + this.idleMs;
    if (now >= this.deadlineMs) this.breakBoth('idle');
  }

  /** Bytes of the client that had been read before the relay was there. */
  feedClient(bytes: Buffer): void {
    if (bytes.length > 0) this.client.onData(bytes, 0, bytes.length);
  }

  /** The client had ended its side before the relay was there. */
  finishClient(): void {
    this.client.onFinish();
  }

  data(fromClient: boolean, bytes: Buffer, start: number, end: number): void {
    if (this.over) return;
    if (this.onHttp !== null && this.keepsBack(this.onHttp, fromClient, bytes, start, end)) return;
    if (this.onUnserved !== null) this.noteServed(fromClient, bytes, start, end);
    const source = fromClient ? this.client : this.upstream;
    const target = fromClient ? this.upstream : this.client;
    if (this.deadlines !== null && this.deadlines.tickedAt > this.heardAt)
      this.heardAt = this.deadlines.tickedAt;
    if (fromClient) {
      this.sentBytes += end - start;
      this.counter.bytesSent += end - start;
    } else {
      if (this.onServed !== null) this.served(this.onServed);
      this.receivedBytes += end - start;
      this.counter.bytesReceived += end - start;
    }
    target.transport.write(bytes, start, end);
    if (target.transport.pendingBytes > highWaterBytes) source.transport.pause();
  }

  private served(tell: () => void): void {
    this.onServed = null;
    tell();
  }

  private noteServed(fromClient: boolean, bytes: Buffer, start: number, end: number): void {
    this.unservedBytes += end - start;
    if (fromClient && this.unservedBytes <= maxUnservedBytes) {
      keepReceived();
      this.unserved.push(bytes.subarray(start, end));
    } else {
      this.onUnserved = null;
      this.unserved = [];
    }
  }

  /** Whether the bytes wait for a decision, or were part of one and are dealt with. */
  private keepsBack(onHttp: OnHttp, fromClient: boolean, bytes: Buffer, start: number, end: number): boolean {
    if (!fromClient) {
      this.passFirst();
      return false;
    }
    const more = bytes.subarray(start, end);
    keepReceived();
    this.first = this.first === null ? more : Buffer.concat([this.first, more]);
    const detected = detectProtocol(this.first);
    if (detected === null) return true;
    if (detected !== 'tcp') {
      this.leave();
      this.upstream.transport.destroy();
      onHttp(this.first, detected);
      this.onEnd('ended');
    } else this.passFirst();
    return true;
  }

  /** It is a byte stream after all. */
  private passFirst(): void {
    const first = this.first;
    this.onHttp = null;
    this.first = null;
    if (first !== null) this.client.onData(first, 0, first.length);
  }

  finished(fromClient: boolean): void {
    if (this.over) return;
    if (fromClient) this.passFirst();
    else if (this.onServed !== null) this.served(this.onServed);
    (fromClient ? this.client : this.upstream).ended = true;
    if (this.client.ended && this.upstream.ended) {
      this.client.transport.close();
      this.upstream.transport.close();
      this.end('ended');
    } else (fromClient ? this.upstream : this.client).transport.finish();
  }

  /**
   * A side broke or ended for good: the other one must not take that for an end in order. A client that is a proxy of
   * ours is told where the server broke it before any answer: what it hears of nobody is no fault of the server's.
   */
  closed(fromClient: boolean, reason: CloseReason): void {
    if (this.over || (!fromClient && this.handsBack(reason))) return;
    const other = fromClient ? this.upstream : this.client;
    if (reason === 'ended') other.transport.close();
    else if (fromClient || this.hasAnswered || !other.transport.decline('failed')) other.transport.destroy();
    this.end(fromClient && reason !== 'ended' ? 'client-reset' : reason);
  }

  /** Whether the server has said anything, or ended its side in order. */
  private get hasAnswered(): boolean {
    return this.receivedBytes > 0 || this.upstream.ended;
  }

  private handsBack(reason: CloseReason): boolean {
    if (this.onUnserved === null || failureOf(reason).reach !== 'unseen') return false;
    const sent = this.first === null ? this.unserved : [...this.unserved, this.first];
    const isTaken = this.onUnserved(reason, Buffer.concat(sent), this.client.ended);
    if (isTaken) this.leave();
    return isTaken;
  }

  drained(intoClient: boolean): void {
    if (!this.over) (intoClient ? this.upstream : this.client).transport.resume();
  }

  /** Breaks both sides, as when the pair is not allowed any more. */
  cut(): void {
    if (!this.over) this.breakBoth('client-reset');
  }

  private breakBoth(end: RelayEnd): void {
    this.client.transport.destroy();
    this.upstream.transport.destroy();
    this.end(end);
  }

  private end(end: RelayEnd): void {
    this.leave();
    this.onEnd(end);
  }

  private leave(): void {
    this.over = true;
    this.deadlines?.remove(this);
  }
}

class RelaySide implements TransportOwner {
  readonly transport: Transport;
  private readonly relay: Relay;
  private readonly isClient: boolean;
  ended = false;

  constructor(transport: Transport, relay: Relay, isClient: boolean) {
    this.transport = transport;
    this.relay = relay;
    this.isClient = isClient;
  }
  onData(bytes: Buffer, start: number, end: number): void {
    this.relay.data(this.isClient, bytes, start, end);
  }
  onFinish(): void {
    this.relay.finished(this.isClient);
  }
  onClose(reason: CloseReason): void {
    this.relay.closed(this.isClient, reason);
  }
  onDrain(): void {
    this.relay.drained(this.isClient);
  }
}
