/** A connection that carries requests, by HTTP/1.1 or by HTTP/2 with prior knowledge: its first bytes tell. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { type EngineContext, idleDownstreamMs } from '../engine.ts';
import { nobody, type Transport, type TransportOwner } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { preface } from './frames.ts';

/** Told once what it is; the bytes are for whoever takes the transport over, before anything else comes. */
type OnVersion = (protocol: RequestProtocol, bytes: Buffer, start: number, end: number) => void;

export class VersionDetection implements TransportOwner, Timed {
  deadlineMs: Millis;
  private readonly transport: Transport;
  private readonly context: EngineContext;
  private readonly onVersion: OnVersion;
  private readonly onGone: () => void;
  /** The beginning of what may become a preface. */
  private held = Buffer.alloc(0);

  /** One of the two is told, once. */
  constructor(transport: Transport, context: EngineContext, onVersion: OnVersion, onGone: () => void) {
    this.transport = transport;
    this.context = context;
    this.onVersion = onVersion;
    this.onGone = onGone;
    this.deadlineMs = context.now() + idleDownstreamMs;
    transport.owner = this;
    context.deadlines.add(this);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    // HTTP/1.1 has no method that begins like this, so one or two bytes tell, as a rule.
    const heldLength = this.held.length;
    const compared = Math.min(preface.length, heldLength + end - start);
    let at = heldLength;
    while (at < compared && bytes[start + at - heldLength] === preface[at]) at++;
    const isDecided = at < compared || at === preface.length;
    if (isDecided && heldLength === 0) {
      this.decide(at === preface.length ? 'http2' : 'http1', bytes, start, end);
      return;
    }
    const all = Buffer.concat([this.held, bytes.subarray(start, end)]);
    if (isDecided) this.decide(at === preface.length ? 'http2' : 'http1', all, 0, all.length);
    else this.held = all;
  }

  private decide(protocol: RequestProtocol, bytes: Buffer, start: number, end: number): void {
    this.context.deadlines.remove(this);
    this.onVersion(protocol, bytes, start, end);
  }

  /** Nothing came, or nothing of use: whatever it was to be, it is over. */
  private leave(): void {
    this.context.deadlines.remove(this);
    this.transport.owner = nobody;
    this.onGone();
  }

  onDeadline(): void {
    this.leave();
    this.transport.close();
  }

  onFinish(): void {
    this.leave();
    this.transport.close();
  }

  onClose(): void {
    this.leave();
  }

  onDrain(): void {}

  /** Nothing is under way yet where nothing was said. */
  drain(): void {
    if (this.held.length === 0) this.onDeadline();
  }

  abort(): void {
    this.leave();
    this.transport.destroy();
  }
}
