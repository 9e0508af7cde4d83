/** What entries mean together: a write or a deletion after which one of them could not act is refused. */
import { Fault } from '../../core.ts';
import { findProblems, type PolicyProblem, problemKey } from '../../proxy/compile/check.ts';
import type { PolicyStore, StoredEntry } from '../port.ts';
import { intentionsOf } from './service-intentions.ts';
import { policyViewOf } from './view.ts';

/** An entry as it is to be; null takes it back. */
export interface EntryChange {
  readonly kind: string;
  readonly name: string;
  readonly entry: StoredEntry['entry'] | null;
}

/** The store as it would be. */
export function storeAfter(store: PolicyStore, changes: readonly EntryChange[]): PolicyStore {
  const changed = new Map(
    changes.map(({ kind, name, entry }) => {
      const nobody = { author: '', hlc: 0, createIndex: 0, modifyIndex: 0, reachedAt: null };
      const before = store.get(kind, name) ?? nobody;
      const stored: StoredEntry | null = entry === null ? null : { ...before, kind, name, entry };
      return [`${kind}/${name}`, stored] as const;
    }),
  );
  const get = (kind: string, name: string): StoredEntry | undefined => {
    const stored = changed.get(`${kind}/${name}`);
    return stored === undefined ? store.get(kind, name) : (stored ?? undefined);
  };
  return {
    get,
    list: (kind) => {
      const kept = store.list(kind).filter(({ name }) => !changed.has(`${kind}/${name}`));
      const added = [...changed.values()].filter((stored) => stored?.kind === kind).map((stored) => stored!);
      return [...kept, ...added].sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}

/**
 * `Fault('inconsistent')` when changes that are made together bring a problem that is not there without them. Its
 * field begins with the place of the entry where there are several.
 * Problems that two operators made at the same time in two places keep nobody from writing something else.
 */
export function refuseInconsistency(store: PolicyStore, changes: readonly EntryChange[]): void {
  const after = problemsIn(storeAfter(store, changes));
  // As nearly always: what was wrong before is then nobody's concern.
  if (after.length === 0) return;
  const before = new Set(problemsIn(store).map(problemKey));
  const fresh = after.filter((one) => !before.has(problemKey(one)));
  const placeOf = ({ rule }: PolicyProblem) =>
    changes.findIndex(({ kind, name, entry }) => entry !== null && rule === `${kind}/${name}`);
  const own = fresh.find((problem) => placeOf(problem) >= 0);
  if (own !== undefined) {
    const field = changes.length === 1 ? own.field : `[${placeOf(own)}].${own.field}`;
    throw new Fault('inconsistent', `${field}: ${own.message}`, { field });
  }
  const [other] = fresh;
  if (other !== undefined)
    throw new Fault('inconsistent', `${other.rule} would be broken: ${other.field}: ${other.message}`);
}

/** All that is wrong with entries as they stand together. */
export function problemsIn(store: PolicyStore): readonly PolicyProblem[] {
  const view = policyViewOf(store);
  const protocols = new Map(view.defaults.map(({ service, protocol }) => [service, protocol]));
  const blind = intentionsOf(store.list('service-intentions')).filter(
    ({ destination, permissions }) =>
      permissions !== null && (protocols.get(destination) ?? view.proxyDefaults?.protocol) === 'tcp',
  );
  return [
    ...findProblems(view),
    ...blind.map(({ rule, source, destination }) => ({
      rule,
      field: 'Sources',
      message: `Permissions of "${source}" need requests: the protocol of "${destination}" is tcp`,
    })),
  ];
}
