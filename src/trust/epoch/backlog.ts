/**
 * What was handed to the disk and is not known to have reached it. It goes with every later write: one that failed
 * would leave a state that names records and shares which are not there. Pure.
 */
import type { ShareName } from './crypto-port.ts';
import type { EpochStoreOp, SecretToKeep } from './port.ts';

/** Deletions that wait. What is not deleted is passed over at the next start, so the oldest may be forgotten. */
const maxDeletions = 64;

interface Waiting<T> {
  readonly content: T;
  /** The write that it first goes with. */
  readonly since: number;
}

export class Backlog {
  /** By key: only the last that is to become of it counts. */
  private readonly ops = new Map<string, Waiting<EpochStoreOp>>();
  private readonly secrets = new Map<ShareName, Waiting<SecretToKeep>>();
  private writes = 0;

  get isEmpty(): boolean {
    return this.ops.size === 0 && this.secrets.size === 0;
  }

  add(ops: readonly EpochStoreOp[], secrets: readonly SecretToKeep[]): void {
    const since = this.writes + 1;
    for (const op of ops) {
      this.ops.delete(op.key);
      this.ops.set(op.key, { content: op, since });
    }
    for (const secret of secrets) this.secrets.set(secret.name, { content: secret, since });
    const deletions = [...this.ops].filter(([, { content }]) => content.type === 'delete');
    for (const [key] of deletions.slice(0, -maxDeletions)) this.ops.delete(key);
  }

  /** The next write: its number, and all that it has to hold; of the secrets, those that are still `needed`. */
  next(needed: readonly ShareName[]): {
    readonly write: number;
    readonly ops: EpochStoreOp[];
    readonly secrets: SecretToKeep[];
  } {
    for (const name of this.secrets.keys()) if (!needed.includes(name)) this.secrets.delete(name);
    this.writes++;
    return {
      write: this.writes,
      ops: [...this.ops.values()].map(({ content }) => content),
      secrets: [...this.secrets.values()].map(({ content }) => content),
    };
  }

  /** A write is durable, and all that it held; gives the secrets that were not known to be before. */
  confirm(write: number): ShareName[] {
    for (const [key, { since }] of this.ops) if (since <= write) this.ops.delete(key);
    const kept = [...this.secrets].filter(([, { since }]) => since <= write).map(([name]) => name);
    for (const name of kept) this.secrets.delete(name);
    return kept;
  }
}
