/**
 * What may only grow, and does: incarnations, the catalog's index, the version in each slot and the time of each
 * policy, all as one process of a host has them; and what a host itself signs, over all its lives.
 */
import type { HostId } from '../../src/core.ts';
import { type Record, slotOf } from '../../src/gossip/replica/record.ts';
import { finalityOf } from '../../src/trust/finality.ts';
import type { Host } from '../host/host.ts';
import type { SimulatedAgent } from '../host/simulated-agent.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/** What one observer's process last had. */
interface Seen {
  readonly process: SimulatedAgent;
  catalogIndex: number;
  readonly incarnations: Map<HostId, number>;
  /** By slot: the version, or where the slot is policy how final it is, then the hybrid time. */
  readonly slots: Map<string, number>;
  /** Records that were looked at: they do not change. */
  readonly records: WeakSet<Record>;
}

/** Below it are the admissions that hosts sign before their agents run. */
const firstVersion = 2 ** 32;
/** Slots that are looked at in one sweep, of all observers together; the next sweep goes on with the next. */
const slotsMax = 20_000;
/** Observers whose slots are remembered: all of a small mesh, some of a large one. */
const rememberedSlotsMax = 400_000;

export class Growth {
  private readonly world: World;
  private readonly seen = new Map<number, Seen>();
  /** `slot version` of hosts' own records -> bytes, over all their lives. */
  private readonly signed = new Map<string, Uint8Array>();
  /** By host: the highest version among them. */
  private readonly highest = new Map<number, number>();
  private rememberedSlots = 0;
  private next = 0;

  constructor(world: World) {
    this.world = world;
  }

  /** Holds `observers`, all of them awake, to what they had before: all of a small mesh, some of a large one. */
  sweep(observers: readonly Host[], subjects: readonly Host[]): void {
    let left = slotsMax;
    for (let turn = 0; turn < observers.length && left > 0; turn++) {
      const observer = observers[this.next++ % observers.length]!;
      const seen = this.seenBy(observer);
      this.catalogIndex(observer, seen);
      for (const subject of subjects) this.incarnation(observer, subject, seen);
      left -= subjects.length;
      if (seen.slots.size > 0 || this.rememberedSlots < rememberedSlotsMax)
        left -= this.slots(observer, seen);
    }
  }

  /**
   * A host never signs two records of one version, not even across a crash, and each it signs is above all it
   * signed before: what its disk lost, others may hold.
   */
  ownVersions(host: Host): void {
    const before = this.highest.get(host.number) ?? 0;
    let highest = before;
    for (const record of host.agent!.ownRecords()) {
      const key = `${slotOf(record)} ${record.version}`;
      const known = this.signed.get(key);
      highest = Math.max(highest, record.version);
      if (known === undefined) {
        this.signed.set(key, record.bytes);
        if (record.version <= before && record.version >= firstVersion)
          this.fell(host, `its own version, in ${slotOf(record)},`, before, record.version);
      } else if (known !== record.bytes && Buffer.compare(known, record.bytes) !== 0)
        throw new Violation('single-version', this.world, `${host.name} signed two records of ${key}`);
    }
    this.highest.set(host.number, highest);
  }

  private seenBy(observer: Host): Seen {
    const process = observer.agent!;
    const known = this.seen.get(observer.number);
    if (known?.process === process) return known;
    this.rememberedSlots -= known?.slots.size ?? 0;
    const seen: Seen = {
      process,
      catalogIndex: 0,
      incarnations: new Map(),
      slots: new Map(),
      records: new WeakSet(),
    };
    this.seen.set(observer.number, seen);
    return seen;
  }

  private catalogIndex(observer: Host, seen: Seen): void {
    const { index } = seen.process.catalog;
    if (index < seen.catalogIndex) this.fell(observer, 'the catalog index', seen.catalogIndex, index);
    seen.catalogIndex = index;
  }

  private incarnation(observer: Host, subject: Host, seen: Seen): void {
    const incarnation = seen.process.incarnationOf(subject.id);
    const before = seen.incarnations.get(subject.id) ?? 0;
    if (incarnation < before) this.fell(observer, `the incarnation of ${subject.name}`, before, incarnation);
    seen.incarnations.set(subject.id, incarnation);
  }

  /** How many were looked at. */
  private slots(observer: Host, seen: Seen): number {
    let count = 0;
    for (const record of seen.process.records()) {
      count++;
      if (seen.records.has(record)) continue;
      seen.records.add(record);
      const slot = slotOf(record);
      const rank = rankOf(record);
      const before = seen.slots.get(slot);
      if (before === undefined) this.rememberedSlots++;
      else if (rank < before) this.fell(observer, slot, before, rank);
      seen.slots.set(slot, rank);
    }
    // No run is long enough for a tombstone to be forgotten.
    if (count < seen.slots.size) this.fell(observer, 'the number of slots', seen.slots.size, count);
    return count;
  }

  private fell(observer: Host, what: string, from: number, to: number): never {
    throw new Violation('monotonicity', this.world, `${observer.name}: ${what} fell from ${from} to ${to}`);
  }
}

/** What is final is above all that only comes later. */
function rankOf(record: Record): number {
  const { scope, version, hlc } = record;
  if (scope === 'host') return version;
  const finality = finalityOf(record);
  return finality === 0 ? hlc : Number.MAX_SAFE_INTEGER + finality;
}
