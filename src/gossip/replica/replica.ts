/**
 * What this agent believes the mesh has said: one winning record a slot, and of policy the latest versions
 * before it, with digests that let two replicas find their differences in a few kilobytes. The join
 * commutes, associates and is idempotent (a state-based CRDT: host scope keeps the greatest element of a
 * slot, policy scope the `1 + maxOlderVersions` greatest), so neither order nor repetition of delivery
 * matters, and what is kept of the past is the same everywhere.
 */
import { byCodeUnit, type HostId, type Millis } from '../../core.ts';
import type { Digest } from '../frames.ts';
import type { Finality } from '../port.ts';
import type { Rate } from '../rates.ts';
import { Digester, digestKeyBytes, type Rank } from './digest.ts';
import { Floors } from './floors.ts';
import { type Death, endsByWord, forEver, keptUntil, type LastingLimits } from './lasting.ts';
import { hlcMillis, type Record, shareSlot, slotOf } from './record.ts';
import { type Entry, SlotTable } from './slots.ts';
import { type WriterSize, Writers } from './writers.ts';

export { digestBytes } from './digest.ts';
export { bucketCount } from './slots.ts';

/** Versions of a policy slot kept beside the winner: losers of concurrent writes, and what was replaced. */
export const maxOlderVersions = 16;

export interface ReplicaLimits extends LastingLimits {
  /** Records one author may fill, tombstones and older versions included, by scope. */
  readonly hostEntries: number;
  readonly policyEntries: number;
  /** Bytes of encoded records one author may fill, by scope. */
  readonly hostBytes: number;
  readonly policyBytes: number;
  /**
   * How fast one author's records are taken in. The burst lets a whole share through at once, as when a
   * newcomer takes over the mesh's records; the rate is what verifying costs a hundredth of a core.
   */
  readonly hostRate: Rate;
  readonly policyRate: Rate;
  /** How long a deletion is remembered at the least. */
  readonly tombstoneKeepMs: Millis;
}

const dayMs = 24 * 3_600_000;

/** Without a record of this kind no other of its author is let in. */
const admittingKind = 'admission';

export const defaultReplicaLimits: ReplicaLimits = {
  hostEntries: 4096,
  policyEntries: 262_144,
  hostBytes: 8 * 1024 * 1024,
  policyBytes: 256 * 1024 * 1024,
  hostRate: { perSecond: 100, burst: 4096 },
  policyRate: { perSecond: 100, burst: 262_144 },
  tombstoneKeepMs: 24 * 3_600_000,
  deadGraceMs: 24 * 3_600_000,
  lastingKinds: {
    // It uses up a token, and says whose key may come back.
    [admittingKind]: { down: forEver, gone: forEver },
    // Who let it in vouches for those that it let in itself.
    welcome: { down: forEver, gone: forEver },
    // Where it is, so that it is looked for until it says itself, or an operator, that it is gone.
    host: { down: forEver, gone: 7 * dayMs },
    // Whether it meant to go: who was away meanwhile has to know that, too.
    lifecycle: { down: forEver, gone: forEver },
    // Which root its certificates need, and those that it had signed for keys of others: none lasts for more than a
    // week, of which is told rounded up by half a life at the most.
    'trust-ack': { said: 11 * dayMs },
  },
};

/**
 * What others wrote has this many times the room, and the burst, that writers grant themselves, so that no
 * honest one is refused for tombstones that this replica has not collected yet.
 */
export const othersSlack = 2;

/**
 * `known`: these very bytes are held. `kept`: lost its slot, and is kept among the older versions. `stale`:
 * the slot holds a later one. `below-floor`: the slot was collected after this record was written.
 * `quota-exceeded`: its author has filled its share.
 */
export type JoinOutcome = 'applied' | 'kept' | 'known' | 'stale' | 'below-floor' | 'quota-exceeded';

export interface JoinOptions {
  /** How many times its quota an author may fill; `othersSlack` unless told. */
  readonly slack?: number | undefined;
  /** For what was minded before, such as records read back from the store. */
  readonly ignoreFloor?: boolean;
}

/** What was taken out for good: to be erased from the store, with floors to be written there. */
export interface Collected {
  readonly records: readonly Record[];
  /** Of authors whose tombstones are gone. */
  readonly floors: ReadonlyMap<HostId, number>;
  /** Of authors that were dead. */
  readonly deadFloors: ReadonlyMap<HostId, number>;
}

export interface ReplicaOptions {
  readonly limits?: ReplicaLimits;
  /** The mesh's own, see `digestKeyOf`; all its agents must agree on it. */
  readonly digestKey?: Uint8Array | undefined;
  /** Whether an author is a member that lives: the floor of its death then counts no longer. */
  readonly isLive?: (author: HostId) => boolean;
  readonly finality?: Finality | undefined;
  /** See `Authority`. */
  readonly expiryOf?: ((record: Record) => Millis | null) | undefined;
}

