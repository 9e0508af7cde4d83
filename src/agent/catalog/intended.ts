/**
 * What this host's own slots will hold once the writes on their way to the disk have arrived. The next write is
 * judged against this: judged against what is durable, a change and its undoing in quick succession would leave
 * the change, and tell both callers that all is well. Pure.
 */
import type { OwnWrite } from './registry.ts';

interface UnderWay extends OwnWrite {
  /** Of the record that was signed for it. */
  readonly version: number;
}

/** As large as the writes under way, which the disk or its failure ends. */
export class Intended {
  /** The latest write of each slot. */
  private readonly slots = new Map<string, UnderWay>();

  wrote({ kind, key, value }: OwnWrite, version: number): void {
    this.slots.set(slotOf(kind, key), { kind, key, value, version });
  }

  /** A write is durable, or was refused by the disk: unless the slot was written again, what is durable counts. */
  ended(kind: string, key: string, version: number): void {
    const slot = this.slots.get(slotOf(kind, key));
    if (slot !== undefined && slot.version <= version) this.slots.delete(slotOf(kind, key));
  }

  /** Undefined where nothing is under way, null where the slot will be empty. */
  get(kind: string, key: string): object | null | undefined {
    return this.slots.get(slotOf(kind, key))?.value;
  }

  /** The slots of a kind, by key: what is durable, changed by what is under way. */
  over<T extends object>(kind: string, durable: Iterable<readonly [string, T]>): Map<string, T> {
    const slots = new Map(durable);
    for (const slot of this.slots.values()) {
      if (slot.kind !== kind) continue;
      if (slot.value === null) slots.delete(slot.key);
      else slots.set(slot.key, slot.value as T);
    }
    return slots;
  }
}

function slotOf(kind: string, key: string): string {
  return `${kind}\0${key}`;
}
