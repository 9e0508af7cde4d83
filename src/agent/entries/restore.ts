/** Policy brought back to what it once was: what differs, as one change that is made whole or not at all. */
import { Fault } from '../../core.ts';
import type { PolicyStore } from '../port.ts';
import type { EntryChange } from './consistency.ts';
import { type ParsedEntry, parseConfigEntries } from './entry.ts';
import { differences } from './history.ts';
import { supportedKinds } from './kinds.ts';

/** As many as three entries for each service of a very large mesh; each that differs is signed, for 0.3 ms. */
export const maxEntriesInSnapshot = 16_384;

export interface RestorePlan {
  /** Writes first, then deletions; empty where all is as it was. */
  readonly changes: readonly EntryChange[];
  readonly unchanged: number;
  /** Entries that are here and not in the snapshot, and that stay. */
  readonly kept: readonly EntryChange[];
}

/** The entries of a snapshot, which may be none; faults as of `parseConfigEntries`. */
export function parseSnapshotEntries(entries: readonly unknown[]): readonly ParsedEntry[] {
  return entries.length === 0 ? [] : parseConfigEntries(entries, maxEntriesInSnapshot);
}

/** `prune` deletes what the snapshot does not have. */
export function planRestore(store: PolicyStore, wanted: readonly ParsedEntry[], prune: boolean): RestorePlan {
  const isThere = ({ kind, name, entry }: ParsedEntry): boolean =>
    differences(store.get(kind, name)?.entry, entry).length === 0;
  const writes = wanted.filter((one) => !isThere(one));
  const names = new Set(wanted.map(({ kind, name }) => `${kind}/${name}`));
  const extra = supportedKinds
    .flatMap((kind) => store.list(kind))
    .filter(({ kind, name }) => !names.has(`${kind}/${name}`))
    .map(({ kind, name }) => ({ kind, name, entry: null }));
  return {
    changes: prune ? [...writes, ...extra] : writes,
    unchanged: wanted.length - writes.length,
    kept: prune ? [] : extra,
  };
}

/** The same refusal, telling by its name which entry of a restore it is about. */
export function inRestore(fault: Fault, changes: readonly EntryChange[]): Fault {
  const { code, message, field = '' } = fault;
  const place = /^\[(\d+)\]\.?/.exec(field);
  const change = place !== null ? changes[Number(place[1])] : changes.length === 1 ? changes[0] : undefined;
  if (change === undefined || code !== 'inconsistent' || field === '') return fault;
  return new Fault(code, `${change.kind}/${change.name}: ${message.slice(place?.[0].length ?? 0)}`);
}
