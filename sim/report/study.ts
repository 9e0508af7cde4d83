/** Runs that belong together, and what they show as a table, as data and as a picture. */

import type { Spread } from '../gossipsub/tally.ts';
import type { Trial } from '../gossipsub/trial.ts';

export interface StudyResult {
  /** Markdown, with tables. */
  readonly text: string;
  readonly data: object;
  readonly svg: string;
}

export interface StudyTools {
  /** Real milliseconds, from any origin: what a run took is for the caller to measure. */
  readonly stopwatch: () => number;
  /** Of this process, once garbage is collected. */
  readonly bytesInUse: () => number;
  readonly progress: (text: string) => void;
  /** The real gossipsub, which takes a process of its own. */
  readonly playGossipsub: (trial: Trial) => Spread;
}

export type Study = (tools: StudyTools) => StudyResult;

/** A Markdown table; the first row is its head. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows.map((cells) => `| ${cells.join(' | ')} |`);
  const rule = `|${rows[0]!.map(() => ' --- |').join('')}`;
  return [head, rule, ...body, ''].join('\n');
}

/** `1.4 kB`, three digits at the most. */
export function readableBytes(bytes: number): string {
  if (bytes < 999.5) return `${Math.round(bytes)} B`;
  return bytes < 100_000 ? `${(bytes / 1_000).toFixed(1)} kB` : `${Math.round(bytes / 1_000)} kB`;
}
