/**
 * The queue of future events: a four-ary heap over typed arrays, so that millions of events cost neither
 * objects nor garbage. Equal times leave in the order they were pushed, which makes a run repeatable.
 */
import { assert } from '../src/core.ts';

const arity = 4;

export class Heap {
  private times = new Float64Array(1024);
  /** Insertion sequence: the tie-break. A double counts to 2^53 without wrapping. */
  private sequences = new Float64Array(1024);
  private slots = new Int32Array(1024);
  private count = 0;
  private pushed = 0;

  get size(): number {
    return this.count;
  }

  /** When the first event is due. Only with `size > 0`. */
  get firstTime(): number {
    assert(this.count > 0, 'first time of an empty heap');
    return this.times[0]!;
  }

  push(time: number, slot: number): void {
    if (this.count === this.times.length) this.grow();
    let hole = this.count++;
    const sequence = this.pushed++;
    while (hole > 0) {
      const parent = Math.floor((hole - 1) / arity);
      // An earlier insertion never yields to a later one at the same time, so `<=` is the whole tie-break.
      if (this.times[parent]! <= time) break;
      this.move(parent, hole);
      hole = parent;
    }
    this.place(hole, time, sequence, slot);
  }

  /** Takes the first event out and returns its slot. Only with `size > 0`. */
  pop(): number {
    assert(this.count > 0, 'pop of an empty heap');
    const first = this.slots[0]!;
    const last = --this.count;
    if (last > 0) this.sink(this.times[last]!, this.sequences[last]!, this.slots[last]!);
    return first;
  }

  private sink(time: number, sequence: number, slot: number): void {
    let hole = 0;
    for (;;) {
      const firstChild = hole * arity + 1;
      if (firstChild >= this.count) break;
      let least = firstChild;
      const end = Math.min(firstChild + arity, this.count);
      for (let child = firstChild + 1; child < end; child++) if (this.before(child, least)) least = child;
      const leastTime = this.times[least]!;
      if (time < leastTime || (time === leastTime && sequence < this.sequences[least]!)) break;
      this.move(least, hole);
      hole = least;
    }
    this.place(hole, time, sequence, slot);
  }

  private before(a: number, b: number): boolean {
    const left = this.times[a]!;
    const right = this.times[b]!;
    return left < right || (left === right && this.sequences[a]! < this.sequences[b]!);
  }

  private move(from: number, to: number): void {
    this.place(to, this.times[from]!, this.sequences[from]!, this.slots[from]!);
  }

  private place(at: number, time: number, sequence: number, slot: number): void {
    this.times[at] = time;
    this.sequences[at] = sequence;
    this.slots[at] = slot;
  }

  private grow(): void {
    const times = new Float64Array(this.count * 2);
    times.set(this.times);
    this.times = times;
    const sequences = new Float64Array(this.count * 2);
    sequences.set(this.sequences);
    this.sequences = sequences;
    const slots = new Int32Array(this.count * 2);
    slots.set(this.slots);
    this.slots = slots;
  }
}
