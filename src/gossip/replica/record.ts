/** The unit of replication: one signed, versioned statement by one author. Types and limits only. */
import type { HostId } from '../../core.ts';

/**
 * `host`: a single-writer slot (author, kind, key); the higher version wins.
 * `policy`: a slot (kind, key) shared by all operators; the later hybrid logical clock wins, unless a record is
 * final (see `Finality`).
 */
export type Scope = 'host' | 'policy';

/** Hybrid logical clock as one integer: milliseconds since the epoch times 1024, plus a counter. */
export type Hlc = number;

export interface Record {
  readonly scope: Scope;
  /** Ed25519 public key (hex) whose signature the record carries. */
  readonly author: HostId;
  /** Kebab-case, 1 to 64 bytes. Unknown kinds are stored and passed on like any other. */
  readonly kind: string;
  /** 0 to 256 bytes of UTF-8. */
  readonly key: string;
  /** Grows with each record of its author: epoch * 2^32 + sequence. */
  readonly version: number;
  readonly hlc: Hlc;
  /** A tombstone: the slot is empty since this record. */
  readonly deleted: boolean;
  /** JSON by convention; at most `maxValueBytes`. Empty in a tombstone. A copy at each reading. */
  readonly value: Uint8Array;
  /** The complete signed encoding, stored and relayed unchanged. A copy at each reading. */
  readonly bytes: Uint8Array;
  /** `bytes` with one character a byte: how a record is held and compared; its length is the record's size. */
  readonly text: string;
}

/** The largest value a record may carry, bytes. A service definition with its checks is about 1 KB. */
export const maxValueBytes = 32 * 1024;

/** One slot of the replica as a string: `host/<author>/<kind>/<key>` or `policy/<kind>/<key>`. */
export function slotOf(record: Pick<Record, 'scope' | 'author' | 'kind' | 'key'>): string {
  return record.scope === 'host'
    ? `host/${record.author}/${record.kind}/${record.key}`
    : `policy/${record.kind}/${record.key}`;
}

/** Whether two records compete for one slot; cheaper than two names. */
export function shareSlot(a: Record, b: Record): boolean {
  if (a.scope !== b.scope || a.key !== b.key || a.kind !== b.kind) return false;
  return a.scope === 'policy' || a.author === b.author;
}

/** The wall-clock part of a hybrid logical clock, milliseconds since the epoch. */
export function hlcMillis(hlc: Hlc): number {
  return Math.floor(hlc / 1024);
}
