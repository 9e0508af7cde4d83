/**
 * Regular expressions in RE2's syntax that always take linear time: what operators and callers of the API write
 * is matched on every host, so an expression that backtracks without end must not exist.
 *
 * Refused, as RE2 does: back references and look-around. Refused though RE2 has them: `\p{…}` and `\Q…\E`.
 */
import { Fault } from '../../core.ts';
import { Automaton } from './automaton.ts';
import { type Node, parseRegex } from './parse.ts';
import type { Instruction } from './program.ts';

/** Characters of an expression. */
export const maxRegexLength = 1024;
/** Instructions that an expression may grow to; `(a{100}){100}` is short and large. */
export const maxRegexSize = 1024;

export interface Regex {
  /** Whether any part of the text matches. */
  search(text: string): boolean;
  /** Whether the text as a whole matches. */
  matchesAll(text: string): boolean;
}

/** Compiles an expression. `Fault('invalid-regex')` when it is malformed, too large, or not RE2's. */
export function compileRegex(text: string, options: { ignoreCase?: boolean } = {}): Regex {
  if (text.length > maxRegexLength)
    throw new Fault('invalid-regex', `is longer than ${maxRegexLength} characters`);
  const program: Instruction[] = [];
  emit(program, parseRegex(text, options.ignoreCase ?? false));
  push(program, { op: 'match' });
  const part = new Automaton(program, false);
  const whole = new Automaton(program, true);
  return {
    search: (subject) => part.matches(subject),
    matchesAll: (subject) => whole.matches(subject),
  };
}

function push(program: Instruction[], instruction: Instruction): void {
  if (program.length >= maxRegexSize)
    throw new Fault('invalid-regex', `repeats so much that it takes more than ${maxRegexSize} steps`);
  program.push(instruction);
}

function emit(program: Instruction[], node: Node): void {
  switch (node.type) {
    case 'character':
      push(program, { op: 'character', set: node.set });
      return;
    case 'assertion':
      push(program, { op: 'assert', what: node.what });
      return;
    case 'sequence':
      for (const part of node.parts) emit(program, part);
      return;
    case 'choice':
      emitChoice(program, node.options);
      return;
    case 'repeat':
      emitTimes(program, node.part, node.least);
      if (node.most === null) emitLoop(program, node.part);
      else emitOptional(program, node.part, node.most - node.least);
      return;
  }
}

/** What matches only the empty text emits nothing, however often: then once is enough, and the loop bounded. */
function emitTimes(program: Instruction[], part: Node, times: number): void {
  for (let i = 0; i < times; i++) {
    const before = program.length;
    emit(program, part);
    if (program.length === before) return;
  }
}

/** A fork to every option; after each a jump to the end, which is a fork to one place. */
function emitChoice(program: Instruction[], options: readonly Node[]): void {
  const fork = reserve(program);
  const starts: number[] = [];
  const jumps: number[] = [];
  for (const option of options) {
    starts.push(program.length);
    emit(program, option);
    jumps.push(reserve(program));
  }
  program[fork] = { op: 'fork', to: starts };
  for (const jump of jumps) program[jump] = { op: 'fork', to: [program.length] };
}

function emitLoop(program: Instruction[], part: Node): void {
  const fork = reserve(program);
  emit(program, part);
  push(program, { op: 'fork', to: [fork] });
  program[fork] = { op: 'fork', to: [fork + 1, program.length] };
}

function emitOptional(program: Instruction[], part: Node, times: number): void {
  const forks: number[] = [];
  for (let i = 0; i < times; i++) {
    forks.push(reserve(program));
    emit(program, part);
  }
  for (const fork of forks) program[fork] = { op: 'fork', to: [fork + 1, program.length] };
}

/** A place for a fork whose targets are not known yet. */
function reserve(program: Instruction[]): number {
  push(program, { op: 'fork', to: [] });
  return program.length - 1;
}
