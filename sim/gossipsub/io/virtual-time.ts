/**
 * Puts this process into a world: its timers wait for virtual time, its clock shows it, and its dice are
 * seeded. For code that knows nothing of simulation; to be installed before that is loaded.
 */
import type { Random } from '../../../src/core.ts';
import type { World } from '../../world.ts';

/** The real one, by which everything that is ready runs before virtual time goes on. */
const { setImmediate } = globalThis;

/** Nobody here does more with a timer of Node’s than cancel it. */
class VirtualTimer {
  isOver = false;

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

export class VirtualTime {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  /** For good: a process has no other time beside. */
  install(random: Random): void {
    const cancel = (timer: unknown): void => {
      if (timer instanceof VirtualTimer) timer.isOver = true;
    };
    Object.assign(globalThis, {
      setTimeout: (callback: Callback, delayMs?: number, ...values: unknown[]) =>
        this.timer(callback, values, delayMs, false),
      setInterval: (callback: Callback, delayMs?: number, ...values: unknown[]) =>
        this.timer(callback, values, delayMs, true),
      setImmediate: (callback: Callback, ...values: unknown[]) => this.timer(callback, values, 0, false),
      clearTimeout: cancel,
      clearInterval: cancel,
      clearImmediate: cancel,
    });
    Date.now = () => Math.floor(this.world.now);
    performance.now = () => this.world.elapsedMs;
    Math.random = () => random.next();
  }

  private timer(callback: Callback, values: unknown[], delayMs = 1, repeats: boolean): VirtualTimer {
    const timer = new VirtualTimer();
    const fire = (): void => {
      if (timer.isOver) return;
      if (repeats) this.world.after(delayMs, fire);
      callback(...values);
    };
    this.world.after(delayMs, fire);
    return timer;
  }

  /** Runs every event up to and including `time`; promises are settled between one instant and the next. */
  async runUntil(time: number): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.world.nextEventAt;
      this.world.runUntil(Math.min(next ?? time, time));
      if (next === null || next > time) return;
    }
  }
}

type Callback = (...values: unknown[]) => void;
