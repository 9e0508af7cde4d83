/** What is held of each peer, for as many peers as there is room: the one updated longest ago makes way. */
import type { HostId } from '../core.ts';

export class RecentMap<V> {
  private readonly limit: number;
  /** The one updated longest ago first. */
  private readonly entries = new Map<HostId, V>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.entries.size;
  }

  /** The one updated longest ago first. */
  all(): IterableIterator<[HostId, V]> {
    return this.entries.entries();
  }

  get(peer: HostId): V | undefined {
    return this.entries.get(peer);
  }

  set(peer: HostId, value: V): void {
    this.entries.delete(peer);
    this.entries.set(peer, value);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.limit) break;
      this.entries.delete(oldest);
    }
  }

  delete(peer: HostId): void {
    this.entries.delete(peer);
  }
}