/** The order of a slot: positive when `a` wins. Total, hence the join is a semilattice. */
export function compareRecords(a: Record, b: Record, finality: Finality = ordinary): number {
  const order = a.scope === 'host' ? a.version - b.version : comparePolicies(a, b, finality);
  return order || byCodeUnit(a.text, b.text);
}

function comparePolicies(a: Record, b: Record, finality: Finality): number {
  return finality(a) - finality(b) || a.hlc - b.hlc || byCodeUnit(a.author, b.author);
}

function ordinary(): number {
  return 0;
}

/** Whether one writer signed two different records of one version: a bug of its host, or a cloned disk. */
export function isEquivocation(a: Record, b: Record): boolean {
  return a.scope === 'host' && shareSlot(a, b) && a.version === b.version && a.text !== b.text;
}

export class Replica {
  readonly limits: ReplicaLimits;
  private readonly digester: Digester;
  private readonly table = new SlotTable();
  private readonly writers = new Writers();
  /** Host-scope slots by author. */
  private readonly byAuthor = new Map<HostId, Set<Entry>>();
  private readonly hostTombstones = new Set<Entry>();
  private readonly policies = new Set<Entry>();
  private readonly floors: Floors;
  private readonly finality: Finality;
  private readonly expiryOf: (record: Record) => Millis | null;

  constructor(options: ReplicaOptions = {}) {
    this.finality = options.finality ?? ordinary;
    this.expiryOf = options.expiryOf ?? (() => null);
    this.limits = options.limits ?? defaultReplicaLimits;
    this.digester = new Digester(options.digestKey ?? new Uint8Array(digestKeyBytes));
    this.floors = new Floors(options.isLive ?? (() => false));
  }

  /** Slots. */
  get size(): number {
    return this.table.size;
  }

  /** Bytes of all records held. */
  get totalBytes(): number {
    return this.writers.bytes;
  }

  /** The `count` authors that hold most. */
  largestWriters(count: number): WriterSize[] {
    return this.writers.largest(count);
  }

  /** Whether anything of this author is held. */
  knows(author: HostId): boolean {
    return this.writers.has(author);
  }

  get(slot: string): Record | undefined {
    return this.entryOf(slot)?.record;
  }

  /** The versions of a policy slot before the one in force, newest first: replaced by it, or beaten by it. */
  history(slot: string): readonly Record[] {
    return this.entryOf(slot)?.older ?? [];
  }

  private entryOf(slot: string): Entry | undefined {
    for (const entry of this.table.named(this.slotDigest(slot)))
      if (slotOf(entry.record) === slot) return entry;
    return undefined;
  }

  /** Every winning record, tombstones included, in no promised order. */
  *records(): IterableIterator<Record> {
    for (const entry of this.table.entries()) yield entry.record;
  }

  /** Every host-scope record of one author, tombstones included. */
  *ofAuthor(author: HostId): IterableIterator<Record> {
    for (const entry of this.byAuthor.get(author) ?? []) yield entry.record;
  }

  /** What `join` would answer, without changing anything and without needing a verified signature. */
  preview(record: Record, options: JoinOptions = {}): JoinOutcome {
    const entry = this.table.find(this.slotDigestOf(record), record);
    return this.judge(record, entry, options);
  }

  private judge(record: Record, entry: Entry | undefined, options: JoinOptions): JoinOutcome {
    const place = entry === undefined ? 'applied' : this.placeIn(entry, record);
    if (place === 'known' || place === 'stale') return place;
    const collected = entry === undefined && record.scope === 'host' && !options.ignoreFloor;
    if (collected && record.version <= this.floorOf(record.author)) return 'below-floor';
    const slack = options.slack ?? othersSlack;
    return this.writers.exceeds(this.quotaOf(record, slack), record, entry && leavingFor(entry))
      ? 'quota-exceeded'
      : place;
  }

  private quotaOf(record: Record, slack: number): { records: number; bytes: number } {
    const { hostEntries, hostBytes, policyEntries, policyBytes } = this.limits;
    return record.scope === 'host'
      ? { records: slack * hostEntries, bytes: slack * hostBytes }
      : { records: slack * policyEntries, bytes: slack * policyBytes };
  }

