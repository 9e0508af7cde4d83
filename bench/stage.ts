/** Everything a benchmark started, so that all of it ends however the benchmark does. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Flock, Program } from '../demo/flock.ts';

const execute = promisify(execFile);

/** Keeps what was started in order; `close` stops the last first. */
export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'starling-bench-'));
  private readonly endings: (() => Promise<unknown>)[] = [];
  private readonly tools = new AbortController();
  private closing: Promise<void> | null = null;

  /** Starts a process that runs until the stage closes. */
  start(command: string, args: readonly string[]): Program {
    this.assertOpen();
    const program = new Program(command, args);
    this.endings.push(() => program.stop('SIGTERM', 3000));
    return program;
  }

  /** Has `ending` run when the stage closes. */
  defer(ending: () => Promise<unknown>): void {
    this.assertOpen();
    this.endings.push(ending);
  }

  /** An empty flock whose agents stop with the stage. */
  flock(): Flock {
    this.assertOpen();
    const flock = new Flock();
    this.endings.push(() => flock.stop());
    return flock;
  }

  /** Runs a tool to its end and returns its stdout. Rejects with its stderr, and when the stage closes. */
  async run(command: string, args: readonly string[]): Promise<string> {
    this.assertOpen();
    try {
      const { stdout } = await execute(command, args, {
        signal: this.tools.signal,
        cwd: this.directory,
        maxBuffer: 64 << 20,
      });
      return stdout;
    } catch (error) {
      const { stderr, message } = error as { stderr?: string; message: string };
      throw new Error(`${command}: ${stderr?.trim() || message}`);
    }
  }

  /** Resolves after `milliseconds`; rejects at once when the stage closes. */
  pause(milliseconds: number): Promise<void> {
    return setTimeout(milliseconds, undefined, { signal: this.tools.signal });
  }

  private assertOpen(): void {
    if (this.closing !== null) throw new Error('stopped');
  }

  /**
   * Stops everything and lets nothing new start; goes on to the next when one will not end, and rejects after the
   * last. Called once more when the benchmark has settled, it stops what an agent's start, already under way at the
   * first call, left running.
   */
  close(): Promise<void> {
    this.closing = (this.closing ?? Promise.resolve()).then(() => this.end());
    return this.closing;
  }

  private async end(): Promise<void> {
    this.tools.abort();
    const failures: unknown[] = [];
    for (const ending of this.endings.toReversed()) await ending().catch((error) => failures.push(error));
    rmSync(this.directory, { recursive: true, force: true });
    if (failures.length > 0) throw new AggregateError(failures, `could not stop: ${failures.join('; ')}`);
  }
}
