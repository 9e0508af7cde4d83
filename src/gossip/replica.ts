/**
 * What this agent believes the mesh has said: one winning record a slot, with digests that let two replicas
 * find their differences in a few kilobytes. The join commutes, associates and is idempotent (a
 * state-based CRDT), so neither order nor repetition of delivery matters.
 */
import { assert, byCodeUnit, type HostId, type Millis } from '../core.ts';
import { digestOf } from './codec.ts';
import { hlcMillis, type Record, slotOf } from './record.ts';

/** Slots are spread over this many buckets, each with a digest of its own. */
export const bucketCount = 512;
/** Bytes of a digest on the wire, and characters of it in memory. */
export const digestBytes = 8;

export interface ReplicaLimits {
  /** Slots one author may fill, tombstones included, by scope. */
  readonly hostEntries: number;
  readonly policyEntries: number;
  /** Bytes of encoded records one author may fill, by scope. */
  readonly hostBytes: number;
  readonly policyBytes: number;
  /** How long a deletion is remembered at the least. */
  readonly tombstoneKeepMs: number;
}

export const defaultReplicaLimits: ReplicaLimits = {
  hostEntries: 4096,
  policyEntries: 65_536,
  hostBytes: 8 * 1024 * 1024,
  policyBytes: 64 * 1024 * 1024,
  tombstoneKeepMs: 24 * 3_600_000,
};

/** A slot with its winner and what the digests need. Digests hold one character a byte. */
export interface Entry {
  readonly record: Record;
  readonly slot: string;
  /** First eight bytes of SHA-256 of the slot's name: names the slot on the wire. */
  readonly slotDigest: string;
  /** SHA-256 of the record's bytes. */
  readonly hash: string;
}

/**
 * `known`: these very bytes are held. `stale`: the slot holds a later one. `below-floor`: the slot was
 * deleted and forgotten after this record was written. `quota-exceeded`: its author has filled its share.
 */
export type JoinOutcome = 'applied' | 'known' | 'stale' | 'below-floor' | 'quota-exceeded';

export interface JoinOptions {
  /**
   * How many times its quota an author may fill. Writers keep to 1 themselves; for what others wrote it is
   * 2, so that no honest one is refused for tombstones that this replica has not collected yet.
   */
  readonly slack?: number;
  /** The author itself handed the record over: on its own slots its word counts more than the floor. */
  readonly fromAuthor?: boolean;
}

interface Shelf {
  readonly entries: Set<Entry>;
  bytes: number;
}

/** The order of a slot: positive when `a` wins. Total, hence the join is a semilattice. */
export function compareRecords(a: Record, b: Record): number {
  const order = a.scope === 'host' ? a.version - b.version : a.hlc - b.hlc || byCodeUnit(a.author, b.author);
  return order || byCodeUnit(digestOf(a.bytes), digestOf(b.bytes));
}

