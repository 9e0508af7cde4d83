/**
 * What this host signed with a root, whole or in part: each entry bound to the one before by its hash, so that
 * two different heads for one sequence number prove that somebody told two stories (`transparency.ts`). One
 * log for all that signs on a host, in memory and, as operations for the store, on disk.
 */
import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type HostId, type Millis } from '../../core.ts';
import { latestTime } from '../fields.ts';

/** A write to the store of whoever issues. */
export type IssuerStoreOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

/** Every key an issuer writes to the store begins with this. */
export const issuerPrefix = 'issuer/';
const logPrefix = `${issuerPrefix}log/`;

/** What a signature is for, as auditors read it. */
export interface SignedSubject {
  /** A SPIFFE ID, or what else is certified or stated; visible ASCII. */
  readonly subject: string;
  /** Hex of a certificate's serial number; empty for what is none. */
  readonly serial: string;
  /** Of a certificate; 0 for what is none. */
  readonly notBefore: Millis;
  readonly notAfter: Millis;
}

export interface IssuanceContent extends SignedSubject {
  readonly at: Millis;
  readonly requester: HostId;
  /** SHA-256 of the bytes signed, hex. */
  readonly digest: string;
  /** Of a share: the nonces it spends, by the name that their trustee gave them. Empty where a whole key signs. */
  readonly nonceId: string;
  /** SHA-256 of all signers' commitments, hex: a second one for the same nonces would give the share away. */
  readonly commitments: string;
}

export interface IssuanceEntry extends IssuanceContent {
  /** From 1, without gaps. */
  readonly sequence: number;
  /** SHA-256 of the entry before, hex; zeros before the first. */
  readonly previous: string;
  /** SHA-256 of this entry, hex. */
  readonly hash: string;
}

const format = 2;
/** More than a host signs in the life of a root: see `beginAnew`. */
const anewGap = 1_000_000_000;
/** Entries in memory and on disk. About 350 bytes each. */
export const maxLogEntries = 4096;
const maxSubjectBytes = 256;
const maxSerialBytes = 20;
const maxNonceIdBytes = 64;
/** Of one entry, encoded. */
export const maxEntryBytes = 640;
export const emptyHead: string = '0'.repeat(64);
/** In place of a digest where there is nothing to digest. */
export const noDigest: string = emptyHead;

export function encodeEntry(entry: Omit<IssuanceEntry, 'hash'>): Uint8Array {
  return new ByteWriter()
    .u8(format)
    .varint(entry.sequence)
    .varint(entry.at)
    .hex(entry.requester)
    .string(entry.subject)
    .bytes(Buffer.from(entry.serial, 'hex'))
    .varint(entry.notBefore)
    .varint(entry.notAfter)
    .hex(entry.digest)
    .string(entry.nonceId)
    .hex(entry.commitments)
    .hex(entry.previous)
    .done();
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update('starling-issuance-2\0').update(bytes).digest('hex');
}

/** Throws `Fault('malformed')`. */
export function decodeEntry(bytes: Uint8Array): IssuanceEntry {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== format) throw new Fault('malformed', 'an entry of a form not known here');
  const entry = {
    sequence: reader.varint(),
    at: reader.varint(latestTime),
    requester: reader.hex(32),
    subject: reader.string(maxSubjectBytes),
    serial: Buffer.from(reader.bytes(maxSerialBytes)).toString('hex'),
    notBefore: reader.varint(latestTime),
    notAfter: reader.varint(latestTime),
    digest: reader.hex(32),
    nonceId: reader.string(maxNonceIdBytes),
    commitments: reader.hex(32),
    previous: reader.hex(32),
  };
  reader.end();
  return { ...entry, hash: hashOf(bytes) };
}

/** SHA-256, hex, as entries carry it. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The last entries, in memory; the caller persists what `append` returns before acting on it. */
export class IssuanceLog {
  private readonly capacity: number;
  private readonly entries: IssuanceEntry[] = [];
  private durable: IssuanceEntry | undefined;
  private unusable: Fault | null = null;
  /** Keys of a log that cannot be read. */
  private readonly unreadable: string[] = [];
  /** The number before that of the first entry. */
  private skipped = 0;

  /**
   * With what the store held under `issuerPrefix`, in the order of its keys. Throws
   * `Fault('issuance-log-broken')` when its entries do not hold together.
   */
  constructor(
    saved: Iterable<readonly [key: string, value: Uint8Array]> = [],
    capacity: number = maxLogEntries,
  ) {
    this.capacity = capacity;
    for (const [key, value] of saved) if (key.startsWith(logPrefix)) this.restore(value);
    this.durable = this.head;
  }

