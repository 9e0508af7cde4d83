/** Successes and failures of the last seconds, in slots of time, so that the old ones are forgotten bit by bit. */
import type { Millis } from '../../core.ts';

const slots = 10;
/** What it keeps: the number of the newest slot, counted from the beginning of time, the sums, and each slot. */
const newestCell = 0;
const totalCell = 1;
const failuresCell = 2;
const totalsFrom = 3;
const failedFrom = totalsFrom + slots;

export const errorWindowCells = failedFrom + slots;

export class ErrorWindow {
  private readonly slotMs: number;
  private readonly cells: Float64Array;

  /** Of ten milliseconds at least. `cells` are its own, `errorWindowCells` of them, and 0 at first. */
  constructor(windowMs: number, cells: Float64Array) {
    this.slotMs = Math.max(windowMs, slots) / slots;
    this.cells = cells;
  }

  get total(): number {
    return this.cells[totalCell]!;
  }

  get failures(): number {
    return this.cells[failuresCell]!;
  }

  add(now: Millis, isFailure: boolean): void {
    const { cells } = this;
    this.forget(now);
    const slot = cells[newestCell]! % slots;
    cells[totalsFrom + slot]!++;
    cells[totalCell]!++;
    if (!isFailure) return;
    cells[failedFrom + slot]!++;
    cells[failuresCell]!++;
  }

  /** Empties the slots that are older than the window. */
  private forget(now: Millis): void {
    const { cells } = this;
    const current = Math.floor(now / this.slotMs);
    for (let passed = Math.min(current - cells[newestCell]!, slots); passed > 0; passed--) {
      const slot = (current - passed + 1) % slots;
      cells[totalCell]! -= cells[totalsFrom + slot]!;
      cells[failuresCell]! -= cells[failedFrom + slot]!;
      cells[totalsFrom + slot] = 0;
      cells[failedFrom + slot] = 0;
    }
    cells[newestCell] = Math.max(cells[newestCell]!, current);
  }

  clear(): void {
    this.cells.fill(0, totalCell);
  }
}
