/** Moves the bytes of one starling/1 session over one TLS connection, and notices when that is dead. */
import type { TLSSocket } from 'node:tls';
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import { Session, type SessionEvents } from '../mux/session.ts';
import type { MuxStream } from '../mux/stream.ts';
import type { CloseReason } from '../transport.ts';
import type { CarriedProtocol } from '../upstream/upstreams.ts';

/** How often a session that carries something must be heard of; twice nothing, and it is dead. */
const livenessMs = 10_000;
const maxSilentPeriods = 2;
/** A session without streams is ended by its client after so many periods. */
const maxUnusedPeriods = 30;
/** A retired session without streams is ended by its server after so many, if its client has not done so. */
const maxRetiredPeriods = 2;

interface CarrierHooks {
  onStream(stream: MuxStream, protocol: CarriedProtocol): void;
  onGoAway(): void;
  /** Told once; `problem` says what the peer did wrong, if it did. */
  onOver(problem: string | null): void;
}

export class SessionCarrier implements SessionEvents, Timed {
  readonly session: Session;
  deadlineMs: Millis;
  private readonly isClient: boolean;
  private readonly context: EngineContext;
  private readonly hooks: CarrierHooks;
  private socket: TLSSocket | null = null;
  /** A write of the socket is under way; more gathers meanwhile. */
  private inFlight: Buffer | null = null;
  private scheduled = false;
  private open = false;
  private over = false;
  private heardBytes = 0;
  private silentPeriods = 0;
  private unusedPeriods = 0;

  constructor(isClient: boolean, context: EngineContext, hooks: CarrierHooks) {
    this.session = new Session(isClient, this);
    this.isClient = isClient;
    this.context = context;
    this.hooks = hooks;
    this.deadlineMs = context.now() + livenessMs;
  }

  /** Takes over an authenticated connection. Output waits for `start`. */
  attach(socket: TLSSocket): void {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.receive(socket, chunk, 0));
    const ended = (): void => this.end(null, this.open ? 'reset' : 'connect-failure');
    // A session ends as a whole: half of one is of no use.
    socket.on('end', ended);
    socket.on('close', ended);
    socket.on('error', ended);
    this.context.deadlines.add(this);
  }

  /** Others are served while a peer opens streams by the thousand. */
  private receive(socket: TLSSocket, chunk: Buffer, from: number): void {
    const at = this.session.receive(chunk, from);
    this.endIfUnused();
    if (at === chunk.length) return;
    socket.pause();
    setImmediate(() => {
      this.session.beginTurn();
      socket.resume();
      this.receive(socket, chunk, at);
    });
  }

  /** From now on output is sent. */
  start(): void {
    this.open = true;
    this.flush();
  }

  onOutput(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.flushScheduled);
  }

  private readonly flushScheduled = (): void => {
    this.scheduled = false;
    this.flush();
  };

  private flush(): void {
    if (!this.open || this.over || this.inFlight !== null) return;
    const bytes = this.session.takeOutput();
    if (bytes === null) return;
    this.inFlight = bytes;
    this.socket!.write(bytes, this.onWritten);
  }

  private readonly onWritten = (error?: Error | null): void => {
    const bytes = this.inFlight;
    this.inFlight = null;
    if (error || this.over || bytes === null) return;
    this.session.written(bytes);
    this.flush();
    this.endIfUnused();
  };

  /** The client ends a retired session; the server waits for that, since a stream may be on its way to it. */
  private endIfUnused(): void {
    if (this.isClient && this.session.isRetired && this.session.streamCount === 0 && this.inFlight === null)
      this.end(null, 'ended');
  }

  onStream(stream: MuxStream, protocol: CarriedProtocol): void {
    this.hooks.onStream(stream, protocol);
  }

  onGoAway(): void {
    this.hooks.onGoAway();
  }

  onMalformed(problem: string): void {
    this.end(problem, 'reset');
  }

  /** Ends the session and its connection; its streams fail with `reason`. */
  end(problem: string | null, reason: CloseReason): void {
    if (this.over) return;
    this.over = true;
    this.context.deadlines.remove(this);
    this.session.fail(reason);
    this.socket?.destroy();
    this.hooks.onOver(problem);
  }

  /** Only the client can end a session without a stream being on its way; the server waits for it. */
  private get isSpent(): boolean {
    const { isRetired } = this.session;
    if (this.unusedPeriods === 0) return false;
    if (this.isClient) return isRetired || this.unusedPeriods > maxUnusedPeriods;
    return isRetired && this.unusedPeriods > maxRetiredPeriods;
  }

  onDeadline(now: Millis): void {
    this.deadlineMs = now + livenessMs;
    const heard = this.session.receivedBytes !== this.heardBytes;
    this.heardBytes = this.session.receivedBytes;
    const unused = this.session.streamCount === 0;
    this.unusedPeriods = unused ? this.unusedPeriods + 1 : 0;
    if (this.isSpent) {
      this.end(null, 'ended');
      return;
    }
    this.silentPeriods = heard || unused ? 0 : this.silentPeriods + 1;
    if (this.silentPeriods > maxSilentPeriods) this.end('silent', 'reset');
    else if (!unused) this.session.ping();
  }
}
