/** Pass 3, splitters: one flat list of shares, also where a splitter leads to another one. */
import type { HeaderEdits, HeaderValue, SplitterPolicy } from '../policy.ts';
import type { Entries } from './entries.ts';

/** A share of the requests, and what they are for. */
export interface Leg {
  /** Hundredths of a percent, at least 1; over all legs of a list 10,000. */
  readonly weight: number;
  readonly service: string;
  readonly subset: string;
  /** The innermost splitter, '' where nothing is split. */
  readonly rule: string;
  /** Which of its splits; -1 where nothing is split. */
  readonly index: number;
  readonly requestHeaders: HeaderEdits | null;
  readonly responseHeaders: HeaderEdits | null;
}

/**
 * Splits what is for a service. The weights of splitters within each other are multiplied; a share that comes to
 * less than a hundredth of a percent gets nothing, so that there are 10,000 legs at most. A splitter that leads
 * back to one it came from is not entered again: that share goes to the service as if nobody split it.
 */
export function split(entries: Entries, service: string): Leg[] {
  const legs: Leg[] = [];
  divide(entries, wholeOf(service, ''), new Set(), legs);
  return legs;
}

/** Everything, for one target. */
export function wholeOf(service: string, subset: string): Leg {
  return {
    weight: 10_000,
    service,
    subset,
    rule: '',
    index: -1,
    requestHeaders: null,
    responseHeaders: null,
  };
}

function divide(entries: Entries, leg: Leg, within: ReadonlySet<string>, legs: Leg[]): void {
  const splitter = splitterOf(entries, leg);
  if (splitter === undefined || within.has(leg.service)) {
    legs.push(leg);
    return;
  }
  const inside = new Set(within).add(leg.service);
  const weights = shares(
    leg.weight,
    splitter.splits.map(({ weight }) => weight),
  );
  splitter.splits.forEach((part, i) => {
    if (weights[i]! === 0) return;
    const next: Leg = {
      weight: weights[i]!,
      service: part.service || leg.service,
      subset: part.subset,
      rule: splitter.rule,
      index: i,
      requestHeaders: combined(leg.requestHeaders, part.requestHeaders),
      responseHeaders: combined(leg.responseHeaders, part.responseHeaders),
    };
    divide(entries, next, inside, legs);
  });
}

/** What splits a leg further; undefined too for a splitter that shares nothing out. */
function splitterOf(entries: Entries, { service, subset }: Leg): SplitterPolicy | undefined {
  if (subset !== '' || !entries.carriesRequests(service)) return undefined;
  const splitter = entries.splitters.get(service);
  return splitter?.splits.some(({ weight }) => weight > 0) ? splitter : undefined;
}

/** `total` in whole parts as `weights` relate; what rounding leaves goes to the largest remainders. */
export function shares(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  const exact = weights.map((weight) => (total * weight) / sum);
  const parts = exact.map(Math.floor);
  let left = total - parts.reduce((all, part) => all + part, 0);
  const byRemainder = exact.map((_, i) => i).sort((a, b) => (exact[b]! % 1) - (exact[a]! % 1) || a - b);
  for (const i of byRemainder) {
    if (left-- <= 0) break;
    parts[i]!++;
  }
  return parts;
}

/** One set of edits that does what two do one after the other. */
export function combined(first: HeaderEdits | null, second: HeaderEdits | null): HeaderEdits | null {
  if (first === null || second === null) return second ?? first;
  const undone = new Set([...second.remove, ...second.set.map(({ name }) => name)]);
  const stays = ({ name }: HeaderValue): boolean => !undone.has(name);
  return {
    remove: [...new Set([...first.remove, ...second.remove])],
    set: [...first.set.filter(stays), ...second.set],
    add: [...first.add.filter(stays), ...second.add],
  };
}
