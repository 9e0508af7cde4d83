/** Who has learned what, and when: every agent's output and answers end up here, whatever program it is. */

/** What an agent has just come to believe. `about` is the host it concerns. */
export type Fact =
  | { readonly type: 'alive' | 'suspect' | 'down'; readonly about: number }
  /** A change, by the label that tells it from others. */
  | { readonly type: 'change'; readonly label: string };

export interface Sighting {
  /** The host whose agent believes it. */
  readonly observer: number;
  readonly fact: Fact;
  /** Of `performance.now()`. */
  readonly atMs: number;
}

type Listener = (sighting: Sighting) => void;

export class Sightings {
  private readonly listeners = new Set<Listener>();
  private readonly collections = new Set<() => void>();
  /** By observer: the hosts that it believes alive, itself left out. */
  private readonly living: Set<number>[];

  constructor(size: number) {
    this.living = Array.from({ length: size }, () => new Set());
  }

  note(observer: number, fact: Fact, atMs: number): void {
    const living = this.living[observer]!;
    if (fact.type === 'alive' && fact.about !== observer) living.add(fact.about);
    if (fact.type === 'down') living.delete(fact.about);
    for (const listener of this.listeners) listener({ observer, fact, atMs });
  }

  /** An agent that starts anew knows nothing. */
  forget(observer: number): void {
    this.living[observer]!.clear();
  }

  /** How many others an agent believes alive. */
  livingSeenBy(observer: number): number {
    return this.living[observer]!.size;
  }

  /** Returns how to stop listening. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * When each of `observers` first learns of `fact`, from now on. Resolves when all have, or after `withinMs`
   * or `close` with those that have.
   */
  collect(fact: Fact, observers: readonly number[], withinMs: number): Promise<Map<number, number>> {
    const seen = new Map<number, number>();
    const expected = new Set(observers);
    return new Promise((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.collections.delete(finish);
        stop();
        done(seen);
      };
      const timer = setTimeout(finish, withinMs);
      this.collections.add(finish);
      const stop = this.listen((sighting) => {
        const { observer, atMs } = sighting;
        if (!expected.has(observer) || seen.has(observer) || !isSame(sighting.fact, fact)) return;
        seen.set(observer, atMs);
        if (seen.size === expected.size) finish();
      });
    });
  }

  /** Ends every collection with what it has. */
  close(): void {
    for (const finish of [...this.collections]) finish();
  }
}

function isSame(a: Fact, b: Fact): boolean {
  if (a.type === 'change' || b.type === 'change')
    return a.type === 'change' && b.type === 'change' && a.label === b.label;
  return a.type === b.type && a.about === b.about;
}
