/** Many deadlines, one alarm: a machine owns a single `nextWake`, yet waits for thousands of things. */
import type { Millis } from '../core.ts';

interface Slot<K> {
  readonly key: K;
  readonly at: Millis;
}

/** At most one deadline a key; a binary heap whose superseded entries are dropped when they surface. */
export class Deadlines<K> {
  private heap: Slot<K>[] = [];
  private readonly current = new Map<K, Slot<K>>();

  get size(): number {
    return this.current.size;
  }

  get(key: K): Millis | null {
    return this.current.get(key)?.at ?? null;
  }

  /** Sets or moves the deadline of `key`. */
  set(key: K, at: Millis): void {
    if (this.current.get(key)?.at === at) return;
    const slot = { key, at };
    this.current.set(key, slot);
    this.heap.push(slot);
    this.rise(this.heap.length - 1);
    if (this.heap.length > 2 * this.current.size + 64) this.rebuild();
  }

  delete(key: K): void {
    this.current.delete(key);
  }

  /** The earliest deadline, or null. */
  next(): Millis | null {
    this.dropSuperseded();
    return this.heap[0]?.at ?? null;
  }

  /** Removes and returns one key whose deadline has come, earliest first; undefined when none has. */
  takeDue(now: Millis): K | undefined {
    this.dropSuperseded();
    const first = this.heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.current.delete(first.key);
    this.removeFirst();
    return first.key;
  }

  private dropSuperseded(): void {
    for (let first = this.heap[0]; first !== undefined; first = this.heap[0]) {
      if (this.current.get(first.key) === first) return;
      this.removeFirst();
    }
  }

  private removeFirst(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink(0);
  }

  private rise(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.heap[parent]!.at <= this.heap[index]!.at) return;
      this.swap(index, parent);
      index = parent;
    }
  }

  private sink(start: number): void {
    for (let index = start; ; ) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2])
        if (child < this.heap.length && this.heap[child]!.at < this.heap[least]!.at) least = child;
      if (least === index) return;
      this.swap(index, least);
      index = least;
    }
  }

  private swap(a: number, b: number): void {
    const held = this.heap[a]!;
    this.heap[a] = this.heap[b]!;
    this.heap[b] = held;
  }

  private rebuild(): void {
    this.heap = [...this.current.values()].sort((a, b) => a.at - b.at);
  }
}
