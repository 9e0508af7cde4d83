/** One virtual connection of a session, with credit each way so that a slow reader holds up nobody else. */
import {
  type CloseReason,
  type DeclineReason,
  keepReceived,
  nobody,
  type Transport,
  type TransportOwner,
} from '../transport.ts';
import { initialWindowBytes, maxCredit, ResetCode, resetReasons } from './frames.ts';
import type { Session } from './session.ts';

/** Once this much was read, the peer is told that it may send as much again. */
const creditStepBytes = initialWindowBytes / 2;

export class MuxStream implements Transport {
  owner: TransportOwner = nobody;
  readonly id: number;
  readonly session: Session;
  private over = false;
  /** Bytes the peer still takes. */
  private credit = initialWindowBytes;
  /** Bytes the peer may still send, and bytes it sent that it was not given back yet. */
  private allowance = initialWindowBytes;
  private unreturned = 0;
  private paused = false;
  /** Waiting for credit. */
  private queue: Buffer[] = [];
  private queuedBytes = 0;
  private finishing = false;
  private closing = false;
  private localFinished = false;
  private remoteFinished = false;

  constructor(session: Session, id: number) {
    this.session = session;
    this.id = id;
  }

  get pendingBytes(): number {
    return this.queuedBytes + this.session.backlogBytes;
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.over || this.finishing || start === end) return;
    if (this.queuedBytes > 0) {
      this.enqueue(bytes, start, end);
      return;
    }
    const now = Math.min(this.credit, end - start);
    this.credit -= now;
    this.session.sendData(this.id, bytes, start, start + now);
    if (start + now < end) this.enqueue(bytes, start + now, end);
  }

  private enqueue(bytes: Buffer, start: number, end: number): void {
    keepReceived();
    this.queue.push(bytes.subarray(start, end));
    this.queuedBytes += end - start;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.returnCredit();
  }

  finish(): void {
    if (this.over || this.finishing) return;
    this.finishing = true;
    this.endWhenSent();
  }

  close(): void {
    this.owner = nobody;
    if (this.over) return;
    this.closing = true;
    this.finishing = true;
    // What still comes is dropped, but must not stay uncredited, or a peer that only sends would wait forever.
    this.resume();
    this.endWhenSent();
  }

  destroy(): void {
    this.reset(ResetCode.cut);
  }

  decline(reason: DeclineReason): boolean {
    this.reset(ResetCode[reason]);
    return true;
  }

  private reset(code: number): void {
    if (this.over) return;
    this.session.sendReset(this.id, code);
    this.owner = nobody;
    this.leave();
  }

  private endWhenSent(): void {
    if (this.queuedBytes > 0) return;
    if (!this.localFinished) {
      this.localFinished = true;
      this.session.sendFinish(this.id);
    }
    if (this.remoteFinished) this.leave();
    else if (this.closing) this.reset(ResetCode.cut);
  }

  private leave(): void {
    this.over = true;
    this.queue = [];
    this.queuedBytes = 0;
    this.session.forget(this);
  }

  /** From here on: told by the session. Each returns what the peer did wrong, or null. */

  receiveData(bytes: Buffer, start: number, end: number): string | null {
    const count = end - start;
    if (this.remoteFinished) return 'data after finish';
    if (count > this.allowance) return 'more data than was allowed';
    this.allowance -= count;
    this.unreturned += count;
    this.owner.onData(bytes, start, end);
    if (this.unreturned >= creditStepBytes) this.returnCredit();
    return null;
  }

  private returnCredit(): void {
    if (this.paused || this.over || this.remoteFinished || this.unreturned < creditStepBytes) return;
    this.session.sendWindow(this.id, this.unreturned);
    this.allowance += this.unreturned;
    this.unreturned = 0;
  }

  receiveCredit(count: number): string | null {
    if (count === 0 || this.credit + count > maxCredit) return 'credit out of bounds';
    this.credit += count;
    if (this.queuedBytes === 0) return null;
    this.sendQueued();
    if (this.queuedBytes > 0) return null;
    if (this.finishing) this.endWhenSent();
    else this.owner.onDrain();
    return null;
  }

  private sendQueued(): void {
    let sent = 0;
    for (const bytes of this.queue) {
      if (this.credit === 0) break;
      const now = Math.min(this.credit, bytes.length);
      this.credit -= now;
      this.queuedBytes -= now;
      this.session.sendData(this.id, bytes, 0, now);
      if (now < bytes.length) {
        this.queue[sent] = bytes.subarray(now);
        break;
      }
      sent++;
    }
    this.queue.splice(0, sent);
  }

  receiveFinish(): string | null {
    if (this.remoteFinished) return 'finish after finish';
    this.remoteFinished = true;
    if (this.localFinished) {
      this.leave();
      this.owner.onFinish();
      this.owner.onClose('ended');
    } else this.owner.onFinish();
    return null;
  }

  receiveReset(code: number): string | null {
    const reason = resetReasons[code];
    if (reason === undefined) return `reset code ${code}`;
    this.fail(reason);
    return null;
  }

  /** The session's backlog has left. */
  sessionDrained(): void {
    if (this.queuedBytes === 0 && !this.finishing) this.owner.onDrain();
  }

  /** It ended from outside. */
  fail(reason: CloseReason): void {
    if (this.over) return;
    this.leave();
    this.owner.onClose(reason);
  }
}
