/** Tells a datagram from its copy. Source: the sliding window of RFC 6479, with one slot a packet. */

/** How far a datagram may be overtaken and still be taken. */
const windowSize = 64;

/** Of one sender. A later run of the sender, known by its higher epoch, starts anew; an earlier one is over. */
export class ReplayWindow {
  private epoch = -1;
  private highest = -1;
  private readonly seen: Float64Array = new Float64Array(windowSize).fill(-1);

  /** False for what was taken before, is of an earlier run, or too old to tell. Otherwise it counts as taken. */
  take(epoch: number, counter: number): boolean {
    if (epoch < this.epoch) return false;
    if (epoch > this.epoch) {
      this.epoch = epoch;
      this.highest = -1;
      this.seen.fill(-1);
    }
    if (counter <= this.highest - windowSize) return false;
    const slot = counter % windowSize;
    if (this.seen[slot] === counter) return false;
    this.seen[slot] = counter;
    this.highest = Math.max(this.highest, counter);
    return true;
  }
}
