/**
 * What a disk may hold after the power went away in the middle of a trace: a file system that keeps the order
 * of names (creating, renaming and deleting; as ext4, XFS and btrfs do through their journals) and promises
 * nothing else that was not synced. Of unsynced data any pages or sectors may be there, in any order, with
 * zeros or rubbish between them. A sync covers all that was written to the file before it began, its name, and
 * the changes of names before that.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Random, randomInt } from '../../src/core.ts';
import type { Traced } from './trace.ts';

interface File {
  /** What a sync has made certain. */
  readonly synced: Buffer[];
  /** What was appended since. */
  readonly unsynced: Buffer[];
}

type Name = {
  readonly type: 'create' | 'unlink' | 'rename';
  readonly path: string;
  readonly to: string;
  readonly file: File;
};

const sectorBytes = 512;
const pageBytes = 4096;

export class TornDisk {
  private readonly random: Random;
  /** Names as the process sees them. */
  private readonly files = new Map<string, File>();
  private readonly folders = new Set<string>();
  /** Every change of names, in order, and how many of them are certain. */
  private readonly names: Name[] = [];
  private certain = 0;

  /** `base`: what is there, whole, before the trace begins, by path. */
  constructor(base: ReadonlyMap<string, Buffer>, random: Random) {
    this.random = random;
    for (const [path, content] of base) this.name('create', path, { synced: [content], unsynced: [] });
    this.certain = this.names.length;
  }

  /** All that had begun before `at`; only what had ended by then was synced. */
  play(steps: readonly Traced[], at: number): void {
    for (const [index, step] of steps.entries()) {
      if (step.begunAt >= at) break;
      if (step.type === 'mkdir') this.folders.add(step.path);
      else if (step.type === 'create') this.name('create', step.path, { synced: [], unsynced: [] });
      else if (step.type === 'append') this.files.get(step.path)?.unsynced.push(step.data);
      else if (step.type === 'unlink') this.name('unlink', step.path, this.files.get(step.path));
      else if (step.type === 'rename') this.name('rename', step.path, this.files.get(step.path), step.to);
      else if (step.type === 'sync' && step.endedAt < at) this.sync(step, steps.slice(0, index));
    }
  }

  private name(type: Name['type'], path: string, file: File | undefined, to = ''): void {
    if (file === undefined) return;
    this.names.push({ type, path, to, file });
    if (type !== 'create') this.files.delete(path);
    if (type !== 'unlink') this.files.set(type === 'create' ? path : to, file);
  }

  private sync(step: Traced, before: readonly Traced[]): void {
    if (!('path' in step)) return;
    const file = this.files.get(step.path);
    // A write by another thread that was under way when the sync began may have come too late for it.
    const late = before.filter(
      (one) => one.type === 'append' && one.path === step.path && one.endedAt > step.begunAt,
    ).length;
    if (file !== undefined) file.synced.push(...file.unsynced.splice(0, file.unsynced.length - late));
    const concerns = (name: Name): boolean =>
      file === undefined
        ? dirname(name.path) === step.path || dirname(name.to) === step.path
        : name.file === file;
    this.certain = Math.max(this.certain, this.names.findLastIndex(concerns) + 1);
  }

  /** Writes one of the states that the disk may be in below `target`, which stands for `folder`. */
  writeTo(target: string, folder: string): void {
    const { random } = this;
    const open = this.names.length - this.certain;
    // Half of the time no more than what is certain.
    const kept = this.certain + (random.next() < 0.5 ? 0 : randomInt(random, open + 1));
    const files = new Map<string, File>();
    for (const { type, path, to, file } of this.names.slice(0, kept)) {
      if (type !== 'create') files.delete(path);
      if (type !== 'unlink') files.set(type === 'create' ? path : to, file);
    }
    mkdirSync(target, { recursive: true });
    for (const [path, file] of files) {
      const place = join(target, relative(folder, path));
      mkdirSync(dirname(place), { recursive: true });
      // Names are private, as the agent makes them: secrets that others may read are refused.
      writeFileSync(place, this.contentOf(file), { mode: 0o600 });
    }
  }

  private contentOf({ synced, unsynced }: File): Buffer {
    const certain = Buffer.concat(synced);
    const all = Buffer.concat([certain, ...unsynced]);
    const { random } = this;
    const fate = random.next();
    if (all.length === certain.length || fate < 0.25) return certain;
    if (fate < 0.4) return all;
    if (fate < 0.6) return all.subarray(0, certain.length + randomInt(random, all.length - certain.length));
    const unit = fate < 0.8 ? pageBytes : sectorBytes;
    const rubbish = random.next() < 0.5 ? 0 : 1 + randomInt(random, 255);
    const torn = Buffer.from(all);
    for (let start = Math.floor(certain.length / unit) * unit; start < all.length; start += unit)
      if (random.next() < 0.5)
        torn.fill(rubbish, Math.max(start, certain.length), Math.min(start + unit, all.length));
    return torn;
  }
}
