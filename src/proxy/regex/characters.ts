/** Sets of code points, as classes of regular expressions name them. */

/** Inclusive, in any order; they may overlap. */
export type Range = readonly [low: number, high: number];

export interface CharacterSet {
  readonly ranges: readonly Range[];
  readonly negated: boolean;
  readonly ignoreCase: boolean;
}

const lastCodePoint = 0x10ffff;

function codes(text: string): Range[] {
  const ranges: Range[] = [];
  for (let at = 0; at < text.length; at += 2) ranges.push([text.charCodeAt(at), text.charCodeAt(at + 1)]);
  return ranges;
}

const digit = codes('09');
const word = codes('09AZaz__');
const space = codes('\t\n\f\r  ');

/** Perl's classes, ASCII as in RE2: `d`, `w`, `s` and their negations in upper case. */
export const perlClasses: Readonly<{ [letter: string]: readonly Range[] }> = {
  d: digit,
  D: complement(digit),
  w: word,
  W: complement(word),
  s: space,
  S: complement(space),
};

/** POSIX's classes, which RE2 knows inside of brackets: `[[:alpha:]]`. */
export const posixClasses: Readonly<{ [name: string]: readonly Range[] }> = {
  alnum: codes('09AZaz'),
  alpha: codes('AZaz'),
  ascii: [[0, 0x7f]],
  blank: codes('\t\t  '),
  cntrl: [
    [0, 0x1f],
    [0x7f, 0x7f],
  ],
  digit,
  graph: codes('!~'),
  lower: codes('az'),
  print: codes(' ~'),
  punct: codes('!/:@[`{~'),
  space: codes('\t\r  '),
  upper: codes('AZ'),
  word,
  xdigit: codes('09AFaf'),
};

/** Every code point that is in none of the ranges. */
export function complement(ranges: readonly Range[]): Range[] {
  const outside: Range[] = [];
  let next = 0;
  for (const [low, high] of [...ranges].sort(([a], [b]) => a - b)) {
    if (low > next) outside.push([next, low - 1]);
    next = Math.max(next, high + 1);
  }
  if (next <= lastCodePoint) outside.push([next, lastCodePoint]);
  return outside;
}

/** Whether a code point is in the set. */
export function contains(set: CharacterSet, code: number): boolean {
  const found =
    within(set.ranges, code) ||
    (set.ignoreCase && otherCases(code).some((other) => within(set.ranges, other)));
  return found !== set.negated;
}

function within(ranges: readonly Range[], code: number): boolean {
  for (const [low, high] of ranges) if (code >= low && code <= high) return true;
  return false;
}

/** The upper and lower case of a letter, where they are single code points. */
function otherCases(code: number): number[] {
  const text = String.fromCodePoint(code);
  return [text.toLowerCase(), text.toUpperCase()].map((other) => other.codePointAt(0)!);
}

/** As `\b` sees it: ASCII, as in RE2. */
export function isWordCharacter(code: number): boolean {
  return within(word, code);
}
