/**
 * A regular expression as a program for many threads (Thompson, "Regular expression search algorithm", 1968; Cox,
 * "Regular Expression Matching: the Virtual Machine Approach"): all ways to match are followed at once, so that
 * there is no backtracking that could explode.
 */
import { type CharacterSet, contains, isWordCharacter } from './characters.ts';

export type Assertion = 'text-start' | 'text-end' | 'line-start' | 'line-end' | 'boundary' | 'no-boundary';

export type Instruction =
  | { readonly op: 'character'; readonly set: CharacterSet }
  | { readonly op: 'assert'; readonly what: Assertion }
  /** Goes on at every one of these. */
  | { readonly op: 'fork'; readonly to: readonly number[] }
  | { readonly op: 'match' };

/** All that an assertion wants to know of a neighbouring character; `none` is beyond an end of the text. */
export type Neighbour = 'none' | 'line-feed' | 'word' | 'other';

export function neighbourOf(code: number): Neighbour {
  if (code === 10) return 'line-feed';
  return isWordCharacter(code) ? 'word' : 'other';
}

/** Where threads are between two characters. */
export interface Front {
  /** Instructions that wait for a character. */
  readonly waiting: readonly number[];
  /** Whether a thread has come to the end of the program. */
  readonly matched: boolean;
}

/** Runs threads on as far as they get without reading a character. Each instruction is come to once. */
export function advance(
  program: readonly Instruction[],
  from: readonly number[],
  before: Neighbour,
  after: Neighbour,
): Front {
  const waiting: number[] = [];
  let matched = false;
  const seen = new Set<number>();
  const pending = [...from];
  while (pending.length > 0) {
    const at = pending.pop()!;
    if (seen.has(at)) continue;
    seen.add(at);
    const instruction = program[at]!;
    if (instruction.op === 'fork') pending.push(...instruction.to);
    else if (instruction.op === 'assert') {
      if (holds(instruction.what, before, after)) pending.push(at + 1);
    } else if (instruction.op === 'match') matched = true;
    else waiting.push(at);
  }
  return { waiting, matched };
}

/** Where those threads go on that a character is right for; sorted. */
export function read(program: readonly Instruction[], waiting: readonly number[], code: number): number[] {
  const next: number[] = [];
  for (const at of waiting) {
    const instruction = program[at]!;
    if (instruction.op === 'character' && contains(instruction.set, code)) next.push(at + 1);
  }
  return next.sort((a, b) => a - b);
}

function holds(what: Assertion, before: Neighbour, after: Neighbour): boolean {
  switch (what) {
    case 'text-start':
      return before === 'none';
    case 'text-end':
      return after === 'none';
    case 'line-start':
      return before === 'none' || before === 'line-feed';
    case 'line-end':
      return after === 'none' || after === 'line-feed';
    case 'boundary':
      return (before === 'word') !== (after === 'word');
    case 'no-boundary':
      return (before === 'word') === (after === 'word');
  }
}
