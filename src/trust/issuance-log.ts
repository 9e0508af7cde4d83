/**
 * What an issuer signed, each entry bound to the one before by its hash: two different heads for one sequence
 * number prove that somebody told two stories.
 */
import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type HostId, type Millis } from '../core.ts';
import { latestTime } from './fields.ts';

export interface IssuanceEntry {
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly at: Millis;
  readonly requester: HostId;
  readonly spiffeId: string;
  /** Hex. */
  readonly serial: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** SHA-256 of the entry before, hex; zeros before the first. */
  readonly previous: string;
  /** SHA-256 of this entry, hex. */
  readonly hash: string;
}

const maxIdBytes = 256;
const serialBytes = 19;
export const emptyHead: string = '0'.repeat(64);

export function encodeEntry(entry: Omit<IssuanceEntry, 'hash'>): Uint8Array {
  return new ByteWriter()
    .varint(entry.sequence)
    .varint(entry.at)
    .hex(entry.requester)
    .string(entry.spiffeId)
    .hex(entry.serial)
    .varint(entry.notBefore)
    .varint(entry.notAfter)
    .hex(entry.previous)
    .done();
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update('starling-issuance-1\0').update(bytes).digest('hex');
}

/** Throws `Fault('malformed')`. */
export function decodeEntry(bytes: Uint8Array): IssuanceEntry {
  const reader = new ByteReader(bytes);
  const entry = {
    sequence: reader.varint(),
    at: reader.varint(latestTime),
    requester: reader.hex(32),
    spiffeId: reader.string(maxIdBytes),
    serial: reader.hex(serialBytes),
    notBefore: reader.varint(latestTime),
    notAfter: reader.varint(latestTime),
    previous: reader.hex(32),
  };
  reader.end();
  return { ...entry, hash: hashOf(bytes) };
}

/** The last entries, in memory; the caller persists what `append` returns before acting on it. */
export class IssuanceLog {
  private readonly capacity: number;
  private readonly entries: IssuanceEntry[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get head(): IssuanceEntry | undefined {
    return this.entries.at(-1);
  }

  /** Adds an entry; the oldest goes once there are `capacity`. */
  append(content: Omit<IssuanceEntry, 'sequence' | 'previous' | 'hash'>): {
    readonly entry: IssuanceEntry;
    readonly bytes: Uint8Array;
  } {
    const sequence = (this.head?.sequence ?? 0) + 1;
    const unhashed = { ...content, sequence, previous: this.head?.hash ?? emptyHead };
    const bytes = encodeEntry(unhashed);
    const entry: IssuanceEntry = { ...unhashed, hash: hashOf(bytes) };
    this.push(entry);
    return { entry, bytes };
  }

  /** Takes back an entry read from disk, in order. Throws `Fault('issuance-log-broken')`. */
  restore(bytes: Uint8Array): void {
    let entry: IssuanceEntry;
    try {
      entry = decodeEntry(bytes);
    } catch (error) {
      throw new Fault('issuance-log-broken', 'an entry of the issuance log cannot be read', { cause: error });
    }
    const head = this.head;
    if (head !== undefined && (entry.sequence !== head.sequence + 1 || entry.previous !== head.hash))
      throw new Fault('issuance-log-broken', `entry ${entry.sequence} does not follow the one before it`);
    this.push(entry);
  }

  private push(entry: IssuanceEntry): void {
    this.entries.push(entry);
    if (this.entries.length > this.capacity) this.entries.shift();
  }

  /** The newest first. */
  latest(count: number): IssuanceEntry[] {
    return this.entries.slice(-count).reverse();
  }
}
