/**
 * The slots of a replica, spread over buckets by their digest, with the sums by which two replicas find
 * where they differ: one of everything, one a bucket, and one a part of a bucket, made when asked for.
 */

import type { Digest } from '../frames.ts';
import { combine, combineInto, digestBytes, emptyDigest, type Rank } from './digest.ts';
import { type Record, shareSlot } from './record.ts';

/** Slots are spread over this many buckets, each with a digest of its own. */
export const bucketCount = 512;
/** A bucket of a large replica is compared in this many parts first. */
export const partsPerBucket = 32;
/** Whole buckets are ranges 0 to `bucketCount` - 1; the parts of all buckets follow. */
export const rangeCount: number = bucketCount * (1 + partsPerBucket);

/** A slot with its winner, the older versions that are kept, and what the digests need. */
export interface Entry {
  record: Record;
  /** Newest first; always empty in host scope. */
  older: readonly Record[];
  /** Names the slot on the wire. */
  readonly slotDigest: Digest;
  /** The sum over `record` and `older`. */
  digest: Digest;
  /** The next slot of the very same digest: a coincidence of 64 bits, which costs nobody a record. */
  next: Entry | null;
}

/** Of all slots in a bucket. */
export function rankOf(bucket: number): Rank {
  if (bucket >= bucketCount / 2) return 2;
  return bucket >= bucketCount / 4 ? 1 : 0;
}

/** The nine leading bits of a slot's digest. */
export function bucketOf(slotDigest: Digest): number {
  return (slotDigest.charCodeAt(0) << 1) | (slotDigest.charCodeAt(1) >> 7);
}

/** The five bits after those. */
function partOf(slotDigest: Digest): number {
  return (slotDigest.charCodeAt(1) >> 2) & (partsPerBucket - 1);
}

/** The range that is one part of a bucket. */
export function rangeOfPart(bucket: number, part: number): number {
  return bucketCount + bucket * partsPerBucket + part;
}

export class SlotTable {
  private readonly buckets: (Map<Digest, Entry> | undefined)[] = new Array(bucketCount).fill(undefined);
  private readonly sums = new Uint8Array(bucketCount * digestBytes);
  private sum: Digest = emptyDigest;
  private count = 0;
  /** The bucket last asked for by its parts: whoever asks for one part asks for its neighbours next. */
  private split: { readonly bucket: number; readonly parts: Map<Digest, Digest>[] } | null = null;

  get size(): number {
    return this.count;
  }

  /** Digest of the whole table. */
  get root(): Digest {
    return this.sum;
  }

  /** The entry of the record's slot. */
  find(slotDigest: Digest, record: Record): Entry | undefined {
    let entry: Entry | null | undefined = this.buckets[bucketOf(slotDigest)]?.get(slotDigest);
    while (entry && !shareSlot(entry.record, record)) entry = entry.next;
    return entry ?? undefined;
  }

  /** All entries of one slot digest: nearly always one, or none. */
  *named(slotDigest: Digest): IterableIterator<Entry> {
    let entry = this.buckets[bucketOf(slotDigest)]?.get(slotDigest) ?? null;
    for (; entry !== null; entry = entry.next) yield entry;
  }

  /** Lower ranks before higher ones, from `rank` on. */
  *entries(rank: Rank = 0): IterableIterator<Entry> {
    for (const [index, bucket] of this.buckets.entries())
      if (rankOf(index) >= rank)
        for (const first of bucket?.values() ?? [])
          for (let entry: Entry | null = first; entry !== null; entry = entry.next) yield entry;
  }

  add(entry: Entry): void {
    const bucket = bucketOf(entry.slotDigest);
    this.buckets[bucket] ??= new Map();
    entry.next = this.buckets[bucket].get(entry.slotDigest) ?? null;
    this.buckets[bucket].set(entry.slotDigest, entry);
    this.count++;
    this.toggle(entry.slotDigest, entry.digest);
  }

  remove(entry: Entry): void {
    const bucket = this.buckets[bucketOf(entry.slotDigest)]!;
    const first = bucket.get(entry.slotDigest)!;
    if (first === entry) {
      if (entry.next === null) bucket.delete(entry.slotDigest);
      else bucket.set(entry.slotDigest, entry.next);
    } else {
      let before = first;
      while (before.next !== entry) before = before.next!;
      before.next = entry.next;
    }
    this.count--;
    this.toggle(entry.slotDigest, entry.digest);
  }

  /** A record came to, or went from, a slot that stays. */
  change(entry: Entry, recordDigest: Digest): void {
    entry.digest = combine(entry.digest, recordDigest);
    this.toggle(entry.slotDigest, recordDigest);
  }

  private toggle(slotDigest: Digest, digest: Digest): void {
    this.split = null;
    this.sum = combine(this.sum, digest);
    combineInto(this.sums, bucketOf(slotDigest) * digestBytes, digest);
  }

  /** A copy of all bucket digests, `bucketCount * digestBytes` bytes. */
  bucketDigests(): Uint8Array {
    return this.sums.slice();
  }

  /** Slots in a bucket. */
  bucketSize(bucket: number): number {
    return this.buckets[bucket]?.size ?? 0;
  }

  /** Digests of the parts of one bucket, `partsPerBucket * digestBytes` bytes. */
  partDigests(bucket: number): Uint8Array {
    const sums = new Uint8Array(partsPerBucket * digestBytes);
    for (const [slot, digest] of this.whole(bucket)) combineInto(sums, partOf(slot) * digestBytes, digest);
    return sums;
  }

  /** What a range holds: the digest of each slot in it by the slot's name on the wire. */
  listing(range: number): ReadonlyMap<Digest, Digest> {
    if (range < bucketCount) return this.whole(range);
    const bucket = Math.floor((range - bucketCount) / partsPerBucket);
    if (this.split?.bucket !== bucket) this.split = { bucket, parts: this.partsOf(bucket) };
    return this.split.parts[(range - bucketCount) % partsPerBucket]!;
  }

  private partsOf(bucket: number): Map<Digest, Digest>[] {
    const parts = Array.from({ length: partsPerBucket }, () => new Map<Digest, Digest>());
    for (const [slot, digest] of this.whole(bucket)) parts[partOf(slot)]!.set(slot, digest);
    return parts;
  }

  private whole(bucket: number): Map<Digest, Digest> {
    const listing = new Map<Digest, Digest>();
    for (const [slot, entry] of this.buckets[bucket] ?? []) {
      let digest = entry.digest;
      for (let other = entry.next; other !== null; other = other.next) digest = combine(digest, other.digest);
      listing.set(slot, digest);
    }
    return listing;
  }
}
