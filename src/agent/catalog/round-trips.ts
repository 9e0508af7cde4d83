/**
 * How far other hosts are from this one, for the proxy's balancing. In steps that a distance has to leave clearly:
 * estimates waver, and every change is a new configuration.
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
  /** Sorted by host; the very same list until something changed. */
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

  /** Whether there is a new list now. `estimateMs` gives null for a host of which nothing is known. */
  look(
    hosts: Iterable<{ readonly id: HostId }>,
    estimateMs: (host: HostId) => number | null,
    now: Millis,
  ): boolean {
    if (!this.hasMoved || now < this.rested) return false;
    this.hasMoved = false;
    this.rested = now + restMs;
    const before = new Map(this.held.map(({ host, ms }) => [host, ms]));
    const list: HostRoundTrip[] = [];
    let isNew = false;
    for (const { id: host } of hosts) {
      const held = before.get(host) ?? 0;
      const ms = stepOf(estimateMs(host) ?? 0, held);
      if (ms > 0) list.push({ host, ms });
      isNew ||= ms !== held;
    }
    isNew ||= list.length !== before.size;
    if (isNew) this.held = list.sort((a, b) => byCodeUnit(a.host, b.host));
    return isNew;
  }
}

/** 0 for what is near; `held` as long as the estimate is about as much. */
function stepOf(estimateMs: number, held: number): number {
  if (held > 0 && estimateMs * looseness >= held && estimateMs <= held * looseness) return held;
  return estimateMs < leastMs ? 0 : 2 ** Math.round(Math.log2(estimateMs));
}
