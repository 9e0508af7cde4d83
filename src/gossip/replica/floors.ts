/**
 * Below which version nothing of an author is taken into an empty slot: what keeps a straggler from bringing
 * back what was collected. Bounded by the authors ever admitted, whose admissions are kept as well.
 */
import type { HostId } from '../../core.ts';

export class Floors {
  /** Left by tombstones that were collected; for good. */
  private readonly deleted = new Map<HostId, number>();
  /** Left by authors that were dead; until they live. */
  private readonly dead = new Map<HostId, number>();
  private readonly isLive: (author: HostId) => boolean;

  constructor(isLive: (author: HostId) => boolean) {
    this.isLive = isLive;
  }

  /**
   * What was collected for the author's death is taken again from anybody once the author lives: all it said
   * is then its present word, but for what it deleted.
   */
  of(author: HostId): number {
    const dead = this.dead.get(author) ?? 0;
    return Math.max(this.deleted.get(author) ?? 0, dead > 0 && !this.isLive(author) ? dead : 0);
  }

  /** A record of the author was taken in: if it lives, the floor of its death is gone. */
  heard(author: HostId): void {
    if (this.dead.has(author) && this.isLive(author)) this.dead.delete(author);
  }

  /** Returns what the floor is now: it never falls. */
  raiseDeleted(author: HostId, version: number): number {
    return raise(this.deleted, author, version);
  }

  raiseDead(author: HostId, version: number): number {
    return raise(this.dead, author, version);
  }
}

function raise(floors: Map<HostId, number>, author: HostId, version: number): number {
  const raised = Math.max(version, floors.get(author) ?? 0);
  floors.set(author, raised);
  return raised;
}
