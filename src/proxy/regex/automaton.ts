/**
 * Runs a program as a deterministic automaton that is built as texts come along (as RE2's): what threads do at a
 * character is worked out once, then remembered, so that a usual path costs a table lookup a character.
 */
import { advance, type Instruction, type Neighbour, neighbourOf, read } from './program.ts';

/** States that are remembered. An expression that needs more forgets, and pays for working them out again. */
const maxStates = 64;
/** Characters with a place in the table; others are worked out each time. */
const tableSize = 128;
const endOfText = tableSize;

/** Where all threads are after some text. */
class State {
  readonly counters: readonly number[];
  readonly before: Neighbour;
  /** By character code, and at `endOfText`. */
  readonly steps: (Step | undefined)[] = new Array(tableSize + 1);

  constructor(counters: readonly number[], before: Neighbour) {
    this.counters = counters;
    this.before = before;
  }
}

interface Step {
  /** Whether the text up to this character matches. */
  readonly matched: boolean;
  /** Null where nothing can match any more. */
  readonly next: State | null;
}

export class Automaton {
  private readonly program: readonly Instruction[];
  /** Whether the text as a whole must match, not any part of it. */
  private readonly whole: boolean;
  private readonly states = new Map<string, State>();
  private first: State;

  constructor(program: readonly Instruction[], whole: boolean) {
    this.program = program;
    this.whole = whole;
    this.first = this.state([0], 'none');
  }

  matches(text: string): boolean {
    const { whole } = this;
    let state = this.first;
    let at = 0;
    while (at < text.length) {
      const unit = text.charCodeAt(at);
      let step: Step;
      if (unit < tableSize) {
        step = state.steps[unit] ?? this.fill(state, unit);
        at++;
      } else {
        const code = text.codePointAt(at)!;
        step = this.step(state, code);
        at += code > 0xffff ? 2 : 1;
      }
      if (step.matched && !whole) return true;
      if (step.next === null) return false;
      state = step.next;
    }
    return (state.steps[endOfText] ?? this.fill(state, endOfText)).matched;
  }

  private fill(state: State, index: number): Step {
    const step = index === endOfText ? this.last(state) : this.step(state, index);
    state.steps[index] = step;
    return step;
  }

  private step({ counters, before }: State, code: number): Step {
    const neighbour = neighbourOf(code);
    const { waiting, matched } = advance(this.program, counters, before, neighbour);
    const next = read(this.program, waiting, code);
    // Any part of the text may match: one more way begins at every character.
    if (!this.whole && next[0] !== 0) next.unshift(0);
    return { matched, next: next.length === 0 ? null : this.state(next, neighbour) };
  }

  private last({ counters, before }: State): Step {
    return { matched: advance(this.program, counters, before, 'none').matched, next: null };
  }

  private state(counters: readonly number[], before: Neighbour): State {
    const key = `${before} ${counters.join(' ')}`;
    let state = this.states.get(key);
    if (state === undefined) {
      if (this.states.size >= maxStates) this.forget();
      state = new State(counters, before);
      this.states.set(key, state);
    }
    return state;
  }

  private forget(): void {
    this.states.clear();
    this.first = new State([0], 'none');
  }
}
