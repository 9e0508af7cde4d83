/** A connection of which it is not known yet what it carries: its first bytes tell, or that none come in time. */
import type { Millis } from '../../core.ts';
import type { Deadlines, Timed } from '../deadlines.ts';
import { nobody, type Transport, type TransportOwner } from '../transport.ts';

/** Owns the transport until it is decided, or until the connection is gone: one of the two is told, once. */
export abstract class Undecided implements TransportOwner, Timed {
  readonly deadlineMs: Millis;
  protected readonly transport: Transport;
  private readonly deadlines: Deadlines;
  private readonly onGone: () => void;

  constructor(transport: Transport, deadlines: Deadlines, deadlineMs: Millis, onGone: () => void) {
    this.transport = transport;
    this.deadlines = deadlines;
    this.deadlineMs = deadlineMs;
    this.onGone = onGone;
    transport.owner = this;
    deadlines.add(this);
  }

  abstract onData(bytes: Buffer, start: number, end: number): void;
  abstract onFinish(): void;
  abstract onDeadline(): void;
  /** Whether any byte has come. */
  protected abstract get hasBegun(): boolean;

  /** It is decided: whoever is told takes the transport over. */
  protected settle(): void {
    this.deadlines.remove(this);
  }

  /** It will carry nothing. */
  protected close(): void {
    this.leave();
    this.transport.close();
  }

  private leave(): void {
    this.deadlines.remove(this);
    this.transport.owner = nobody;
    this.onGone();
  }

  /** Nothing is under way yet where nothing was said: such a client is sent away. */
  drain(): void {
    if (!this.hasBegun) this.close();
  }

  abort(): void {
    this.leave();
    this.transport.destroy();
  }

  onClose(): void {
    this.leave();
  }

  onDrain(): void {}
}
