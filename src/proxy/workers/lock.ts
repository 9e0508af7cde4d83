/**
 * Lets one thread at a time do what takes less than a microsecond (the second mutex of Drepper, "Futexes Are
 * Tricky", 2011). Whoever finds it held tries a little longer and then sleeps, for the holder may have lost its core.
 */

const free = 0;
const held = 1;
/** Somebody may be asleep, and has to be woken. */
const awaited = 2;

/** About as long as the holder takes if it is running. */
const spins = 100;

export class Lock {
  private readonly words: Int32Array;
  private readonly index: number;

  /** At `index` of memory that is shared, 0 at first. */
  constructor(words: Int32Array, index: number) {
    this.words = words;
    this.index = index;
  }

  /** Then `leave` is called, with nothing between the two that could throw or wait. */
  enter(): void {
    const { words, index } = this;
    for (let i = 0; i < spins; i++) if (Atomics.compareExchange(words, index, free, held) === free) return;
    while (Atomics.exchange(words, index, awaited) !== free) Atomics.wait(words, index, awaited);
  }

  leave(): void {
    const { words, index } = this;
    if (Atomics.exchange(words, index, free) === awaited) Atomics.notify(words, index, 1);
  }
}
