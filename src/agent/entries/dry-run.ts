/** What a write would change, before anybody makes it: fields of entries, and who of late would be treated otherwise. */

import type { TrafficRow } from '../../proxy/dataplane.ts';
import { ruleFor, rulesFor } from '../../proxy/intentions.ts';
import type { PolicyStore } from '../port.ts';
import { refuseInconsistency, storeAfter } from './consistency.ts';
import type { ParsedEntry } from './entry.ts';
import { type Difference, differences } from './history.ts';
import { intentionsOf } from './service-intentions.ts';

/** `by-request` where permissions look at each request. */
export type CallDecision = 'allow' | 'deny' | 'by-request';

export interface EntryOutlook {
  readonly kind: string;
  readonly name: string;
  /** Empty where nothing changes. */
  readonly differences: readonly Difference[];
}

/** Calls that this host's proxy saw of late, and that would be decided otherwise. */
export interface CallOutlook {
  readonly source: string;
  readonly destination: string;
  /** Requests, and connections of byte streams. */
  readonly calls: number;
  readonly before: CallDecision;
  readonly after: CallDecision;
  /** The entry that decides then; null where it is the default. */
  readonly rule: string | null;
}

export interface DryRun {
  readonly entries: readonly EntryOutlook[];
  readonly calls: readonly CallOutlook[];
  /** How far back the calls were looked at. */
  readonly overMs: number;
}

/** Throws the `Fault` that the write would meet. */
export function dryRun(
  store: PolicyStore,
  defaultAction: 'allow' | 'deny',
  written: readonly ParsedEntry[],
  traffic: readonly TrafficRow[],
): DryRun {
  refuseInconsistency(store, written);
  const after = storeAfter(store, written);
  const [old, fresh] = [store, after].map((one) => intentionsOf(one.list('service-intentions')));
  const decisionIn = (intentions: typeof old, source: string, destination: string) => {
    const rule = ruleFor(rulesFor(destination, intentions!), source);
    const decision: CallDecision =
      rule === null ? defaultAction : rule.permissions === null ? rule.action : 'by-request';
    return { decision, rule };
  };
  const calls = pairsOf(traffic).flatMap(({ source, destination, calls }): CallOutlook[] => {
    const before = decisionIn(old, source, destination);
    const then = decisionIn(fresh, source, destination);
    // Other permissions than before may decide single requests otherwise, which are not kept.
    const isSame =
      before.decision === then.decision &&
      (then.decision !== 'by-request' || differences(before.rule, then.rule).length === 0);
    if (isSame) return [];
    const rule = then.rule?.rule ?? null;
    return [{ source, destination, calls, before: before.decision, after: then.decision, rule }];
  });
  return {
    entries: written.map(({ kind, name, entry }) => ({
      kind,
      name,
      differences: differences(store.get(kind, name)?.entry ?? {}, entry),
    })),
    calls,
    overMs: Math.max(0, ...traffic.map(({ recent }) => recent.overMs)),
  };
}

/** The recent calls of each pair, the most first; of a pair that both ends of are here, what the caller's saw. */
function pairsOf(traffic: readonly TrafficRow[]): { source: string; destination: string; calls: number }[] {
  const pairs = new Map<
    string,
    { source: string; destination: string; seen: { source: number; destination: number } }
  >();
  for (const { source, destination, reporter, recent } of traffic) {
    if (source === '') continue;
    const key = `${source}/${destination}`;
    const pair = pairs.get(key) ?? { source, destination, seen: { source: 0, destination: 0 } };
    pairs.set(key, pair);
    pair.seen[reporter] += recent.byClass.reduce((sum, count) => sum + count, 0);
  }
  return [...pairs.values()]
    .map(({ source, destination, seen }) => ({
      source,
      destination,
      calls: Math.max(seen.source, seen.destination),
    }))
    .filter(({ calls }) => calls > 0)
    .sort((a, b) => b.calls - a.calls || (a.source + a.destination < b.source + b.destination ? -1 : 1));
}