  /** Takes in an authentic, admitted record. */
  join(record: Record, options: JoinOptions = {}): JoinOutcome {
    const slotDigest = this.slotDigestOf(record);
    const entry = this.table.find(slotDigest, record);
    const outcome = this.judge(record, entry, options);
    if (outcome !== 'applied' && outcome !== 'kept') return outcome;
    this.floors.heard(record.author);
    if (entry === undefined) this.insert(record, slotDigest);
    else if (record.scope === 'host') this.replace(entry, record);
    else this.remember(entry, record);
    return outcome;
  }

  private compare(a: Record, b: Record): number {
    return compareRecords(a, b, this.finality);
  }

  /** What a record would become in a slot that is not empty. */
  private placeIn({ record: winner, older }: Entry, record: Record): 'applied' | 'kept' | 'known' | 'stale' {
    if (winner.text === record.text) return 'known';
    if (this.compare(record, winner) > 0) return 'applied';
    if (record.scope === 'host') return 'stale';
    if (older.some((version) => version.text === record.text)) return 'known';
    const oldest = older[maxOlderVersions - 1];
    return oldest === undefined || this.compare(record, oldest) > 0 ? 'kept' : 'stale';
  }

  private versionsOf({ record, older }: Entry, added: Record): Record[] {
    return [record, ...older, added].sort((a, b) => this.compare(b, a)).slice(0, 1 + maxOlderVersions);
  }

  private slotDigestOf(record: Record): Digest {
    return this.digester.ofSlot(slotOf(record), this.rankOf(record));
  }

  private insert(record: Record, slotDigest: Digest): void {
    const entry = {
      record,
      older: none,
      slotDigest,
      digest: this.digester.ofRecord(record.text),
      next: null,
    };
    this.table.add(entry);
    this.writers.add(record);
    if (record.scope === 'policy') {
      this.policies.add(entry);
      return;
    }
    const entries = this.byAuthor.get(record.author);
    if (entries === undefined) this.byAuthor.set(record.author, new Set([entry]));
    else entries.add(entry);
    if (record.deleted) this.hostTombstones.add(entry);
  }

  private replace(entry: Entry, record: Record): void {
    this.table.change(entry, entry.digest);
    this.table.change(entry, this.digester.ofRecord(record.text));
    this.writers.remove(entry.record);
    this.writers.add(record);
    entry.record = record;
    if (record.deleted) this.hostTombstones.add(entry);
    else this.hostTombstones.delete(entry);
  }

  private remember(entry: Entry, record: Record): void {
    const leaving = leavingFor(entry);
    if (leaving !== undefined) {
      this.table.change(entry, this.digester.ofRecord(leaving.text));
      this.writers.remove(leaving);
    }
    const [winner, ...older] = this.versionsOf(entry, record);
    entry.record = winner!;
    entry.older = older;
    this.table.change(entry, this.digester.ofRecord(record.text));
    this.writers.add(record);
  }

  /** The versions of the record's slot, the winner first, as they are once the record was joined. */
  versionsWith(record: Record): readonly Record[] {
    const entry = this.table.find(this.slotDigestOf(record), record);
    if (entry === undefined) return [record];
    const place = this.placeIn(entry, record);
    if (record.scope === 'host') return [place === 'applied' ? record : entry.record];
    return place === 'applied' || place === 'kept'
      ? this.versionsOf(entry, record)
      : [entry.record, ...entry.older];
  }

  /** Digest of the whole replica, one character a byte: equal on two replicas that hold the same. */
  root(): Digest {
    return this.table.root;
  }

  /** A copy of all bucket digests, `bucketCount * digestBytes` bytes. */
  bucketDigests(): Uint8Array {
    return this.table.bucketDigests();
  }

  /** Slots in a bucket. */
  bucketSize(bucket: number): number {
    return this.table.bucketSize(bucket);
  }

  /** Digests of the parts of one bucket; see `SlotTable`. */
  partDigests(bucket: number): Uint8Array {
    return this.table.partDigests(bucket);
  }

  /** The digest of each slot of a range, by the slot's name on the wire. */
  listing(range: number): ReadonlyMap<Digest, Digest> {
    return this.table.listing(range);
  }

  slotDigest(slot: string): Digest {
    return this.digester.ofSlot(slot, rankOfSlot(slot));
  }

  /** All versions held of the slot of this name on the wire, winners before what they beat. */
  *versionsNamed(slotDigest: Digest): IterableIterator<Record> {
    for (const entry of this.table.named(slotDigest)) yield* [entry.record, ...entry.older];
  }

  /** All versions of all slots, in the order in which a newcomer can make use of them at once. */
  *foundationFirst(): IterableIterator<Record> {
    yield* this.policyVersions();
    for (const { record } of this.table.entries(1)) yield record;
  }

  /** All versions held of every policy slot. */
  *policyVersions(): IterableIterator<Record> {
    for (const { record, older } of this.policies) yield* [record, ...older];
  }

