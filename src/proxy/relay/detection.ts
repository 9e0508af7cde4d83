/** A connection that may carry requests or any bytes: waits for the first of them, or for silence. */
import type { EngineContext } from '../engine.ts';
import type { Transport } from '../transport.ts';
import { type DetectedProtocol, detectionSilenceMs, detectProtocol } from './detect.ts';
import { Undecided } from './undecided.ts';

/** `first` holds what was read; `silent` says that nothing came in time. */
type OnDetected = (protocol: DetectedProtocol, first: Buffer, finished: boolean, silent: boolean) => void;

export class Detection extends Undecided {
  private readonly onDetected: OnDetected;
  private first = Buffer.alloc(0);

  constructor(transport: Transport, context: EngineContext, onDetected: OnDetected, onGone: () => void) {
    super(transport, context.promptDeadlines, context.now() + detectionSilenceMs, onGone);
    this.onDetected = onDetected;
  }

  protected get hasBegun(): boolean {
    return this.first.length > 0;
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
    this.decide(this.hasBegun ? 'http1' : 'tcp', false);
  }

  onFinish(): void {
    this.decide('tcp', true);
  }

  private decide(protocol: DetectedProtocol, finished: boolean): void {
    this.settle();
    this.onDetected(protocol, this.first, finished, !this.hasBegun);
  }
}
