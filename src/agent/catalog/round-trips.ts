/**
 * How far other hosts are from this one, for the proxy's balancing. In steps that a distance has to leave clearly:
 * estimates waver, and every change is a new configuration. A host that lies about where it is can seem as near as it
 * likes, to its callers' harm only as far as they are let call it, and as it answers them well.
 */
import { byCodeUnit, type HostId, type Millis } from '../../core.ts';
import type { HostRoundTrip } from '../../proxy/view.ts';

/** Below this, distance makes no difference that balancing could tell from chance. */
const leastMs = 4;
/** By this factor an estimate may be off a step, up or down, before another is taken. Steps double. */
const looseness = 1.6;
/** Looking costs an estimate for each host. */
const restMs: Millis = 10_000;

export class RoundTrips {
  /** Of all that were ever told; near ones are 0. */
  private known: ReadonlyMap<HostId, Millis> = new Map();
  /** Sorted by host; the very same list until something changed. Empty where nobody is further off than others. */
  private held: readonly HostRoundTrip[] = [];
  private hasMoved = false;
  private rested: Millis = Number.NEGATIVE_INFINITY;

  get all(): readonly HostRoundTrip[] {
    return this.held;
  }

  /** Some host, or this one, is elsewhere than was told before. */
  moved(): void {
    this.hasMoved = true;
  }

  /** Whether there is a new list now. `estimateMs` gives null where no estimate is to be relied on: what was told stays. */
  look(
    hosts: Iterable<{ readonly id: HostId }>,
    estimateMs: (host: HostId) => number | null,
    now: Millis,
  ): boolean {
    if (!this.hasMoved || now < this.rested) return false;
    this.hasMoved = false;
    this.rested = now + restMs;
    const known = new Map<HostId, Millis>();
    let isNew = false;
    for (const { id } of hosts) {
      const before = this.known.get(id);
      const estimated = estimateMs(id);
      const ms = estimated === null ? before : stepOf(estimated, before ?? 0);
      if (ms !== undefined) known.set(id, ms);
      isNew ||= ms !== before;
    }
    isNew ||= known.size !== this.known.size;
    this.known = known;
    if (!isNew) return false;
    const before = this.held;
    this.held = listOf(known);
    return before.length + this.held.length > 0;
  }
}

/** Where all are near there is nothing to tell. */
function listOf(known: ReadonlyMap<HostId, Millis>): HostRoundTrip[] {
  if ([...known.values()].every((ms) => ms === 0)) return [];
  return [...known].map(([host, ms]) => ({ host, ms })).sort((a, b) => byCodeUnit(a.host, b.host));
}

/** 0 for what is near; `held` as long as the estimate is about as much. */
function stepOf(estimateMs: number, held: number): number {
  if (held > 0 && estimateMs * looseness >= held && estimateMs <= held * looseness) return held;
  return estimateMs < leastMs ? 0 : 2 ** Math.round(Math.log2(estimateMs));
}
