/**
 * The world of a simulation: one virtual clock, one queue of events, and randomness that is derived from the
 * seed for each purpose apart. Nothing in it depends on how fast the machine beneath runs.
 */
import { assert, type Millis, type Random, seededRandom } from '../src/core.ts';
import { Heap } from './heap.ts';
import { hash32, Trace } from './trace.ts';

/** Every run begins at this instant (2026-01-01T00:00:00Z), so that timestamps in traces are comparable. */
export const epoch: Millis = 1_767_225_600_000;

export class World {
  readonly seed: number;
  readonly trace = new Trace();
  private readonly heap = new Heap();
  private readonly actions: ((() => void) | null)[] = [];
  private readonly freeSlots: number[] = [];
  private clock: Millis = epoch;
  private executed = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Virtual time, milliseconds since the Unix epoch, with a fraction. */
  get now(): Millis {
    return this.clock;
  }

  /** Virtual milliseconds since the run began. */
  get elapsedMs(): number {
    return this.clock - epoch;
  }

  /** How many events ran so far. */
  get events(): number {
    return this.executed;
  }

  get pending(): number {
    return this.heap.size;
  }

  /** When the next event is due; null without any. */
  get nextEventAt(): Millis | null {
    return this.heap.size > 0 ? this.heap.firstTime : null;
  }

  /**
   * Randomness for one purpose, such as `network` or `host/3`. Each name has a stream of its own: adding a
   * host or a fault draws from new streams and leaves the others as they were.
   */
  random(purpose: string): Random {
    return seededRandom(hash32(String(this.seed), purpose));
  }

  /** Runs `action` at `time`, or now if that has passed; actions of one instant run in the order given. */
  at(time: Millis, action: () => void): void {
    assert(Number.isFinite(time), `event at ${time}`);
    const slot = this.freeSlots.pop() ?? this.actions.length;
    this.actions[slot] = action;
    this.heap.push(Math.max(time, this.clock), slot);
  }

  after(delayMs: number, action: () => void): void {
    this.at(this.clock + delayMs, action);
  }

  /** Runs every event up to and including `time`, then stands at `time`. */
  runUntil(time: Millis): void {
    while (this.heap.size > 0 && this.heap.firstTime <= time) {
      this.clock = this.heap.firstTime;
      const slot = this.heap.pop();
      const action = this.actions[slot];
      assert(action !== undefined && action !== null, 'an event without an action');
      this.actions[slot] = null;
      this.freeSlots.push(slot);
      this.executed++;
      action();
    }
    this.clock = Math.max(this.clock, time);
  }
}
