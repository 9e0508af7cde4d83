/**
 * Lines on their way to where the agent logs, or to a file: gathered while one write is under way, dropped and
 * counted where too many wait. Writes happen off the main thread: a reader that stands still delays no traffic.
 */
import { close, constants, fstat, open, stat, write } from 'node:fs';

/** After a write that could not be done, such as into a full pipe or disk. */
const retryMs = 100;

const stderr = 2;
/** A pipe takes so much at once or not at all, so the lines of others do not come in between (POSIX, PIPE_BUF). */
const atomicBytes = 4096;
/** How long a last write may take. */
const closeWithinMs = 1000;
/** A pipe without a reader is an error that passes, and not a wait. */
const appending = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;
/** For its owner to write and a group to read: lines name services and paths. */
const fileMode = 0o640;

export interface SinkLimits {
  /** Lines that wait beyond this are lost. */
  readonly waitingBytes: number;
  /** How often it is looked whether somebody has moved the file away, to write to a new one. */
  readonly lookEveryMs: number;
}

const usualLimits: SinkLimits = { waitingBytes: 1024 * 1024, lookEveryMs: 5_000 };

type OnProblem = (problem: string) => void;

export class LineSink {
  /** Lines that were lost. */
  lost = 0;
  /** '' for stderr. */
  readonly path: string;
  private readonly onProblem: OnProblem;
  private readonly limits: SinkLimits;
  private descriptor: number | null = null;
  private lookedAt = 0;
  private waiting: string[] = [];
  private waitingBytes = 0;
  private writing = false;
  private closing = false;
  private problem = '';
  private retry: NodeJS.Timeout | null = null;
  private onIdle: (() => void)[] = [];

  /** `onProblem` is told once of each new reason why nothing can be written. */
  constructor(path: string, onProblem: OnProblem, limits: SinkLimits = usualLimits) {
    this.path = path;
    this.onProblem = onProblem;
    this.limits = limits;
  }

  /** Takes a line of ASCII. */
  add(line: string): void {
    if (this.waitingBytes + line.length > this.limits.waitingBytes || this.closing) {
      this.lost++;
      return;
    }
    this.waiting.push(line);
    this.waitingBytes += line.length;
    if (!this.writing) this.start();
  }

  /** Begins once this turn's lines are together. */
  private start(): void {
    this.writing = true;
    setImmediate(() => this.ensureOpen());
  }

  private ensureOpen(): void {
    if (this.path === '') {
      this.writeWaiting(stderr);
      return;
    }
    const now = performance.now();
    const { descriptor } = this;
    if (descriptor !== null && now - this.lookedAt < this.limits.lookEveryMs) {
      this.writeWaiting(descriptor);
      return;
    }
    this.lookedAt = now;
    if (descriptor === null) this.open();
    else this.reopenIfMoved(descriptor);
  }

  private open(): void {
    open(this.path, appending, fileMode, (error, descriptor) => {
      if (error !== null) this.failed(error);
      else {
        this.descriptor = descriptor;
        this.writeWaiting(descriptor);
      }
    });
  }

  private reopenIfMoved(descriptor: number): void {
    fstat(descriptor, (_held, held) => {
      stat(this.path, (gone, named) => {
        if (gone === null && held?.ino === named.ino && held.dev === named.dev) {
          this.writeWaiting(descriptor);
          return;
        }
        this.descriptor = null;
        close(descriptor, () => this.open());
      });
    });
  }

  private writeWaiting(descriptor: number): void {
    const bytes = Buffer.from(
      this.takeLines(descriptor === stderr ? atomicBytes : this.limits.waitingBytes),
      'latin1',
    );
    write(descriptor, bytes, 0, bytes.length, null, (error, written) => {
      const left = bytes.subarray(error === null ? written : 0);
      this.waitingBytes -= bytes.length - left.length;
      // The end of a line, or lines: they come first when there is room.
      if (left.length > 0) this.waiting.unshift(left.toString('latin1'));
      if (error !== null) this.failed(error);
      else {
        this.problem = '';
        if (this.waiting.length > 0) this.ensureOpen();
        else this.idle();
      }
    });
  }

  /** As many whole lines as fit, one at least. They count as waiting until they are written. */
  private takeLines(most: number): string {
    let text = this.waiting[0] ?? '';
    let count = 1;
    for (; count < this.waiting.length && text.length + this.waiting[count]!.length <= most; count++)
      text += this.waiting[count]!;
    this.waiting.splice(0, count);
    return text;
  }

  /** A full pipe empties, a full disk is cleared: the lines wait, as far as there is room. */
  private failed(error: NodeJS.ErrnoException): void {
    if (error.code !== 'EAGAIN' && error.message !== this.problem) {
      this.problem = error.message;
      this.onProblem(error.message);
    }
    if (this.closing) {
      this.lost += this.waiting.length;
      this.waiting = [];
      this.waitingBytes = 0;
      this.idle();
      return;
    }
    this.retry = setTimeout(() => this.tryAgain(), retryMs).unref();
  }

  private tryAgain(): void {
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
    this.ensureOpen();
  }

  private idle(): void {
    this.writing = false;
    for (const done of this.onIdle.splice(0)) done();
  }

  /** Writes what waits, as far as it can be written now, and closes the file. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.retry !== null) this.tryAgain();
    if (this.writing)
      await new Promise<void>((done) => {
        this.onIdle.push(done);
        setTimeout(done, closeWithinMs).unref();
      });
    const { descriptor } = this;
    this.descriptor = null;
    if (descriptor !== null) await new Promise<void>((done) => close(descriptor, () => done()));
  }
}
