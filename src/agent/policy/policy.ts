/** The config entries in force on this host, as the replica last said. Pure; changed only through `record`. */
import { createHash } from 'node:crypto';
import { byCodeUnit, type Millis } from '../../core.ts';
import type { Hlc, Record } from '../../gossip/replica/record.ts';
import type { Topic } from '../catalog/catalog.ts';
import type { PolicyStore, StoredEntry } from '../port.ts';

/** The revision of a mesh in which no entry was ever written. */
export const noPolicyRevision = '0'.repeat(16);

export class Policies implements PolicyStore {
  private readonly byKind = new Map<string, Map<string, StoredEntry>>();
  private readonly isInForce: (entry: StoredEntry) => boolean;
  /** Of the record that holds each key, deletions included. */
  private readonly digests = new Map<string, bigint>();
  private digest = 0n;
  private newest: Hlc = 0;

  /** `isInForce` says whether an entry's author may still be heard: an operator can lose its standing later. */
  constructor(isInForce: (entry: StoredEntry) => boolean) {
    this.isInForce = isInForce;
  }

  /**
   * Takes in a `config-entry` record (a tombstone removes); `index` is the catalog's, for blocking queries. A
   * key that names no kind is no entry. `reachedAt` is null for what was on this host's disk already.
   */
  record(record: Record, value: unknown, index: number, reachedAt: Millis | null = null): void {
    const [kind, name] = partsOf(record.key);
    if (kind === '') return;
    this.count(record);
    const entries = this.byKind.get(kind);
    if (value === null) {
      entries?.delete(name);
      return;
    }
    const stored: StoredEntry = {
      kind,
      name,
      entry: value as StoredEntry['entry'],
      author: record.author,
      hlc: record.hlc,
      createIndex: entries?.get(name)?.createIndex ?? index,
      modifyIndex: index,
      reachedAt,
    };
    if (entries === undefined) this.byKind.set(kind, new Map([[name, stored]]));
    else entries.set(name, stored);
  }

  private count(record: Record): void {
    const { author, key, version, hlc } = record;
    const hash = createHash('sha256')
      .update(JSON.stringify([key, author, version, hlc]))
      .digest();
    const digest = hash.readBigUInt64BE();
    this.digest ^= digest ^ (this.digests.get(key) ?? 0n);
    this.digests.set(key, digest);
    this.newest = Math.max(this.newest, hlc);
  }

  /** Names the records behind all entries: equal on hosts that hold the same, whatever the order they came in. */
  get revision(): string {
    return this.digest.toString(16).padStart(16, '0');
  }

  /** Of every entry, deletions included. */
  get newestHlc(): Hlc {
    return this.newest;
  }

  /** Every entry in force, of kinds that this version does not know too. */
  *all(): IterableIterator<StoredEntry> {
    for (const entries of this.byKind.values())
      for (const entry of entries.values()) if (this.isInForce(entry)) yield entry;
  }

  get(kind: string, name: string): StoredEntry | undefined {
    const entry = this.byKind.get(kind)?.get(name);
    return entry !== undefined && this.isInForce(entry) ? entry : undefined;
  }

  list(kind: string): readonly StoredEntry[] {
    const entries = [...(this.byKind.get(kind)?.values() ?? [])].filter(this.isInForce);
    return entries.sort((a, b) => byCodeUnit(a.name, b.name));
  }

  /** The topics that a change of the record under `key` touches. */
  static topicsOf(key: string): Topic[] {
    return ['config', `config:${partsOf(key)[0]}`];
  }

  /** The topics of all entries there are. */
  topics(): Topic[] {
    return ['config', ...[...this.byKind.keys()].map((kind) => `config:${kind}`)];
  }
}

/** `<kind>/<name>`; the kind is '' when there is no slash. */
function partsOf(key: string): [kind: string, name: string] {
  const slash = key.indexOf('/');
  return slash < 0 ? ['', key] : [key.slice(0, slash), key.slice(slash + 1)];
}
