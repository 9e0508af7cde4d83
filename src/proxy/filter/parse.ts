/**
 * Reads Consul's filter expressions (hashicorp/go-bexpr, grammar/grammar.peg): `or` binds looser than `and`,
 * `and` looser than `not`; both are kept as lists, so that only parentheses and `not` nest.
 */
import { Fault } from '../../core.ts';
import { compileRegex } from '../regex/regex.ts';
import type { Expression, Match, Operator } from './expression.ts';
import { type Token, tokensOf } from './tokens.ts';

/** Characters of an expression. */
export const maxFilterLength = 4096;
/** Comparisons in one expression. */
export const maxFilterMatches = 128;
/** Parentheses and `not` within each other. */
export const maxFilterDepth = 32;

/** Parses an expression; `Fault('invalid-filter')` says what is wrong, and where. */
export function parseFilter(text: string): Expression {
  if (text.length > maxFilterLength)
    throw new Fault('invalid-filter', `the filter is longer than ${maxFilterLength} characters`);
  const parser = new Parser(tokensOf(text));
  const expression = parser.or(0);
  parser.end();
  return expression;
}

interface Operation {
  readonly operator: Operator;
  readonly negated: boolean;
  /** `value in selector`, where all others have the selector first. */
  readonly valueFirst: boolean;
}

class Parser {
  private readonly tokens: readonly Token[];
  private at = 0;
  private matches = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  private get token(): Token {
    return this.tokens[this.at]!;
  }

  private fault(why: string): Fault {
    const { type, text, at } = this.token;
    const found = type === 'end' ? 'the end' : `"${text.slice(0, 40)}" at character ${at + 1}`;
    return new Fault('invalid-filter', `${why}, found ${found} of the filter`);
  }

  private take(type: Token['type'], text: string): boolean {
    if (this.token.type !== type || this.token.text !== text) return false;
    this.at++;
    return true;
  }

  private expect(type: Token['type'], text: string): void {
    if (!this.take(type, text)) throw this.fault(`expected "${text}"`);
  }

  end(): void {
    if (this.token.type !== 'end') throw this.fault('expected "and", "or" or the end');
  }

  or(depth: number): Expression {
    const operands = [this.and(depth)];
    while (this.take('word', 'or')) operands.push(this.and(depth));
    return operands.length === 1 ? operands[0]! : { type: 'or', operands };
  }

  private and(depth: number): Expression {
    const operands = [this.not(depth)];
    while (this.take('word', 'and')) operands.push(this.not(depth));
    return operands.length === 1 ? operands[0]! : { type: 'and', operands };
  }

  private not(depth: number): Expression {
    if (depth > maxFilterDepth)
      throw new Fault('invalid-filter', `the filter nests deeper than ${maxFilterDepth}`);
    if (this.take('word', 'not')) return { type: 'not', operand: this.not(depth + 1) };
    if (!this.take('sign', '(')) return this.match();
    const inside = this.or(depth + 1);
    this.expect('sign', ')');
    return inside;
  }

  private match(): Match {
    if (++this.matches > maxFilterMatches)
      throw new Fault('invalid-filter', `the filter has more than ${maxFilterMatches} comparisons`);
    const first = this.operand();
    const { operator, negated, valueFirst } = this.operation();
    const second = operator === 'empty' ? null : this.operand();
    const selector = valueFirst ? second!.selector : first.selector;
    const value = valueFirst ? first.value : (second?.value ?? '');
    if (selector === null) throw this.fault('expected the name of a field');
    const regex = operator === 'matches' ? compileRegex(value) : null;
    return { type: 'match', selector, operator, negated, value, regex };
  }

  private operation(): Operation {
    const operation = (operator: Operator, negated: boolean, valueFirst = false): Operation => ({
      operator,
      negated,
      valueFirst,
    });
    if (this.take('sign', '==')) return operation('equal', false);
    if (this.take('sign', '!=')) return operation('equal', true);
    if (this.take('word', 'is')) {
      const negated = this.take('word', 'not');
      this.expect('word', 'empty');
      return operation('empty', negated);
    }
    const negated = this.take('word', 'not');
    if (this.take('word', 'in')) return operation('in', negated, true);
    if (this.take('word', 'contains')) return operation('in', negated);
    if (this.take('word', 'matches')) return operation('matches', negated);
    throw this.fault('expected an operator: ==, !=, in, contains, is empty, matches');
  }

  /** Any operand can be a value; a number cannot be a selector, and a string only as a JSON pointer. */
  private operand(): { selector: readonly string[] | null; value: string } {
    const token = this.token;
    if (token.type === 'word') {
      const selector = this.selector();
      return { selector, value: selector.join('.') };
    }
    if (token.type !== 'string' && token.type !== 'number') throw this.fault('expected a field or a value');
    this.at++;
    const isPointer = token.type === 'string' && /^(?:\/[\p{L}\p{N}_.~:|-]+)+$/u.test(token.text);
    return { selector: isPointer ? pointer(token.text) : null, value: token.text };
  }

  /** `Service.Meta.version`, `Service.Meta["a-b"]`. */
  private selector(): string[] {
    const path = [this.token.text];
    this.at++;
    while (true) {
      const bracket = this.take('sign', '[');
      if (!bracket && !this.take('sign', '.')) return path;
      const { type, text } = this.token;
      if (bracket ? type !== 'string' : type !== 'word' && type !== 'number')
        throw this.fault(bracket ? 'expected a string in quotes' : 'expected a name');
      path.push(text);
      this.at++;
      if (bracket) this.expect('sign', ']');
    }
  }
}

/** RFC 6901. */
function pointer(text: string): string[] {
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}
