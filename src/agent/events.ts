/**
 * What happens in the mesh as this agent learns of it, and the last of it kept for whoever follows: joins,
 * suspicions, deaths, leaves, and records that changed. Pure.
 */
import { assert, type HostId, type Millis } from '../core.ts';
import type { Member, MemberState } from '../gossip/port.ts';
import { hlcMillis, type Record, type Scope } from '../gossip/replica/record.ts';

export interface MemberEvent {
  /** The state that begins, or `joined` for a host that was not a member. */
  readonly type: 'joined' | MemberState;
  readonly at: Millis;
  readonly host: HostId;
  /** '' while the host has not said it. */
  readonly name: string;
  readonly incarnation: number;
  /** The state that ends; null for a host that was not a member. */
  readonly was: MemberState | null;
}

export interface RecordEvent {
  readonly type: 'record';
  readonly at: Millis;
  readonly scope: Scope;
  readonly kind: string;
  readonly key: string;
  /** Whose key signed it: a host's, or an operator's. */
  readonly author: HostId;
  /** Of the author, if it is a host that said it. */
  readonly name: string;
  readonly version: number;
  readonly deleted: boolean;
  /** By the author's clock. */
  readonly writtenAt: Millis;
}

export type MeshEvent = MemberEvent | RecordEvent;

export function memberEvent(
  { id, state, incarnation }: Member,
  was: MemberState | null,
  name: string,
  now: Millis,
): MemberEvent {
  const type = was === null && state === 'alive' ? 'joined' : state;
  return { type, at: Math.round(now), host: id, name, incarnation, was };
}

export function recordEvent(record: Record, name: string, now: Millis): RecordEvent {
  const { scope, kind, key, author, version, deleted, hlc } = record;
  const at = Math.round(now);
  return { type: 'record', at, scope, kind, key, author, name, version, deleted, writtenAt: hlcMillis(hlc) };
}

/** An event with its number: agent-local, from 1 at the agent's start, without gaps. */
export type NumberedEvent = MeshEvent & { readonly index: number };

/** Events kept for followers that fall behind or come late; about half a megabyte. */
export const maxKeptEvents = 2048;

export class EventLog {
  private readonly limit: number;
  /** A ring: the event of number `index` is at `index % limit`. */
  private readonly ring: NumberedEvent[] = [];
  private readonly listeners = new Set<() => void>();
  private last = 0;

  constructor(limit: number = maxKeptEvents) {
    assert(limit > 0, 'some events are kept');
    this.limit = limit;
  }

  /** The number of the latest event; 0 before the first. */
  get lastIndex(): number {
    return this.last;
  }

  add(events: readonly MeshEvent[]): void {
    for (const event of events) {
      const index = ++this.last;
      this.ring[index % this.limit] = { index, ...event };
    }
    if (events.length > 0) for (const listener of [...this.listeners]) listener();
  }

  /**
   * Up to `max` events after number `after`, and how many of those in between are no longer kept. A number
   * that was never given comes from before this agent restarted: what is kept is told from its beginning.
   */
  read(after: number, max: number): { readonly lost: number; readonly events: readonly NumberedEvent[] } {
    const seen = after > this.last ? 0 : after;
    const first = Math.max(seen + 1, this.last - this.limit + 1);
    const events: NumberedEvent[] = [];
    for (let index = first; index <= this.last && events.length < max; index++)
      events.push(this.ring[index % this.limit]!);
    return { lost: first - seen - 1, events };
  }

  /** Calls back after each addition. Returns how to stop. */
  onAdd(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
