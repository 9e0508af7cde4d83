/**
 * Tells a datagram from its copy. Within a run of the sender: the sliding window of RFC 6479, with one slot a
 * packet. Between runs: each has an epoch, and a later one has the higher, unless the sender's disk was set back
 * to an older snapshot. A run with a lower epoch is believed for its counters, which begin at the time of day:
 * above every counter taken before, of whatever run, it can be no copy.
 */

/** How far a datagram may be overtaken and still be taken. */
const windowSize = 64;

/** What was taken of one run. */
class Run {
  readonly epoch: number;
  /** No counter up to it is taken: those of this epoch that once were are all among them. */
  private readonly floor: number;
  private highest: number;
  private readonly seen: Float64Array = new Float64Array(windowSize).fill(-1);

  constructor(epoch: number, floor: number) {
    this.epoch = epoch;
    this.floor = floor;
    this.highest = floor;
  }

  take(counter: number): boolean {
    if (counter <= this.floor || counter <= this.highest - windowSize) return false;
    const slot = counter % windowSize;
    if (this.seen[slot] === counter) return false;
    this.seen[slot] = counter;
    this.highest = Math.max(this.highest, counter);
    return true;
  }
}

/**
 * Of one sender. Two runs are heard: that of the highest epoch, and the latest with a lower one. Old datagrams
 * with counters of a clock that was ahead can thus take the place of the second at most.
 */
export class ReplayWindow {
  private latest = new Run(-1, -1);
  private restored: Run | null = null;
  /** Of every run. */
  private highest = -1;

  /** False for what was taken before, or may have been. Otherwise it counts as taken. */
  take(epoch: number, counter: number): boolean {
    const isTaken = this.runOf(epoch, counter)?.take(counter) ?? false;
    if (isTaken) this.highest = Math.max(this.highest, counter);
    return isTaken;
  }

  private runOf(epoch: number, counter: number): Run | null {
    if (epoch > this.latest.epoch) this.latest = new Run(epoch, -1);
    if (epoch === this.latest.epoch) return this.latest;
    if (epoch === this.restored?.epoch) return this.restored;
    if (counter <= this.highest) return null;
    this.restored = new Run(epoch, this.highest);
    return this.restored;
  }
}