  rankOf({ scope, kind }: Record): Rank {
    if (scope === 'policy') return 0;
    return kind === admittingKind ? 1 : 2;
  }

  /** Host-scope records of `author` at or below this version are not taken into an empty slot. */
  floorOf(author: HostId): number {
    return this.floors.of(author);
  }

  /** Raises the floor that the author's tombstones left, as read back from the store. */
  raiseFloor(author: HostId, version: number): void {
    this.floors.raiseDeleted(author, version);
  }

  /** Raises the floor that the author's death left, as read back from the store. */
  raiseDeadFloor(author: HostId, version: number): void {
    this.floors.raiseDead(author, version);
  }

  /**
   * Forgets host-scope tombstones older than `tombstoneKeepMs`, at most `limit` of them, and raises their
   * authors' floors: a straggler that still holds the deleted record cannot bring it back. Tombstones of
   * policy are kept for good: they are few, and nobody is online to repeat them.
   */
  collect(now: Millis, limit: number): Collected {
    const expired: Entry[] = [];
    for (const entry of this.hostTombstones) {
      if (expired.length >= limit) break;
      if (hlcMillis(entry.record.hlc) + this.limits.tombstoneKeepMs <= now) expired.push(entry);
    }
    return this.discard(expired, 'floors');
  }

  /**
   * Forgets host-scope records of authors that have been dead, as `deathOf` says, for longer than their
   * kind is kept; at most `limit` of them. The floor lets only later versions in again.
   */
  collectDead(deathOf: (author: HostId) => Death | null, now: Millis, limit: number): Collected {
    const expired: Entry[] = [];
    for (const [author, entries] of this.byAuthor) {
      if (expired.length >= limit) break;
      const death = deathOf(author);
      if (death === null || death.since + this.limits.deadGraceMs > now) continue;
      for (const entry of entries) {
        if (expired.length >= limit) break;
        if (keptUntil(entry.record, death, this.limits) <= now) expired.push(entry);
      }
    }
    return this.discard(expired, 'deadFloors');
  }

  /** Forgets policy that concerns nobody any more by `now`, with its history; at most `limit` slots of it. */
  collectExpired(now: Millis, limit: number): readonly Record[] {
    const expired: Record[] = [];
    for (const entry of this.policies) {
      if (expired.length >= limit) break;
      const expiry = this.expiryOf(entry.record);
      if (expiry === null || expiry > now) continue;
      expired.push(entry.record);
      this.table.remove(entry);
      this.policies.delete(entry);
      for (const version of [entry.record, ...entry.older]) this.writers.remove(version);
    }
    return expired;
  }

  /**
   * A peer has collected the slot of this name, up to version `floor`: follows it if its author is dead, as
   * `deathOf` says, so that replicas that count the days differently do not differ for days. What is kept
   * for ever, or ends by its own time, stays, whoever says what.
   */
  surrender(
    slotDigest: Digest,
    floor: number,
    deathOf: (author: HostId) => Death | null,
    now: Millis,
  ): Collected {
    const dropped: Entry[] = [];
    for (const entry of this.table.named(slotDigest)) {
      const { record } = entry;
      if (record.scope !== 'host' || record.version > floor) continue;
      const death = deathOf(record.author);
      if (death !== null && endsByWord(record, death, this.limits, now)) dropped.push(entry);
    }
    return this.discard(dropped, 'deadFloors');
  }

  /** Takes entries out; `floors` says for what reason. */
  private discard(entries: readonly Entry[], floors: 'floors' | 'deadFloors'): Collected {
    const records: Record[] = [];
    const raised = new Map<HostId, number>();
    for (const entry of entries) {
      const { record } = entry;
      const { author, version } = record;
      const floor =
        floors === 'floors'
          ? this.floors.raiseDeleted(author, version)
          : this.floors.raiseDead(author, version);
      raised.set(author, floor);
      records.push(record);
      this.table.remove(entry);
      this.writers.remove(record);
      this.hostTombstones.delete(entry);
      const ofAuthor = this.byAuthor.get(author);
      ofAuthor?.delete(entry);
      if (ofAuthor?.size === 0) this.byAuthor.delete(author);
    }
    return { records, floors: new Map(), deadFloors: new Map(), [floors]: raised };
  }
}

const none: readonly Record[] = [];

/** The record that makes room for one more version. */
function leavingFor({ record, older }: Entry): Record | undefined {
  return record.scope === 'host' ? record : older[maxOlderVersions - 1];
}

/** As `rankOf`, by name. */
function rankOfSlot(slot: string): Rank {
  const [scope, , kind] = slot.split('/', 3);
  if (scope === 'policy') return 0;
  return kind === admittingKind ? 1 : 2;
}
