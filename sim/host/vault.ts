/**
 * A host's shares of root keys as its disk keeps them: each in a file of its own, written and synced before
 * whatever names it, and overwritten when nothing does any more. A crash leaves any of the files under way.
 */
import type { Random } from '../../src/core.ts';
import type { ShareName } from '../../src/trust/epoch/crypto-port.ts';
import type { SecretToKeep } from '../../src/trust/epoch/port.ts';
import type { World } from '../world.ts';

/** The file of the share, that of its key, and the directory of both. */
const syncsEach = 3;

export class Vault {
  private readonly world: World;
  private readonly random: Random;
  /** How long one sync takes now. */
  private readonly syncMs: () => number;
  private readonly files = new Map<ShareName, Uint8Array>();
  private readonly underway = new Set<SecretToKeep>();
  private readonly shredding = new Set<ShareName>();
  private lastDoneAt = 0;
  /** Writes that wait for secrets, their own or those of a write before. */
  private waiting = 0;
  /** Grows with each crash: what was under way then never completes. */
  private life = 0;

  constructor(world: World, random: Random, syncMs: () => number) {
    this.world = world;
    this.random = random;
    this.syncMs = syncMs;
  }

  /** What lies there before the first start. */
  insert(name: ShareName, secret: Uint8Array): void {
    this.files.set(name, secret);
  }

  has(name: ShareName): boolean {
    return this.files.has(name);
  }

  /** Everything a process finds when it opens the store. */
  entries(): [ShareName, Uint8Array][] {
    return [...this.files];
  }

  /**
   * Makes `secrets` durable, then calls back; in the order of the calls, and never after a crash. A process that
   * stands still then writes later, and says when: until it has, what comes after waits.
   */
  keep(secrets: readonly SecretToKeep[], done: (written: () => void) => void): void {
    if (secrets.length === 0 && this.waiting === 0) {
      done(() => {});
      return;
    }
    this.waiting++;
    const { life } = this;
    const written = (): void => {
      if (life === this.life) this.waiting--;
    };
    for (const secret of secrets) this.underway.add(secret);
    const durationMs = secrets.length * syncsEach * this.syncMs() * (0.5 + this.random.next());
    this.lastDoneAt = Math.max(this.lastDoneAt, this.world.now + durationMs);
    this.later(this.lastDoneAt, () => {
      for (const secret of secrets) {
        this.underway.delete(secret);
        this.files.set(secret.name, secret.bytes);
      }
      done(written);
    });
  }

  /** Nothing waits for it, and nothing that is durable names these any more. */
  shred(names: readonly ShareName[]): void {
    for (const name of names) this.shredding.add(name);
    this.later(this.world.now + syncsEach * this.syncMs(), () => {
      for (const name of names) {
        this.shredding.delete(name);
        this.files.delete(name);
      }
    });
  }

  /** Process or machine are gone: a file that was being written or shredded is there or not. */
  crash(): void {
    this.life++;
    for (const { name, bytes } of this.underway) if (this.random.next() < 0.5) this.files.set(name, bytes);
    for (const name of this.shredding) if (this.random.next() < 0.5) this.files.delete(name);
    this.underway.clear();
    this.shredding.clear();
    this.waiting = 0;
    this.lastDoneAt = 0;
  }

  private later(at: number, action: () => void): void {
    const { life } = this;
    this.world.at(at, () => {
      if (life === this.life) action();
    });
  }
}
