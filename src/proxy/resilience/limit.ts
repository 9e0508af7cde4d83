/** So many at once and no more: what does not fit is turned away at once, and counted. */
import { assert } from '../../core.ts';

export class Limit {
  /** 0 is without limit. May change while some are in use: those stay. */
  most = 0;
  inUse = 0;
  /** How many were turned away. */
  overflows = 0;

  /** Whether there was room for one more; then `give` is called once for it. */
  take(): boolean {
    if (this.most > 0 && this.inUse >= this.most) {
      this.overflows++;
      return false;
    }
    this.inUse++;
    return true;
  }

  /** As `take`, where somebody else counts those in use. */
  admits(inUse: number): boolean {
    if (this.most === 0 || inUse < this.most) return true;
    this.overflows++;
    return false;
  }

  give(): void {
    assert(this.inUse > 0, 'more was given back to a limit than was taken');
    this.inUse--;
  }
}
