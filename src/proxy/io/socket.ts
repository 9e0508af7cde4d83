/** A kernel or TLS socket as a `Transport`. Everything written within one turn leaves in one system call. */
import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { type EngineContext, idleDownstreamMs, lingerMs } from '../engine.ts';
import {
  type CloseReason,
  highWaterBytes,
  keepReceived,
  nobody,
  type Transport,
  type TransportOwner,
} from '../transport.ts';
import { readsInto } from './reads.ts';

/** Probes on silent connections, so that a peer that vanished is noticed within minutes. */
const keepAliveProbeMs = 30_000;
/** Room for one read of an application's answer, at first. */
const firstReadBytes = 16 * 1024;
const nothing = Buffer.alloc(0);

/**
 * Sockets with something to send, flushed once everything that was readable in this turn of the event loop has
 * been read: TLS delivers an answer record by record, and each would else be a system call of its own.
 */
const unflushed: (SocketTransport | null)[] = [];
/** So many of them are in use: to shorten an array is a call out of compiled code, forty times as dear. */
let unflushedCount = 0;

function flushAll(): void {
  for (let i = 0; i < unflushedCount; i++) {
    unflushed[i]!.flush();
    unflushed[i] = null;
  }
  unflushedCount = 0;
}

export class SocketTransport implements Transport, Timed {
  owner: TransportOwner = nobody;
  /** Of a connect, or of lingering. */
  deadlineMs: Millis = Number.POSITIVE_INFINITY;
  private readonly socket: Socket;
  private readonly context: EngineContext;
  private outgoing: Buffer[] = [];
  /** What comes behind `outgoing`, and may still grow; null while there is nothing to send. */
  private lastBytes: Buffer | null = null;
  private lastStart = 0;
  private lastEnd = 0;
  private outgoingBytes = 0;
  private established: boolean;
  private paused = false;
  private finishing = false;
  private broken = false;
  private hadPressure = false;
  /** Of a connection that was given up: what the kernel had not taken when it was looked at last. */
  private unsentBytes = 0;
  private queuedBytes = 0;
  /** Of one whose peer is at fault: it is not waited for. */
  private isHurried = false;

