/**
 * A host's key-value store as a disk really keeps it. What was synced survives everything. What was written and
 * not synced lies with the kernel: it outlives the process, and when the machine stops some first part of it, or
 * nothing. Writes are a log, as in level: what survives is always a prefix, and of one write all or nothing.
 */
import { byCodeUnit, type Random, randomInt } from '../../src/core.ts';
import type { World } from '../world.ts';

export type DiskOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

/**
 * How the store's user came to an end. `process`: killed, the kernel keeps what it was given. `power`: what was
 * not synced is lost. `power-late`: some of it had been written back in time.
 */
export type Crash = 'process' | 'power' | 'power-late';

/** A sync on a healthy disk: about what an NVMe drive needs. */
export const syncLatencyMs = 0.4;

/** The kernel writes back what nobody synced after so long. */
const writeBackMs = 5_000;
/** A write that is not synced: a system call. */
const handOverMs = 0.02;

export class Disk {
  private readonly world: World;
  private readonly random: Random;
  /** What was there from the start; many disks may share it. */
  private base: ReadonlyMap<string, Uint8Array> = new Map();
  /** What is certain to survive, beside `base`; null where it is deleted. */
  private readonly durable = new Map<string, Uint8Array | null>();
  /** Written since, in order, the first entry being operation number `durableCount`. */
  private log: DiskOp[] = [];
  private durableCount = 0;
  /** Where each write in `log` ends, counted like `durableCount`. */
  private ends: number[] = [];
  /** How many operations the kernel was given, counted like `durableCount`. */
  private handedOverCount = 0;
  private lastDoneAt = 0;
  private latencyMs = syncLatencyMs;
  /** Grows with each crash: a sync under way then never completes. */
  private life = 0;
  private writingBack = false;

  constructor(world: World, random: Random) {
    this.world = world;
    this.random = random;
  }

  get syncLatencyMs(): number {
    return this.latencyMs;
  }

  setSyncLatencyMs(latencyMs: number): void {
    this.latencyMs = latencyMs;
  }

  /** The disk is as fast as ever. */
  mend(): void {
    this.latencyMs = syncLatencyMs;
  }

  /**
   * Writes, and calls back once that is durable (`sync`) or in the kernel's hands (not `sync`); in the order
   * of the writes, and never after a crash. Writing nothing is a barrier behind all that came before.
   */
  write(ops: readonly DiskOp[], sync: boolean, done: () => void): void {
    for (const op of ops) this.log.push(op);
    const upTo = this.durableCount + this.log.length;
    this.ends.push(upTo);
    const durationMs = ops.length === 0 ? 0 : sync ? this.latencyMs * (0.5 + this.random.next()) : handOverMs;
    this.lastDoneAt = Math.max(this.lastDoneAt, this.world.now + durationMs);
    const life = this.life;
    this.world.at(this.lastDoneAt, () => {
      if (life !== this.life) return;
      this.handedOverCount = Math.max(this.handedOverCount, upTo);
      if (sync) this.settle(upTo - this.durableCount);
      done();
    });
    this.writeBackLater();
  }

  private writeBackLater(): void {
    if (this.writingBack || this.log.length === 0) return;
    this.writingBack = true;
    const upTo = this.durableCount + this.log.length;
    const life = this.life;
    this.world.after(writeBackMs, () => {
      if (life !== this.life) return;
      this.writingBack = false;
      this.settle(upTo - this.durableCount);
      this.writeBackLater();
    });
  }

  /** The store's user is gone: the next one finds what this kind of end leaves. */
  crash(crash: Crash): void {
    this.life++;
    const survivors = this.survivors(crash);
    if (crash === 'process') this.log = this.log.slice(0, survivors);
    else {
      this.settle(survivors);
      this.log = [];
    }
    const lastEnd = this.durableCount + this.log.length;
    this.ends = this.ends.filter((end) => end <= lastEnd);
    this.handedOverCount = this.durableCount + this.log.length;
    this.lastDoneAt = 0;
    this.writingBack = false;
    this.writeBackLater();
  }

  /** How many operations of the log outlive a crash. Writes under way may have got anywhere, or to no end. */
  private survivors(crash: Crash): number {
    const { length } = this.log;
    if (crash === 'power') return 0;
    const least = crash === 'process' ? Math.max(0, this.handedOverCount - this.durableCount) : 0;
    const reached = this.durableCount + least + randomInt(this.random, length - least + 1);
    const whole = this.ends.findLast((end) => end <= reached) ?? this.durableCount;
    return Math.max(least, whole - this.durableCount);
  }

  /** Everything a process finds when it opens the store, sorted by key as level gives it. */
  entries(): [string, Uint8Array][] {
    const changed = new Map(this.durable);
    for (const op of this.log) apply(changed, op);
    if (changed.size === 0) return [...this.base];
    const all = [...this.base].filter(([key]) => !changed.has(key));
    for (const [key, value] of changed) if (value !== null) all.push([key, value]);
    return all.sort(([a], [b]) => byCodeUnit(a, b));
  }

  /** Puts a disk in that was written elsewhere; `entries` are sorted by key. */
  insert(entries: ReadonlyMap<string, Uint8Array>): void {
    this.base = entries;
  }

  private settle(count: number): void {
    for (const op of this.log.slice(0, Math.max(0, count))) apply(this.durable, op);
    if (count > 0) {
      this.log = this.log.slice(count);
      this.durableCount += count;
      this.ends = this.ends.filter((end) => end > this.durableCount);
    }
  }
}

function apply(store: Map<string, Uint8Array | null>, op: DiskOp): void {
  store.set(op.key, op.type === 'put' ? op.value : null);
}
