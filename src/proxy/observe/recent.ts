/** What a row counted lately, taken from counters that only grow: nothing is paid for it per request. Pure. */
import { countedSince, emptyCounts, type HistogramCounts } from './histogram.ts';

/** What a row had counted at one moment. */
export interface Totals {
  /** As `TrafficRow.byClass`. */
  readonly byClass: readonly number[];
  readonly durations: HistogramCounts;
}

/** How often the beginning of "lately" moves on. */
export const turnEveryMs = 30_000;

const nothing: Totals = { byClass: [0, 0, 0, 0, 0, 0], durations: emptyCounts };

/**
 * Remembers the totals at the last two turns. What came since the earlier one is recent: between one and two turns'
 * worth, whenever it is asked for. Before there were two turns, everything is.
 */
export class RecentTraffic {
  private earlier = nothing;
  private later = nothing;

  turn(totals: Totals): void {
    this.earlier = this.later;
    this.later = totals;
  }

  read(totals: Totals): Totals {
    const { earlier } = this;
    return {
      byClass: totals.byClass.map((count, index) => count - earlier.byClass[index]!),
      durations: countedSince(totals.durations, earlier.durations),
    };
  }
}
