/**
 * The median of the last few round trips to each peer: one answer that waited in a queue moves nobody.
 * Source: Ledlie et al., "Network Coordinates in the Wild" (2007), on filtering latencies.
 */
import type { HostId } from '../../core.ts';
import { RecentMap } from '../recent-map.ts';

/** Few, for in a large mesh a peer is measured rarely and old samples say little. */
export const samplesPerPeer = 3;
/** Past this the peer measured longest ago is forgotten, and begins anew when it is measured again. */
export const maxFilteredPeers = 4096;

export class LatencyFilter {
  /** Newest sample last. */
  private readonly samples = new RecentMap<readonly number[]>(maxFilteredPeers);

  get size(): number {
    return this.samples.size;
  }

  /** Takes in a sample; returns the median of those held. Of two it is the lower, for delay only adds. */
  median(peer: HostId, sampleMs: number): number {
    const held = [...(this.samples.get(peer) ?? []), sampleMs].slice(-samplesPerPeer);
    this.samples.set(peer, held);
    return lowerMedian(held);
  }

  forget(peer: HostId): void {
    this.samples.delete(peer);
  }
}

/** The middle value, the lower of two in the middle. `values` must not be empty. */
export function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1]!;
}
