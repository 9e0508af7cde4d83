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

export class Disk {
  private readonly world: World;
  private readonly random: Random;
  /** What is certain to survive. */
  private readonly durable = new Map<string, Uint8Array>();
  /** Written since, in order, the first entry being operation number `durableCount`. */
  private log: DiskOp[] = [];
  private durableCount = 0;
  private lastSyncAt = 0;
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

  write(ops: readonly DiskOp[]): void {
    for (const op of ops) this.log.push(op);
    if (this.writingBack || this.log.length === 0) return;
    this.writingBack = true;
    const upTo = this.durableCount + this.log.length;
    const life = this.life;
    this.world.after(writeBackMs, () => {
      this.writingBack = false;
      if (life === this.life) this.settle(upTo - this.durableCount);
    });
  }

  /** Calls back once everything written so far is durable; in order, and never after a crash. */
  sync(done: () => void): void {
    const upTo = this.durableCount + this.log.length;
    const life = this.life;
    const at = Math.max(this.lastSyncAt, this.world.now + this.latencyMs * (0.5 + this.random.next()));
    this.lastSyncAt = at;
    this.world.at(at, () => {
      if (life !== this.life) return;
      this.settle(upTo - this.durableCount);
      done();
    });
  }

  /** The machine stops now: a random first part of what was not synced survives. */
  crash(): void {
    this.life++;
    this.settle(randomInt(this.random, this.log.length + 1));
    this.durableCount += this.log.length;
    this.log = [];
    this.lastSyncAt = 0;
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
