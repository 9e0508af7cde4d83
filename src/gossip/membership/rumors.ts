/**
 * What is to be told, on whatever frame goes out anyway: the least told first, each a bounded number of
 * times. Source: SWIM (Das et al. 2002), sections 4.1 (piggyback, lambda log n transmissions) and 5.
 */
import type { HostId } from '../../core.ts';
import type { Rumor } from '../frames.ts';
import type { MemberStatus } from '../port.ts';

/** Encoded size of the largest rumor: state, id, incarnation, proof. */
export const rumorBytes: number = 1 + 32 + 8 + 64;
/** One rumor a member; past this the most told one is dropped, which most have heard by then. */
export const maxQueuedRumors = 4096;

/** What whoever meets a new peer tells it of the members that are not well. */
export function accusationsOf(impaired: readonly MemberStatus[], accuser: HostId): Rumor[] {
  return impaired.map(({ id, state, incarnation }) => ({
    state: state === 'down' ? 'down' : 'suspect',
    id,
    incarnation,
    accuser,
  }));
}

export class Rumors {
  private readonly multiplier: number;
  /** Rumors by how often they were told; within a level in order of arrival. */
  private readonly levels: Map<HostId, Rumor>[] = [];
  private readonly levelOf = new Map<HostId, number>();

  constructor(multiplier: number) {
    this.multiplier = multiplier;
  }

  get size(): number {
    return this.levelOf.size;
  }

  /** Queues a rumor; a former one about the same member is out of date and goes. */
  add(rumor: Rumor): void {
    this.drop(rumor.id);
    if (this.levelOf.size >= maxQueuedRumors) this.dropMostTold();
    this.place(rumor, 0);
  }

  /**
   * Rumors for one frame to `listener`, one of `members` others: at most `count`, and each told once more by this.
   * Nobody needs to be told that it is alive: after a restart all would spend their tellings on that.
   */
  take(count: number, members: number, listener: HostId | null = null): Rumor[] {
    const limit = this.multiplier * Math.ceil(Math.log10(members + 2));
    const taken: { rumor: Rumor; level: number }[] = [];
    for (let level = 0; level < this.levels.length && taken.length < count; level++)
      for (const rumor of this.levels[level]!.values()) {
        if (taken.length >= count) break;
        if (rumor.id !== listener || rumor.state !== 'alive') taken.push({ rumor, level });
      }
    for (const { rumor, level } of taken) {
      this.drop(rumor.id);
      if (level + 1 < limit) this.place(rumor, level + 1);
    }
    return taken.map(({ rumor }) => rumor);
  }

  drop(id: HostId): void {
    const level = this.levelOf.get(id);
    if (level === undefined) return;
    this.levels[level]!.delete(id);
    this.levelOf.delete(id);
  }

  private place(rumor: Rumor, level: number): void {
    while (this.levels.length <= level) this.levels.push(new Map());
    this.levels[level]!.set(rumor.id, rumor);
    this.levelOf.set(rumor.id, level);
  }

  private dropMostTold(): void {
    for (let level = this.levels.length - 1; level >= 0; level--)
      for (const id of this.levels[level]!.keys()) {
        this.drop(id);
        return;
      }
  }
}
