/**
 * The token buckets of one service as all threads use them: who holds the lock loads what it needs into buckets
 * of its own, decides, and stores them again. A bucket is here only while tokens of it are missing; one that is
 * full is as good as none, and its place is free for another.
 */
import type { Millis } from '../../core.ts';
import { hashOf } from '../balance/hash.ts';
import type { RateLimit } from '../policy.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { Lock } from './lock.ts';
import type { SharedMemory } from './memory.ts';

/** Of each bucket: its key, what is missing, as of when, and when nothing is any more; 0 before there was one. */
const keyField = 0;
const usedField = 1;
const filledAtField = 2;
const fullAtField = 3;
const fieldsPerBucket = 4;
const bytesPerBucket = fieldsPerBucket * Float64Array.BYTES_PER_ELEMENT;
/** The lock comes first, in a place as large as a bucket's. */
const headerBytes = bytesPerBucket;

/** Of buckets that policy names there may be twice as many and some: it changes before the old ones are full. */
const spareNamed = 32;
/** Where the place of a bucket is not known yet. */
const nowhere = -1;

/** A bucket that knows where in a table it is. */
export class PlacedBucket extends TokenBucket {
  /** 53 bits of its name: of a few thousand names no two come together. */
  readonly key: number;
  /** Buckets that policy names have room; the others take what there is, or share the crowd's. */
  readonly isNamed: boolean;
  index = nowhere;

  /** `name` tells it from the other buckets of its table. */
  constructor(name: string, isNamed: boolean, limit: RateLimit, now: Millis) {
    super(limit, now);
    this.key = hashOf(name, 1) * 2 ** 21 + (hashOf(name, 2) >>> 11) || 1;
    this.isNamed = isNamed;
  }
}

/** The memory for so many buckets that policy names, and so many others. */
export function bucketsBytes(named: number, others: number): number {
  return headerBytes + (1 + 2 * named + spareNamed + others) * bytesPerBucket;
}

/** The one bucket of all for whom there is no room. */
const crowdIndex = 0;

export class BucketTable {
  readonly lock: Lock;
  private readonly fields: Float64Array;
  private readonly size: number;
  /** Where those that are not named begin. */
  private readonly othersFrom: number;

  /** `others` as in `bucketsBytes`. */
  constructor({ buffer }: SharedMemory, others: number) {
    this.lock = new Lock(new Int32Array(buffer, 0, 1), 0);
    this.fields = new Float64Array(buffer, headerBytes);
    this.size = this.fields.length / fieldsPerBucket;
    this.othersFrom = this.size - others;
  }

  /**
   * Brings the bucket to where all threads have left it; false if it is the crowd's. Then `store` is called, and
   * until then no other bucket gets its place. Only with the lock.
   */
  load(bucket: PlacedBucket, now: Millis): boolean {
    if (!this.isAt(bucket.index, bucket.key)) bucket.index = this.find(bucket, now * 1000);
    const at = bucket.index * fieldsPerBucket;
    bucket.restore(this.fields[at + usedField]!, this.fields[at + filledAtField]!);
    this.fields[at + fullAtField] = Number.POSITIVE_INFINITY;
    return bucket.index !== crowdIndex;
  }

  /** Leaves it for all threads, as it is after `load`. Only with the lock. */
  store(bucket: PlacedBucket): void {
    const at = bucket.index * fieldsPerBucket;
    this.fields[at + usedField] = bucket.used;
    this.fields[at + filledAtField] = bucket.filledAtUs;
    this.fields[at + fullAtField] = bucket.fullAtUs;
  }

  private isAt(index: number, key: number): boolean {
    return index !== nowhere && this.fields[index * fieldsPerBucket + keyField] === key;
  }

  /** Where the bucket is; else a free place, which is its own from now on. */
  private find({ key, isNamed }: PlacedBucket, nowUs: number): number {
    const from = isNamed ? crowdIndex + 1 : this.othersFrom;
    const to = isNamed ? this.othersFrom : this.size;
    let first = from;
    for (let index = from; index < to; index++) {
      if (this.isAt(index, key)) return index;
      if (this.fullAt(index) < this.fullAt(first)) first = index;
    }
    // Of the named ones, what is not full and yet in the way is left from a policy before this one.
    if (!isNamed && this.fullAt(first) > nowUs) return crowdIndex;
    this.clear(first, key);
    return first;
  }

  private fullAt(index: number): number {
    return this.fields[index * fieldsPerBucket + fullAtField]!;
  }

  private clear(index: number, key: number): void {
    const at = index * fieldsPerBucket;
    this.fields[at + keyField] = key;
    this.fields[at + usedField] = 0;
    this.fields[at + filledAtField] = 0;
    this.fields[at + fullAtField] = 0;
  }
}
