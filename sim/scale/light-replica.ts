/**
 * What a host of a large mesh holds of all instances. Everybody begins with the same records, of which one set stands
 * for all; what is apart is what was written since. Joins as the replica does: of one slot the later version wins.
 */
import { hash32 } from '../trace.ts';

/** A new version of what one slot holds. */
export interface LightRecord {
  readonly slot: number;
  /** From 1; what all began with is version 0. */
  readonly version: number;
  /** Of slot and version. */
  readonly digest: number;
}

export function lightRecord(slot: number, version: number): LightRecord {
  return { slot, version, digest: hash32(String(slot), String(version)) };
}

export class LightReplica {
  private readonly since = new Map<number, LightRecord>();
  private sum = 0;

  /** Whether that was news. */
  join(record: LightRecord): boolean {
    const held = this.since.get(record.slot);
    if (held !== undefined && held.version >= record.version) return false;
    this.sum ^= record.digest ^ (held?.digest ?? 0);
    this.since.set(record.slot, record);
    return true;
  }

  versionOf(slot: number): number {
    return this.since.get(slot)?.version ?? 0;
  }

  /** Equal for equal contents, whatever the order in which they came. */
  get digest(): string {
    return `${this.since.size}/${this.sum >>> 0}`;
  }
}
