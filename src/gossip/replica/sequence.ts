/**
 * Numbers an operator's policy writes, so that one withheld shows as a gap: 1, 2, 3 across all slots. An
 * operator that writes on two hosts at once may use a number twice; that hides nothing. A gap is no proof of
 * malice: a slot written more often than versions are kept leaves gaps too.
 */
import type { HostId } from '../../core.ts';
import type { Record } from './record.ts';

export interface WriterSequence {
  readonly author: HostId;
  readonly highest: number;
  /** Numbers up to `highest` that no record held here carries. */
  readonly missing: number;
}

/** The sequence of every author among these versions of policy, by author. */
export function sequencesOf(versions: Iterable<Record>): WriterSequence[] {
  const numbers = new Map<HostId, Set<number>>();
  for (const { author, version } of versions) {
    const seen = numbers.get(author);
    if (seen === undefined) numbers.set(author, new Set([version]));
    else seen.add(version);
  }
  const sequences: WriterSequence[] = [];
  for (const [author, seen] of numbers) {
    let highest = 0;
    for (const number of seen) highest = Math.max(highest, number);
    // Version 0 is nobody's first, and fills no gap.
    sequences.push({ author, highest, missing: highest - seen.size + (seen.has(0) ? 1 : 0) });
  }
  return sequences.sort((a, b) => (a.author < b.author ? -1 : 1));
}

/** The highest number that `author` used, 0 for none. */
export function highestOf(author: HostId, versions: Iterable<Record>): number {
  let highest = 0;
  for (const record of versions) if (record.author === author) highest = Math.max(highest, record.version);
  return highest;
}
