/**
 * A host's key-value store as a disk really keeps it: what was synced survives a crash, of what was not, some
 * first part may. Writes are a log, as in level: what survives is always a prefix.
 */
import { type Random, randomInt } from '../src/core.ts';
import type { World } from './world.ts';

export type DiskOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

/** A sync on a healthy disk: about what an NVMe drive needs. */
export const syncLatencyMs = 0.4;

/** The kernel writes back what nobody synced after so long. */
const writeBackMs = 5_000;
/** A write that is not synced: a system call. */
const handOverMs = 0.02;

export class Disk {
  private readonly world: World;
  private readonly random: Random;
  /** What is certain to survive. */
  private readonly durable = new Map<string, Uint8Array>();
  /** Written since, in order, the first entry being operation number `durableCount`. */
  private log: DiskOp[] = [];
  private durableCount = 0;
  private lastDoneAt = 0;
  private latencyMs = syncLatencyMs;
  /** Grows with each crash: a sync under way then never completes. */
  private life = 0;
  private writingBack = false;

  constructor(world: World, random: Random) {
    this.world = world;
    this.random = random;
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
    const durationMs = ops.length === 0 ? 0 : sync ? this.latencyMs * (0.5 + this.random.next()) : handOverMs;
    this.lastDoneAt = Math.max(this.lastDoneAt, this.world.now + durationMs);
    const life = this.life;
    this.world.at(this.lastDoneAt, () => {
      if (life !== this.life) return;
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
      this.writingBack = false;
      if (life !== this.life) return;
      this.settle(upTo - this.durableCount);
      this.writeBackLater();
    });
  }

  /** The machine stops now: a random first part of what was not synced survives. */
  crash(): void {
    this.life++;
    this.settle(randomInt(this.random, this.log.length + 1));
    this.durableCount += this.log.length;
    this.log = [];
    this.lastDoneAt = 0;
  }

  /** Everything a process finds when it opens the store, sorted by key as level gives it. */
  entries(): [string, Uint8Array][] {
    const all = new Map(this.durable);
    for (const op of this.log) apply(all, op);
    return [...all].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }

  get size(): number {
    return this.durable.size + this.log.length;
  }

  private settle(count: number): void {
    for (const op of this.log.slice(0, Math.max(0, count))) apply(this.durable, op);
    if (count > 0) {
      this.log = this.log.slice(count);
      this.durableCount += count;
    }
  }
}

function apply(store: Map<string, Uint8Array>, op: DiskOp): void {
  if (op.type === 'put') store.set(op.key, op.value);
  else store.delete(op.key);
}