  /** `established` is false while a connect is under way; then `watchConnect` says for how long. */
  constructor(socket: Socket, context: EngineContext, established: boolean) {
    this.socket = socket;
    this.context = context;
    this.established = established;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveProbeMs);
    socket.on('data', (chunk: Buffer) => this.owner.onData(chunk, 0, chunk.length));
    socket.on('end', () => this.owner.onFinish());
    socket.on('drain', () => this.drained());
    // What went wrong is told by the close that always follows.
    socket.on('error', () => {
      this.broken = true;
    });
    socket.on('close', () => this.closed());
  }

  /** Connects in the clear. */
  static connect(
    host: string,
    port: number,
    timeoutMs: number,
    context: EngineContext,
    onConnect: (transport: SocketTransport) => void,
  ): SocketTransport {
    const onread = readsInto(firstReadBytes, () => transport.owner);
    const socket = connect({ host, port, allowHalfOpen: true, onread });
    const transport = new SocketTransport(socket, context, false);
    transport.watchConnect(timeoutMs, () => onConnect(transport));
    return transport;
  }

  /** Gives up a connect that takes longer; `onConnect` is told when it did not. */
  private watchConnect(timeoutMs: number, onConnect: () => void): void {
    this.deadlineMs = this.context.now() + timeoutMs;
    this.context.promptDeadlines.add(this);
    this.socket.once('connect', () => {
      this.established = true;
      this.context.promptDeadlines.remove(this);
      onConnect();
    });
  }

  get pendingBytes(): number {
    return this.outgoingBytes + this.socket.writableLength;
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.finishing || start === end || this.socket.destroyed) return;
    keepReceived();
    this.outgoingBytes += end - start;
    // Frames are put down one behind the other: what is gathered of them is one piece.
    if (this.lastBytes === bytes && this.lastEnd === start) this.lastEnd = end;
    else {
      if (this.lastBytes === null) this.flushLater();
      else this.outgoing.push(this.takeLast(this.lastBytes));
      this.lastBytes = bytes;
      this.lastStart = start;
      this.lastEnd = end;
    }
    if (this.outgoingBytes > highWaterBytes) this.hadPressure = true;
  }

  /** The piece that could still grow, as it is now. */
  private takeLast(lastBytes: Buffer): Buffer {
    const { lastStart, lastEnd } = this;
    this.lastBytes = null;
    return lastStart === 0 && lastEnd === lastBytes.length
      ? lastBytes
      : lastBytes.subarray(lastStart, lastEnd);
  }

  private flushLater(): void {
    if (unflushedCount === 0) setImmediate(flushAll);
    unflushed[unflushedCount++] = this;
  }

  /** Hands everything over to the kernel, or to the socket's queue where the kernel is full. */
  flush(): void {
    const { lastBytes, outgoing, socket } = this;
    if (lastBytes === null) return;
    const last = this.takeLast(lastBytes);
    if (outgoing.length > 0) this.outgoing = [];
    if (!socket.destroyed) {
      if (outgoing.length === 0) socket.write(last);
      else {
        socket.cork();
        for (const bytes of outgoing) socket.write(bytes);
        socket.write(last);
        socket.uncork();
      }
    }
    this.outgoingBytes = 0;
    if (this.hadPressure && socket.writableLength === 0) this.drained();
  }

  private drained(): void {
    this.hadPressure = false;
    if (!this.finishing) this.owner.onDrain();
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.socket.resume();
  }

  finish(): void {
    if (this.finishing) return;
    this.flush();
    this.finishing = true;
    // Only a socket that is not shutting down can be reset; until everything has left, it may have to be.
    if (this.socket.writableLength === 0) this.socket.end();
    else this.socket.write(nothing, () => this.left());
  }

  /** The kernel has all of what was written, and sends it whatever becomes of the socket. */
  private left(): void {
    this.socket.end();
    if (this.unsentBytes > 0) this.deadlineMs = this.context.now() + lingerMs;
    this.unsentBytes = 0;
    this.queuedBytes = 0;
  }

  close(isAtFault = false): void {
    this.owner = nobody;
    this.isHurried = isAtFault;
    this.finish();
    if (this.socket.destroyed) return;
    // The peer may be in the middle of sending: closing at once would reset the connection under the answer.
    this.resume();
    this.watchLeaving(this.context.now());
    this.context.deadlines.add(this);
  }

  /** A peer that reads slowly gets everything; one that takes nothing for as long as it may be idle does not. */
  private watchLeaving(now: Millis): void {
    this.unsentBytes = this.socket.writableLength;
    this.queuedBytes = queuedIn(this.socket);
    const isAwaited = this.established && !this.isHurried && this.unsentBytes > 0;
    this.deadlineMs = now + (isAwaited ? idleDownstreamMs : lingerMs);
  }

  destroy(): void {
    this.owner = nobody;
    this.finishing = true;
    this.outgoing.length = 0;
    this.lastBytes = null;
    this.outgoingBytes = 0;
    this.cutSocket();
  }

  /** Whoever is at the other end is no proxy of ours. */
  decline(): boolean {
    return false;
  }

  /** A reset, not an end: the peer must not take what it has for everything. */
  private cutSocket(): void {
    const { socket } = this;
    // The system refuses to reset a socket that is shutting down, and Node would then never close it.
    const isShuttingDown = socket.writableEnded && !socket.writableFinished;
    if (this.established && !isShuttingDown && !(socket instanceof TLSSocket)) socket.resetAndDestroy();
    else socket.destroy();
  }

  onDeadline(now: Millis): void {
    const { socket, unsentBytes } = this;
    const isTaken = socket.writableLength < unsentBytes || queuedIn(socket) < this.queuedBytes;
    if (this.established && !this.isHurried && isTaken) {
      this.watchLeaving(now);
      return;
    }
    this.giveUp();
  }

  /** Waits for the peer no longer; what the kernel has still reaches it. */
  giveUp(): void {
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.broken = true;
    // A reset would take back what the kernel has and the peer has not.
    if (this.socket.writableFinished) this.socket.destroy();
    else this.cutSocket();
  }

  private closed(): void {
    this.context.promptDeadlines.remove(this);
    this.context.deadlines.remove(this);
    const reason: CloseReason = !this.established ? 'connect-failure' : this.broken ? 'reset' : 'ended';
    const owner = this.owner;
    this.owner = nobody;
    owner.onClose(reason);
  }
}

/** Of what the kernel is to take next: Node itself counts a piece only once all of it was taken. */
function queuedIn(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { writeQueueSize: number } | null };
  return handle?.writeQueueSize ?? 0;
}
