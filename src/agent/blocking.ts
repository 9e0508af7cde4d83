/**
 * Blocking queries: a read that waits until what it reads has changed. Which request waits for which topic,
 * for how long, and who wakes; the timers are the server's. Follows Consul's "Blocking Queries".
 */
import { Fault } from '../core.ts';
import type { Topic } from './catalog/catalog.ts';
import { parseDuration } from './consul/duration.ts';

/** Used when a request names an index but no `wait`. */
export const defaultWaitMs = 5 * 60_000;
/** A longer `wait` is cut to this. */
export const maxWaitMs = 10 * 60_000;
/** Waiting requests this agent holds at once; each costs a socket and about 2 KB. More are answered 429. */
export const maxWaiting = 4096;

export interface Wait {
  /** The index the caller has seen; 0 means it has seen none and does not wait. */
  readonly seenIndex: number;
  readonly waitMs: number;
}

/** Reads `index` and `wait`; `Fault('bad-query')` or `invalid-field` when malformed. */
export function parseWait(index: string | null, wait: string | null): Wait {
  if (index !== null && !/^\d{1,16}$/.test(index))
    throw new Fault('bad-query', 'Invalid index: it must be a number', { field: 'index' });
  let waitMs = defaultWaitMs;
  if (wait !== null && wait !== '') {
    const parsed = parseDuration(wait, 'wait');
    if (parsed > 0) waitMs = Math.min(parsed, maxWaitMs);
  }
  return { seenIndex: Number(index ?? 0), waitMs };
}

/** Adds up to a sixteenth, so that requests that began together do not end together. */
export function withJitter(waitMs: number, chance: number): number {
  return waitMs + (waitMs / 16) * chance;
}

/**
 * Whether a caller that saw `seenIndex` has to wait. An index ahead of ours comes from before this agent
 * restarted: it is answered at once, with the lower index, and the client starts over as Consul asks.
 */
export function mustWait(seenIndex: number, topicIndex: number): boolean {
  return seenIndex > 0 && seenIndex === topicIndex;
}

/** Who waits for what. Each waiter wakes at most once. */
export class Waiters {
  private readonly byTopic = new Map<Topic, Set<() => void>>();
  private readonly limit: number;
  private waiting = 0;

  constructor(limit: number = maxWaiting) {
    this.limit = limit;
  }

  get count(): number {
    return this.waiting;
  }

  /**
   * Calls `wake` once when `topic` changes. Returns how to stop waiting; `Fault('too-many-waiting')` when
   * the limit is reached.
   */
  add(topic: Topic, wake: () => void): () => void {
    if (this.waiting >= this.limit)
      throw new Fault('too-many-waiting', `${this.limit} blocking queries are waiting already; try again`);
    let waiters = this.byTopic.get(topic);
    if (waiters === undefined) {
      waiters = new Set();
      this.byTopic.set(topic, waiters);
    }
    const entry = (): void => wake();
    waiters.add(entry);
    this.waiting++;
    return () => this.remove(topic, entry);
  }

  private remove(topic: Topic, entry: () => void): void {
    const waiters = this.byTopic.get(topic);
    if (waiters === undefined || !waiters.delete(entry)) return;
    this.waiting--;
    if (waiters.size === 0) this.byTopic.delete(topic);
  }

  /** Wakes everybody who waits for one of `topics`. */
  wake(topics: Iterable<Topic>): void {
    for (const topic of topics)
      for (const entry of [...(this.byTopic.get(topic) ?? [])]) {
        this.remove(topic, entry);
        entry();
      }
  }

  /** Wakes everybody: the agent is stopping. */
  wakeAll(): void {
    this.wake([...this.byTopic.keys()]);
  }
}
