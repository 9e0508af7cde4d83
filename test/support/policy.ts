/** Config entries as an agent holds them once operators have written them. */
import { parseConfigEntry } from '../../src/agent/entries/entry.ts';
import type { PolicyStore, StoredEntry } from '../../src/agent/port.ts';
import { byCodeUnit } from '../../src/core.ts';

/** An entry in force, whatever is in it. */
export function storedEntry(entry: StoredEntry['entry']): StoredEntry {
  return {
    kind: entry.Kind as string,
    name: entry.Name as string,
    entry,
    author: 'aa',
    hlc: Date.UTC(2026, 0, 2) * 1024,
    createIndex: 7,
    modifyIndex: 9,
    reachedAt: null,
  };
}

/** A store of what operators wrote. Throws `Fault` for what they may not. */
export function storeOf(...inputs: readonly object[]): PolicyStore {
  return rawStoreOf(...inputs.map((input) => parseConfigEntry(input).entry));
}

/** A store of what may come from another version. */
export function rawStoreOf(...entries: readonly StoredEntry['entry'][]): PolicyStore {
  return storeWith(entries.map(storedEntry));
}

export function storeWith(entries: readonly StoredEntry[]): PolicyStore {
  const all = [...entries].sort((a, b) => byCodeUnit(a.name, b.name));
  return {
    get: (kind, name) => all.find((one) => one.kind === kind && one.name === name),
    list: (kind) => all.filter((one) => one.kind === kind),
  };
}
