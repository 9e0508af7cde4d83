/**
 * What an entry said before: the versions that every replica keeps of a policy record, the losers of concurrent
 * writes among them. Any host answers alike.
 */
import { createHash } from 'node:crypto';
import { Fault, type HostId, type Millis, parseJson } from '../../core.ts';
import { hlcMillis, type Record, slotOf } from '../../gossip/replica/record.ts';
import { CONFIG_ENTRY } from '../kinds.ts';
import type { StoredEntry } from '../port.ts';

export interface EntryVersion {
  /** Names this version on every host: the beginning of the hash of its record. */
  readonly revision: string;
  /** When it was signed, by the clock of the agent that was asked to. */
  readonly at: Millis;
  /** Whose signature it bears: an operator's key. */
  readonly author: HostId;
  /** Null where the entry was deleted. */
  readonly entry: StoredEntry['entry'] | null;
  /** False of versions that were replaced, and of the last one if its operator's word counts no more. */
  readonly inForce: boolean;
}

/** What of a replica is read here. */
export interface Versions {
  get(slot: string): Record | undefined;
  /** Newest first. */
  history(slot: string): readonly Record[];
}

/** The versions of an entry, the newest first; empty for one that never was. */
export function historyOf(
  versions: Versions,
  inForce: StoredEntry | undefined,
  kind: string,
  name: string,
): EntryVersion[] {
  const slot = slotOf({ scope: 'policy', author: '', kind: CONFIG_ENTRY, key: `${kind}/${name}` });
  const winner = versions.get(slot);
  if (winner === undefined) return [];
  return [winner, ...versions.history(slot)].map((record) => ({
    revision: revisionOf(record),
    at: hlcMillis(record.hlc),
    author: record.author,
    entry: entryOf(record),
    inForce: record === winner && inForce?.author === record.author && inForce.hlc === record.hlc,
  }));
}

function revisionOf(record: Record): string {
  return createHash('sha256').update(record.text, 'latin1').digest('hex').slice(0, 12);
}

/** What is no object is shown as it counts, as nothing. */
function entryOf(record: Record): StoredEntry['entry'] | null {
  if (record.deleted) return null;
  try {
    const value = parseJson(record.value);
    return typeof value === 'object' ? (value as StoredEntry['entry'] | null) : null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

/** One field that differs; undefined on the side that does not have it. */
export interface Difference {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** How two versions differ, field by field in the order of their paths; elements of lists by their places. */
export function differences(before: unknown, after: unknown, path = ''): Difference[] {
  if (Array.isArray(before) && Array.isArray(after)) {
    const longer = before.length > after.length ? before : after;
    return longer.flatMap((_, i) => differences(before[i], after[i], `${path}[${i}]`));
  }
  if (isPlain(before) && isPlain(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return names.flatMap((name) =>
      differences(held(before, name), held(after, name), path === '' ? name : `${path}.${name}`),
    );
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, before, after }];
}

function held(of: object, name: string): unknown {
  return Object.hasOwn(of, name) ? (of as { readonly [name: string]: unknown })[name] : undefined;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
