/** What is held of each name, for as many names as there is room: the one updated longest ago makes way. */

export class RecentMap<V> {
  private readonly limit: number;
  /** The one updated longest ago first. */
  private readonly entries = new Map<string, V>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.entries.size;
  }

  /** The one updated longest ago first. */
  all(): IterableIterator<[string, V]> {
    return this.entries.entries();
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  get(name: string): V | undefined {
    return this.entries.get(name);
  }

  set(name: string, value: V): void {
    this.entries.delete(name);
    this.entries.set(name, value);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.limit) break;
      this.entries.delete(oldest);
    }
  }

  delete(name: string): void {
    this.entries.delete(name);
  }
}
