/** Host ids numbered in order of appearance, so that member tables are keyed by small integers. */
import type { HostId } from '../../core.ts';

/** Grows only. Machines of one process may share one, as a simulator of thousands of hosts does. */
export class Roster {
  private readonly ids: HostId[] = [];
  private readonly indices = new Map<HostId, number>();

  get size(): number {
    return this.ids.length;
  }

  /** The number of `id`, given now if it has none yet. */
  add(id: HostId): number {
    const known = this.indices.get(id);
    if (known !== undefined) return known;
    this.indices.set(id, this.ids.length);
    this.ids.push(id);
    return this.ids.length - 1;
  }

  indexOf(id: HostId): number | undefined {
    return this.indices.get(id);
  }

  idAt(index: number): HostId {
    return this.ids[index]!;
  }
}
