/** So many at once and no more: what does not fit is turned away at once, and counted. */
import { assert } from '../../core.ts';
import type { SharedMemory } from '../workers/memory.ts';
import { Tally } from '../workers/tally.ts';

export class Limit {
  /** How many this thread has. */
  inUse = 0;
  /** How many were turned away. */
  overflows = 0;
  private limit = 0;
  /** What all threads have together; null where this one is alone, or nothing is limited. */
  private tally: Tally | null = null;
  private memoryId: number | null = null;

  /** 0 is without limit. */
  get most(): number {
    return this.limit;
  }

  /**
   * Takes on another limit, which all threads count at `index` of `memory`, or this one by itself. Those in use
   * stay, and count where the limit counts.
   */
  configure(most: number, memory: SharedMemory | null = null, index = 0): void {
    this.limit = most;
    const shared = most === 0 ? null : memory;
    const memoryId = shared?.id ?? null;
    if (memoryId === this.memoryId) return;
    this.memoryId = memoryId;
    this.tally?.add(-this.inUse);
    this.tally = shared && new Tally(shared, index);
    this.tally?.add(this.inUse);
  }

  /** Whether there was room for one more; then `give` is called once for it. */
  take(): boolean {
    if (!this.claim()) {
      this.overflows++;
      return false;
    }
    this.inUse++;
    return true;
  }

  private claim(): boolean {
    if (this.tally !== null) return this.tally.take(this.limit);
    return this.limit === 0 || this.inUse < this.limit;
  }

  give(): void {
    assert(this.inUse > 0, 'more was given back to a limit than was taken');
    this.inUse--;
    if (this.tally !== null) this.tally.add(-1);
  }

  /** Sets how many are in use, where they are counted elsewhere. */
  settle(inUse: number): void {
    if (this.tally !== null) this.tally.add(inUse - this.inUse);
    this.inUse = inUse;
  }
}
