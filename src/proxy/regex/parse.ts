/** Reads RE2's syntax (github.com/google/re2/wiki/Syntax) into a tree, within bounds. */
import { Fault } from '../../core.ts';
import { type CharacterSet, complement, perlClasses, posixClasses, type Range } from './characters.ts';
import type { Assertion } from './program.ts';

export type Node =
  | { readonly type: 'character'; readonly set: CharacterSet }
  | { readonly type: 'assertion'; readonly what: Assertion }
  | { readonly type: 'sequence'; readonly parts: readonly Node[] }
  | { readonly type: 'choice'; readonly options: readonly Node[] }
  | {
      readonly type: 'repeat';
      readonly part: Node;
      readonly least: number;
      /** Null is without end. */
      readonly most: number | null;
    };

/** Groups within groups. */
const maxDepth = 64;
/** The largest count in braces, as RE2's. */
const maxCount = 1000;

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiLine: boolean;
  readonly dotAll: boolean;
}

/** Parses an expression; `Fault('invalid-regex')` says what is wrong, and where. */
export function parseRegex(text: string, ignoreCase: boolean): Node {
  const parser = new Parser(text, { ignoreCase, multiLine: false, dotAll: false });
  const node = parser.choice(0);
  parser.end();
  return node;
}

const controlEscapes: Readonly<{ [letter: string]: number }> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };
const assertionEscapes: Readonly<{ [letter: string]: Assertion }> = {
  A: 'text-start',
  z: 'text-end',
  b: 'boundary',
  B: 'no-boundary',
};

class Parser {
  private readonly text: string;
  private at = 0;
  private flags: Flags;

  constructor(text: string, flags: Flags) {
    this.text = text;
    this.flags = flags;
  }

  private fault(why: string): Fault {
    return new Fault('invalid-regex', `${why} at character ${this.at + 1} of the regular expression`);
  }

  private peek(): string {
    return this.text[this.at] ?? '';
  }

  private take(expected: string): boolean {
    if (!this.text.startsWith(expected, this.at)) return false;
    this.at += expected.length;
    return true;
  }

  end(): void {
    if (this.at < this.text.length) throw this.fault('unexpected )');
  }

  /** Flags set inside of a group end with it. */
  choice(depth: number): Node {
    if (depth > maxDepth) throw this.fault(`more than ${maxDepth} groups in each other`);
    const outside = this.flags;
    const options = [this.sequence(depth)];
    while (this.take('|')) options.push(this.sequence(depth));
    this.flags = outside;
    return options.length === 1 ? options[0]! : { type: 'choice', options };
  }

  private sequence(depth: number): Node {
    const parts: Node[] = [];
    while (this.at < this.text.length && this.peek() !== '|' && this.peek() !== ')') {
      const part = this.atom(depth);
      parts.push(part === null ? { type: 'sequence', parts: [] } : this.repeated(part));
    }
    return parts.length === 1 ? parts[0]! : { type: 'sequence', parts };
  }

  /** One quantifier at most, as RE2: `a**` is refused. A `?` behind it only says which match to prefer. */
  private repeated(part: Node): Node {
    const bounds = this.quantifier();
    if (bounds === null) return part;
    this.take('?');
    if ('*+?'.includes(this.peek()) && this.peek() !== '') throw this.fault('a repetition of a repetition');
    return { type: 'repeat', part, ...bounds };
  }

  private quantifier(): { least: number; most: number | null } | null {
    if (this.take('*')) return { least: 0, most: null };
    if (this.take('+')) return { least: 1, most: null };
    if (this.take('?')) return { least: 0, most: 1 };
    const braces = /^\{(\d{1,9})(,(\d{0,9}))?\}/.exec(this.text.slice(this.at, this.at + 24));
    if (braces === null) return null;
    const [all, low, comma, high] = braces;
    const least = Number(low);
    const most = comma === undefined ? least : high === '' ? null : Number(high);
    if (least > maxCount || (most !== null && (most > maxCount || most < least)))
      throw this.fault(`bad repetition ${all}`);
    this.at += all.length;
    return { least, most };
  }

  /** Null for a group that only sets flags. */
  private atom(depth: number): Node | null {
    const character = String.fromCodePoint(this.text.codePointAt(this.at)!);
    if ('*+?'.includes(character)) throw this.fault('nothing to repeat');
    this.at += character.length;
    switch (character) {
      case '(':
        return this.group(depth);
      case '[':
        return this.bracket();
      case '.':
        return this.set(this.flags.dotAll ? complement([]) : complement([[10, 10]]));
      case '^':
        return { type: 'assertion', what: this.flags.multiLine ? 'line-start' : 'text-start' };
      case '$':
        return { type: 'assertion', what: this.flags.multiLine ? 'line-end' : 'text-end' };
      case '\\':
        return this.escape();
      default:
        return this.set([single(character.codePointAt(0)!)]);
    }
  }

