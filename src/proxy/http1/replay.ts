/** What was sent of a request, kept as long as it may have to be sent again to another server. */

import { keepReceived } from '../transport.ts';

/** Requests with more than this are not sent twice. */
export const maxReplayBytes = 64 * 1024;

export class Replay {
  /** In the order they were sent; the first holds the head. They alias what was sent: nothing is copied. */
  readonly parts: Buffer[] = [];
  /** A server that failed may have acted on it. */
  seen = false;
  /** Sending it twice does no harm beyond sending it once. */
  idempotent = false;
  /** All that came of the request so far is here. */
  complete = false;
  private bytes = 0;

  /** Begins with a new request. */
  start(first: Buffer, idempotent: boolean): void {
    this.empty();
    this.parts.push(first);
    this.bytes = first.length;
    this.complete = true;
    this.seen = false;
    this.idempotent = idempotent;
  }

  /** Takes what is being sent; gives up on requests that grow too long. */
  add(bytes: Buffer, start: number, end: number): void {
    if (!this.complete) return;
    if (this.bytes + end - start > maxReplayBytes) this.stop();
    else this.keep(bytes, start, end);
  }

  /** Takes what cannot be sent yet, however much it is: whoever calls pauses its source once this `isFull`. */
  keep(bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    keepReceived();
    this.parts.push(bytes.subarray(start, end));
  }

  get isFull(): boolean {
    return this.bytes > maxReplayBytes;
  }

  /** Something of an answer is on its way to the client, or it grew too long: it is not sent again any more. */
  stop(): void {
    this.complete = false;
    this.empty();
  }

  /** One by one: to set the length of an array is a call out of compiled code, forty times as dear. */
  private empty(): void {
    while (this.parts.length > 0) this.parts.pop();
  }
}
