/**
 * A regular expression as a program for a machine with many threads (Thompson, "Regular expression search
 * algorithm", 1968; Cox, "Regular Expression Matching: the Virtual Machine Approach"). A text costs at most its
 * length times the program's, whatever the expression: there is no backtracking that could explode.
 */
import { type CharacterSet, contains, isWordCharacter } from './characters.ts';

export type Assertion = 'text-start' | 'text-end' | 'line-start' | 'line-end' | 'boundary' | 'no-boundary';

export type Instruction =
  | { readonly op: 'character'; readonly set: CharacterSet }
  | { readonly op: 'assert'; readonly what: Assertion }
  /** Goes on at every one of these. */
  | { readonly op: 'fork'; readonly to: readonly number[] }
  | { readonly op: 'match' };

/** Stands for "no character": before the first and after the last. */
const none = -1;

/** Runs a program over one text. `whole` asks for the entire text, else any part of it may match. */
export function run(program: readonly Instruction[], text: string, whole: boolean): boolean {
  const machine = new Threads(program);
  let before = none;
  let at = 0;
  while (true) {
    const code = at < text.length ? text.codePointAt(at)! : none;
    if (at === 0 || !whole) machine.start(0, before, code);
    if (machine.matched && (!whole || code === none)) return true;
    if (code === none || (whole && machine.idle)) return false;
    const next = at + (code > 0xffff ? 2 : 1);
    machine.advance(code, next < text.length ? text.codePointAt(next)! : none);
    before = code;
    at = next;
  }
}

/** The instructions that threads wait at, before the character they look at next. */
class Threads {
  private readonly program: readonly Instruction[];
  private current: number[] = [];
  /** For which step an instruction was taken up last: each is at most once. */
  private readonly seenAt: Int32Array;
  private step = 1;
  /** Whether a thread has come to the end of the program before the current character. */
  matched = false;

  constructor(program: readonly Instruction[]) {
    this.program = program;
    this.seenAt = new Int32Array(program.length);
  }

  get idle(): boolean {
    return this.current.length === 0;
  }

  /** Adds a thread, and all that it forks into without reading a character. */
  start(from: number, before: number, after: number): void {
    const pending = [from];
    while (pending.length > 0) {
      const at = pending.pop()!;
      if (this.seenAt[at] === this.step) continue;
      this.seenAt[at] = this.step;
      const instruction = this.program[at]!;
      if (instruction.op === 'fork') pending.push(...instruction.to);
      else if (instruction.op === 'assert') {
        if (holds(instruction.what, before, after)) pending.push(at + 1);
      } else if (instruction.op === 'match') this.matched = true;
      else this.current.push(at);
    }
  }

  /** Reads a character in every thread; `after` is the one that follows it. */
  advance(code: number, after: number): void {
    const waiting = this.current;
    this.current = [];
    this.step++;
    this.matched = false;
    for (const at of waiting) {
      const instruction = this.program[at]!;
      if (instruction.op === 'character' && contains(instruction.set, code)) this.start(at + 1, code, after);
    }
  }
}

function holds(what: Assertion, before: number, after: number): boolean {
  const lineFeed = 10;
  switch (what) {
    case 'text-start':
      return before === none;
    case 'text-end':
      return after === none;
    case 'line-start':
      return before === none || before === lineFeed;
    case 'line-end':
      return after === none || after === lineFeed;
    case 'boundary':
      return isWordCharacter(before) !== isWordCharacter(after);
    case 'no-boundary':
      return isWordCharacter(before) === isWordCharacter(after);
  }
}
