/** What was sent of a request, kept as long as it may have to be sent again to another server. */

import { keepReceived } from '../transport.ts';

/** Requests with more than this are not sent twice. */
const maxReplayBytes = 64 * 1024;

export class Replay {
  /** In the order they were sent; the first holds the head. They alias what was sent: nothing is copied. */
  readonly parts: Buffer[] = [];
  /** A server that failed may have acted on it. */
  seen = false;
  /** At most one retry. */
  private retried = false;
  private bytes = 0;
  private complete = false;
  private idempotent = false;

  /** Begins with a new request. */
  start(first: Buffer, idempotent: boolean): void {
    this.parts.length = 0;
    this.parts.push(first);
    this.bytes = first.length;
    this.complete = true;
    this.retried = false;
    this.seen = false;
    this.idempotent = idempotent;
  }

  add(bytes: Buffer, start: number, end: number): void {
    if (!this.complete) return;
    this.bytes += end - start;
    if (this.bytes > maxReplayBytes) {
      this.stop();
      return;
    }
    keepReceived();
    this.parts.push(bytes.subarray(start, end));
  }

  /** Something of an answer is on its way to the client, or it grew too long: no retry any more. */
  stop(): void {
    this.complete = false;
    this.parts.length = 0;
  }

  /** Whether it may be sent again, as far as it goes itself. */
  get mayRetry(): boolean {
    return this.complete && !this.retried && (!this.seen || this.idempotent);
  }

  /** It is sent again. */
  retry(): void {
    this.retried = true;
  }
}
