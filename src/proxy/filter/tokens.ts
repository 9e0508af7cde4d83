/** Cuts a filter expression into words, numbers, strings and signs. */
import { Fault } from '../../core.ts';

export interface Token {
  readonly type: 'word' | 'number' | 'string' | 'sign' | 'end';
  /** A string without its quotes. */
  readonly text: string;
  /** Where it begins, counted from 0. */
  readonly at: number;
}

const space = /[ \t\r\n]*/y;
const word = /[a-zA-Z][a-zA-Z0-9_/]*/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?=[ \t\r\n)\].]|$)|[0-9]+/y;
const sign = /==|!=|[()[\].,]/y;
const quoted = /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y;

/** The tokens, and one of type `end`; `Fault('invalid-filter')` at what is none. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = match(space, text, 0)!.length;
  while (at < text.length) {
    const token = tokenAt(text, at);
    tokens.push(token.token);
    at += token.length;
    at += match(space, text, at)!.length;
  }
  tokens.push({ type: 'end', text: '', at });
  return tokens;
}

function match(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

function tokenAt(text: string, at: number): { token: Token; length: number } {
  const string = match(quoted, text, at);
  if (string !== null)
    return { token: { type: 'string', text: unquoted(string, at), at }, length: string.length };
  for (const [type, pattern] of [
    ['word', word],
    ['number', number],
    ['sign', sign],
  ] as const) {
    const found = match(pattern, text, at);
    if (found !== null) return { token: { type, text: found, at }, length: found.length };
  }
  const why = '"`'.includes(text[at]!) ? 'unterminated string' : 'unexpected character';
  throw new Fault('invalid-filter', `${why} at character ${at + 1} of the filter`);
}

const escapes: Readonly<{ [letter: string]: string }> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/** Back quotes take everything as it stands; double quotes know Go's escapes. */
function unquoted(text: string, at: number): string {
  const inside = text.slice(1, -1);
  if (text.startsWith('`')) return inside;
  return inside.replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/g, (all, hex, unicode, letter) => {
    const code: string | undefined = hex ?? unicode;
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
    const plain = escapes[letter as string];
    if (plain === undefined)
      throw new Fault('invalid-filter', `unknown escape ${all} in the string at character ${at + 1}`);
    return plain;
  });
}
