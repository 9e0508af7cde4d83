/** How late this process' timers fire: the sign of a host short of CPU. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const resolutionMs = 100;
const windowMs = 60_000;

export class LoopLag {
  private readonly histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  private readonly timer: NodeJS.Timeout;
  private previousMs = 0;

  constructor() {
    this.histogram.enable();
    this.timer = setInterval(() => {
      this.previousMs = this.presentMs();
      this.histogram.reset();
    }, windowMs);
    this.timer.unref();
  }

  private presentMs(): number {
    return Math.max(0, this.histogram.max / 1e6 - resolutionMs);
  }

  /** The worst of this minute and the last, milliseconds. */
  worstMs(): number {
    return Math.max(this.previousMs, this.presentMs());
  }

  stop(): void {
    this.histogram.disable();
    clearInterval(this.timer);
  }
}