  /**
   * In the place of a log that cannot be read, with what the store holds of it: nothing is added, so nothing is
   * signed.
   */
  static closed(
    problem: Fault,
    saved: Iterable<readonly [key: string, value: Uint8Array]> = [],
  ): IssuanceLog {
    const log = new IssuanceLog();
    log.unusable = problem;
    for (const [key] of saved) if (key.startsWith(logPrefix)) log.unreadable.push(key);
    return log;
  }

  /**
   * Begins another log in the place of one that cannot be read, which goes. It is numbered so far beyond what the
   * old one, or any head of it that somebody saw, may have reached that no head of it contradicts one of the new.
   * The caller persists what this returns before anything is added. Throws `Fault('conflict')` where the log is well.
   */
  beginAnew(
    at: Millis,
    self: HostId,
  ): { readonly entry: IssuanceEntry; readonly ops: readonly IssuerStoreOp[] } {
    const problem = this.unusable;
    if (problem === null) throw new Fault('conflict', 'the issuance log of this host can be read');
    const numbers = this.unreadable.map((key) => Number(key.slice(logPrefix.length)));
    const last = Math.max(0, ...numbers.filter((number) => Number.isSafeInteger(number)));
    this.unusable = null;
    this.skipped = last + anewGap;
    const { entry, ops } = this.append({
      at,
      requester: self,
      subject: 'issuance log begun anew',
      serial: '',
      notBefore: 0,
      notAfter: 0,
      digest: digestOf(Buffer.from(problem.message)),
      nonceId: '',
      commitments: noDigest,
    });
    const deleted = this.unreadable.splice(0).map((key) => ({ type: 'delete', key }) as const);
    return { entry, ops: [...deleted, ...ops] };
  }

  /** Why nothing can be added; null where it can. */
  get problem(): Fault | null {
    return this.unusable;
  }

  /** Throws `Fault('issuance-log-broken')` where nothing can be added. */
  checkUsable(): void {
    if (this.unusable !== null) throw new Fault(this.unusable.code, this.unusable.message);
  }

  get head(): IssuanceEntry | undefined {
    return this.entries.at(-1);
  }

  /** The last entry that is known to be on disk: what may be signed as this log's head. */
  get durableHead(): IssuanceEntry | undefined {
    return this.durable;
  }

  /** The operations that put `entry`, and so all before it, on disk are done. */
  confirm(entry: IssuanceEntry): void {
    if (entry.sequence > (this.durable?.sequence ?? 0)) this.durable = entry;
  }

  /**
   * Adds an entry; the oldest goes once there are `capacity`. Those before it that are not known to be on disk are
   * written again: a write of theirs may have failed, and a log with a gap is no log. Throws as `checkUsable`.
   */
  append(content: IssuanceContent): {
    readonly entry: IssuanceEntry;
    readonly ops: readonly IssuerStoreOp[];
  } {
    this.checkUsable();
    const sequence = (this.head?.sequence ?? this.skipped) + 1;
    const unhashed = { ...content, sequence, previous: this.head?.hash ?? emptyHead };
    const bytes = encodeEntry(unhashed);
    const entry: IssuanceEntry = { ...unhashed, hash: hashOf(bytes) };
    this.push(entry);
    const ops: IssuerStoreOp[] = this.entries
      .slice(this.indexAfter(this.durable?.sequence ?? 0))
      .map((one) => ({ type: 'put', key: logKey(one.sequence), value: encodeEntry(one) }));
    if (sequence > this.capacity) ops.push({ type: 'delete', key: logKey(sequence - this.capacity) });
    return { entry, ops };
  }

  /** Where entries after a number begin. */
  private indexAfter(sequence: number): number {
    return Math.max(0, sequence + 1 - (this.entries[0]?.sequence ?? 1));
  }

  private restore(bytes: Uint8Array): void {
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

  /** For auditors: the last `count` durable entries before number `sequence`, oldest first; 0 means the newest. */
  before(sequence: number, count: number): IssuanceEntry[] {
    const durable = (this.durable?.sequence ?? 0) + 1;
    const end = sequence === 0 ? durable : Math.min(sequence, durable);
    const first = this.entries[0]?.sequence ?? end;
    const upTo = Math.max(0, end - first);
    return this.entries.slice(Math.max(0, upTo - count), upTo);
  }
}

/** Padded, so that the store's order is the log's. */
function logKey(sequence: number): string {
  return `${logPrefix}${String(sequence).padStart(16, '0')}`;
}