  private set(ranges: readonly Range[], negated = false): Node {
    return { type: 'character', set: { ranges, negated, ignoreCase: this.flags.ignoreCase } };
  }

  private group(depth: number): Node | null {
    const outside = this.flags;
    if (this.take('?') && !this.take(':') && !this.name() && this.setFlags()) return null;
    const node = this.choice(depth + 1);
    if (!this.take(')')) throw this.fault('missing )');
    this.flags = outside;
    return node;
  }

  /** `(?P<name>` and `(?<name>`; the name means nothing here. */
  private name(): boolean {
    const name = /^P?<[A-Za-z_][A-Za-z0-9_]*>/.exec(this.text.slice(this.at));
    if (name === null) return false;
    this.at += name[0].length;
    return true;
  }

  /** `(?i)` holds to the end of the group around it, and gives true; `(?i:` for the group it begins. */
  private setFlags(): boolean {
    const found = /^([ims]*)(?:-([ims]+))?([:)])/.exec(this.text.slice(this.at));
    if (found === null || found[0].length === 1) throw this.fault('look-around or an unknown group');
    this.at += found[0].length;
    const value = (flag: string, now: boolean): boolean =>
      found[1]!.includes(flag) || (now && !(found[2] ?? '').includes(flag));
    this.flags = {
      ignoreCase: value('i', this.flags.ignoreCase),
      multiLine: value('m', this.flags.multiLine),
      dotAll: value('s', this.flags.dotAll),
    };
    return found[3] === ')';
  }

  private escape(): Node {
    const what = assertionEscapes[this.peek()];
    if (what !== undefined) {
      this.at++;
      return { type: 'assertion', what };
    }
    return this.set(this.escapedRanges());
  }

  /** After a backslash: a class, or one character. */
  private escapedRanges(): readonly Range[] {
    const letter = this.peek();
    const perl = perlClasses[letter];
    if (perl !== undefined) {
      this.at++;
      return perl;
    }
    const control = controlEscapes[letter];
    if (control !== undefined) {
      this.at++;
      return [single(control)];
    }
    const hex = /^x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/.exec(this.text.slice(this.at));
    if (hex !== null) {
      const code = Number.parseInt(hex[1] ?? hex[2]!, 16);
      if (code > 0x10ffff) throw this.fault('no such character');
      this.at += hex[0].length;
      return [single(code)];
    }
    if (letter === '' || /[A-Za-z0-9]/.test(letter)) throw this.fault(`unsupported escape \\${letter}`);
    const code = this.text.codePointAt(this.at)!;
    this.at += code > 0xffff ? 2 : 1;
    return [single(code)];
  }

  /** What is between brackets; `[` has been read. */
  private bracket(): Node {
    const negated = this.take('^');
    const ranges: Range[] = [];
    let first = true;
    while (first || this.peek() !== ']') {
      if (this.at >= this.text.length) throw this.fault('missing ]');
      ranges.push(...this.bracketItem());
      first = false;
    }
    this.at++;
    return this.set(ranges, negated);
  }

  private bracketItem(): readonly Range[] {
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(this.text.slice(this.at));
    if (posix !== null) {
      const ranges = posixClasses[posix[2]!];
      if (ranges === undefined) throw this.fault(`unknown class ${posix[0]}`);
      this.at += posix[0].length;
      return posix[1] === '^' ? complement(ranges) : ranges;
    }
    const low = this.bracketCharacter();
    const isRange = this.peek() === '-' && this.at + 1 < this.text.length && this.text[this.at + 1] !== ']';
    if (!isRange) return low;
    this.at++;
    const high = this.bracketCharacter();
    const [from, to] = [low[0]![0], high[0]![0]];
    if (!isSingle(low) || !isSingle(high) || to < from) throw this.fault('bad range');
    return [[from, to]];
  }

  private bracketCharacter(): readonly Range[] {
    if (this.take('\\')) return this.escapedRanges();
    const code = this.text.codePointAt(this.at);
    if (code === undefined) throw this.fault('missing ]');
    this.at += code > 0xffff ? 2 : 1;
    return [single(code)];
  }
}

function single(code: number): Range {
  return [code, code];
}

function isSingle(ranges: readonly Range[]): boolean {
  return ranges.length === 1 && ranges[0]![0] === ranges[0]![1];
}
