/** A connection whose protocol is not known yet: waits for the first bytes, or for silence. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import type { CloseReason, Transport, TransportOwner } from '../transport.ts';
import { type DetectedProtocol, detectionSilenceMs, detectProtocol } from './detect.ts';

/** `first` holds what was read; `silent` says that nothing came in time. */
type OnDetected = (protocol: DetectedProtocol, first: Buffer, finished: boolean, silent: boolean) => void;

export class Detection implements TransportOwner, Timed {
  deadlineMs: Millis;
  private readonly transport: Transport;
  private readonly context: EngineContext;
  private readonly onDetected: OnDetected;
  private readonly onGone: () => void;
  private first = Buffer.alloc(0);

  /** One of the two is told, once. */
  constructor(transport: Transport, context: EngineContext, onDetected: OnDetected, onGone: () => void) {
    this.transport = transport;
    this.context = context;
    this.onDetected = onDetected;
    this.onGone = onGone;
    this.deadlineMs = context.now() + detectionSilenceMs;
    transport.owner = this;
    context.promptDeadlines.add(this);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.first = Buffer.concat([this.first, bytes.subarray(start, end)]);
    const protocol = detectProtocol(this.first);
    if (protocol !== null) this.decide(protocol, false);
  }

  /**
   * Silence means that the server is to speak first. A beginning that may still become a request is taken for
   * one: otherwise who pauses within a request line would slip past everything that is done to requests.
   */
  onDeadline(): void {
    this.decide(this.first.length === 0 ? 'tcp' : 'http1', false);
  }

  onFinish(): void {
    this.decide('tcp', true);
  }

  onClose(_reason: CloseReason): void {
    this.context.promptDeadlines.remove(this);
    this.onGone();
  }

  onDrain(): void {}

  /** Nothing is under way yet where nothing was said: such a client is sent away. */
  drain(): void {
    if (this.first.length > 0) return;
    this.context.promptDeadlines.remove(this);
    this.transport.close();
    this.onGone();
  }

  abort(): void {
    this.context.promptDeadlines.remove(this);
    this.transport.destroy();
    this.onGone();
  }

  private decide(protocol: DetectedProtocol, finished: boolean): void {
    this.context.promptDeadlines.remove(this);
    this.onDetected(protocol, this.first, finished, this.first.length === 0);
  }
}
