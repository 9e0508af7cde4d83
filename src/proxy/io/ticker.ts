/** The two timers of a data plane: a slow one for idle connections, a prompt one only while something waits. */
import type { Millis } from '../../core.ts';
import { Deadlines, type Timed } from '../deadlines.ts';

const slowTickMs = 1000;
const promptTickMs = 10;

/** Deadlines that are checked by a timer of their own, which runs only while there are any. */
export class TickedDeadlines extends Deadlines {
  private readonly now: () => Millis;
  private readonly intervalMs: number;
  private timer: NodeJS.Timeout | null = null;

  constructor(now: () => Millis, intervalMs: number) {
    super();
    this.now = now;
    this.intervalMs = intervalMs;
  }

  override add(timed: Timed): void {
    super.add(timed);
    // Unreferenced: a deadline is no reason for the process to live.
    this.timer ??= setInterval(() => this.tick(), this.intervalMs).unref();
  }

  private tick(): void {
    this.expire(this.now());
    if (this.size === 0) this.stop();
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }
}

export function slowDeadlines(now: () => Millis): TickedDeadlines {
  return new TickedDeadlines(now, slowTickMs);
}

export function promptDeadlines(now: () => Millis): TickedDeadlines {
  return new TickedDeadlines(now, promptTickMs);
}