/** Whether one writer signed two different records of one version: a bug of its host, or a cloned disk. */
export function isEquivocation(a: Record, b: Record): boolean {
  return (
    a.scope === 'host' && slotOf(a) === slotOf(b) && a.version === b.version && !sameBytes(a.bytes, b.bytes)
  );
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

export class Replica {
  readonly limits: ReplicaLimits;
  private readonly slots = new Map<string, Entry>();
  private readonly buckets: (Map<string, Entry> | undefined)[] = new Array(bucketCount).fill(undefined);
  private readonly byKind = new Map<string, Set<Entry>>();
  private readonly shelves = new Map<string, Shelf>();
  private readonly hostTombstones = new Set<Entry>();
  private readonly floors = new Map<HostId, number>();
  private readonly bucketXor = new Uint8Array(bucketCount * digestBytes);
  private readonly rootXor = new Uint8Array(digestBytes);
  private rootText: string | null = null;
  private byteTotal = 0;

  constructor(limits: ReplicaLimits = defaultReplicaLimits) {
    this.limits = limits;
  }

  get size(): number {
    return this.slots.size;
  }

  /** Bytes of all records held. */
  get totalBytes(): number {
    return this.byteTotal;
  }

  get(slot: string): Record | undefined {
    return this.slots.get(slot)?.record;
  }

  /** Every record, tombstones included, in no promised order. */
  *records(): IterableIterator<Record> {
    for (const entry of this.slots.values()) yield entry.record;
  }

  /** Every record of one kind, of either scope, tombstones included. */
  *ofKind(kind: string): IterableIterator<Record> {
    for (const entry of this.byKind.get(kind) ?? []) yield entry.record;
  }

  /** Every host-scope record of one author, tombstones included. */
  *ofAuthor(author: HostId): IterableIterator<Record> {
    for (const entry of this.shelves.get(`host/${author}`)?.entries ?? []) yield entry.record;
  }

  /** Records whose slot begins with `prefix`; walks the author's or the kind's part only where it can. */
  *withPrefix(prefix: string): IterableIterator<Record> {
    for (const entry of this.candidates(prefix)) if (entry.slot.startsWith(prefix)) yield entry.record;
  }

  private candidates(prefix: string): Iterable<Entry> {
    const [scope, owner, rest] = prefix.split('/', 3);
    if (owner === undefined || rest === undefined) return this.slots.values();
    if (scope === 'host') return this.shelves.get(`host/${owner}`)?.entries ?? [];
    return this.byKind.get(owner) ?? [];
  }

  /** What `join` would answer, without changing anything and without needing a verified signature. */
  preview(record: Record, options: JoinOptions = {}): JoinOutcome {
    const held = this.slots.get(slotOf(record));
    if (held !== undefined) {
      if (sameBytes(held.record.bytes, record.bytes)) return 'known';
      if (compareRecords(record, held.record) <= 0) return 'stale';
    } else if (
      record.scope === 'host' &&
      !options.fromAuthor &&
      record.version <= this.floorOf(record.author)
    )
      return 'below-floor';
    return this.exceedsQuota(record, held, options.slack ?? 2) ? 'quota-exceeded' : 'applied';
  }

  /** Takes in an authentic, admitted record. */
  join(record: Record, options: JoinOptions = {}): JoinOutcome {
    const outcome = this.preview(record, options);
    if (outcome === 'applied') this.replace(record);
    return outcome;
  }

  private exceedsQuota(record: Record, held: Entry | undefined, slack: number): boolean {
    const host = record.scope === 'host';
    const shelf = this.shelves.get(shelfOf(record));
    const replaced = held !== undefined && shelfOf(held.record) === shelfOf(record) ? held : undefined;
    const growth = record.bytes.length - (replaced?.record.bytes.length ?? 0);
    const entries = (shelf?.entries.size ?? 0) + (replaced === undefined ? 1 : 0);
    const bytes = (shelf?.bytes ?? 0) + growth;
    const { hostEntries, policyEntries, hostBytes, policyBytes } = this.limits;
    if (replaced === undefined && entries > slack * (host ? hostEntries : policyEntries)) return true;
    return growth > 0 && bytes > slack * (host ? hostBytes : policyBytes);
  }

  private replace(record: Record): void {
    const slot = slotOf(record);
    const held = this.slots.get(slot);
    if (held !== undefined) this.remove(held);
    const slotDigest = held?.slotDigest ?? digestOf(slot).slice(0, digestBytes);
    this.insert({ record, slot, slotDigest, hash: digestOf(record.bytes) });
  }

  private insert(entry: Entry): void {
    const { record, slot, slotDigest } = entry;
    this.slots.set(slot, entry);
    const bucket = bucketOf(slotDigest);
    const inBucket = this.buckets[bucket] ?? new Map<string, Entry>();
    this.buckets[bucket] = inBucket.set(slotDigest, entry);
    setOf(this.byKind, record.kind).add(entry);
    const shelf = this.shelves.get(shelfOf(record)) ?? { entries: new Set<Entry>(), bytes: 0 };
    this.shelves.set(shelfOf(record), shelf);
    shelf.entries.add(entry);
    shelf.bytes += record.bytes.length;
    this.byteTotal += record.bytes.length;
    if (record.deleted && record.scope === 'host') this.hostTombstones.add(entry);
    this.toggle(entry, bucket);
  }

  private remove(entry: Entry): void {
    const { record, slot, slotDigest } = entry;
    this.slots.delete(slot);
    const bucket = bucketOf(slotDigest);
    if (this.buckets[bucket]?.get(slotDigest) === entry) this.buckets[bucket].delete(slotDigest);
    this.byKind.get(record.kind)?.delete(entry);
    if (this.byKind.get(record.kind)?.size === 0) this.byKind.delete(record.kind);
    const shelf = this.shelves.get(shelfOf(record));
    assert(shelf !== undefined, `a record of ${slot} lies on no shelf`);
    shelf.entries.delete(entry);
    shelf.bytes -= record.bytes.length;
    if (shelf.entries.size === 0) this.shelves.delete(shelfOf(record));
    this.byteTotal -= record.bytes.length;
    this.hostTombstones.delete(entry);
    this.toggle(entry, bucket);
  }

  /** Adds a record to the digests, or takes it out again: exclusive-or is its own inverse. */
  private toggle(entry: Entry, bucket: number): void {
    for (let i = 0; i < digestBytes; i++) {
      const byte = entry.hash.charCodeAt(i);
      this.bucketXor[bucket * digestBytes + i]! ^= byte;
      this.rootXor[i]! ^= byte;
    }
    this.rootText = null;
  }

  /** Digest of the whole replica, one character a byte: equal on two replicas that hold the same. */
  root(): string {
    this.rootText ??= Buffer.from(this.rootXor).toString('latin1');
    return this.rootText;
  }

  /** A copy of all bucket digests, `bucketCount * digestBytes` bytes. */
  bucketDigests(): Uint8Array {
    return this.bucketXor.slice();
  }

  /** The entries of one bucket by slot digest. */
  bucket(index: number): ReadonlyMap<string, Entry> {
    return this.buckets[index] ?? emptyBucket;
  }

  entryByDigest(slotDigest: string): Entry | undefined {
    return this.buckets[bucketOf(slotDigest)]?.get(slotDigest);
  }

  entryOf(slot: string): Entry | undefined {
    return this.slots.get(slot);
  }

  /** Host-scope records of `author` at or below this version are not taken into an empty slot. */
  floorOf(author: HostId): number {
    return this.floors.get(author) ?? 0;
  }

  /** Raises the floor of `author`, as read back from the store. A floor never falls. */
  raiseFloor(author: HostId, version: number): void {
    if (version > this.floorOf(author)) this.floors.set(author, version);
  }

  /**
   * Forgets host-scope tombstones older than `tombstoneKeepMs`, at most `limit` of them, and raises their
   * authors' floors: a straggler that still holds the deleted record cannot bring it back. Tombstones of
   * policy are kept for good: they are few, and nobody is online to repeat them. Returns what to erase
   * from the store, and the floors to write there.
   */
  collect(now: Millis, limit: number): { erased: string[]; floors: Map<HostId, number> } {
    const erased: string[] = [];
    const floors = new Map<HostId, number>();
    for (const entry of this.hostTombstones) {
      if (erased.length >= limit) break;
      const { author, version, hlc } = entry.record;
      if (hlcMillis(hlc) + this.limits.tombstoneKeepMs > now) continue;
      this.raiseFloor(author, version);
      floors.set(author, this.floorOf(author));
      this.remove(entry);
      erased.push(entry.slot);
    }
    return { erased, floors };
  }
}

const emptyBucket: ReadonlyMap<string, Entry> = new Map();

/** The nine leading bits of a slot's digest. */
export function bucketOf(slotDigest: string): number {
  return (slotDigest.charCodeAt(0) << 1) | (slotDigest.charCodeAt(1) >> 7);
}

function shelfOf(record: Record): string {
  return `${record.scope}/${record.author}`;
}

function setOf(sets: Map<string, Set<Entry>>, key: string): Set<Entry> {
  const found = sets.get(key) ?? new Set<Entry>();
  sets.set(key, found);
  return found;
}
