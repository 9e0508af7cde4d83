/** A connection that carries requests, by HTTP/1.1 or by HTTP/2 with prior knowledge: its first bytes tell. */
import { type EngineContext, idleDownstreamMs } from '../engine.ts';
import { Undecided } from '../relay/undecided.ts';
import type { Transport } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { preface } from './frames.ts';

/** Told once what it is; the bytes are for whoever takes the transport over, before anything else comes. */
type OnVersion = (protocol: RequestProtocol, bytes: Buffer, start: number, end: number) => void;

export class VersionDetection extends Undecided {
  private readonly onVersion: OnVersion;
  /** The beginning of what may become a preface. */
  private held = Buffer.alloc(0);

  constructor(transport: Transport, context: EngineContext, onVersion: OnVersion, onGone: () => void) {
    super(transport, context.deadlines, context.now() + idleDownstreamMs, onGone);
    this.onVersion = onVersion;
  }

  protected get hasBegun(): boolean {
    return this.held.length > 0;
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
    this.settle();
    this.onVersion(protocol, bytes, start, end);
  }

  /** Nothing came, or nothing of use: whatever it was to be, it is over. */
  onDeadline(): void {
    this.close();
  }

  onFinish(): void {
    this.close();
  }
}
