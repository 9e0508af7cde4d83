/**
 * Consul's filter expressions over plain JSON data: which instances are in a subset, what `?filter` lets through.
 * https://developer.hashicorp.com/consul/api-docs/features/filtering
 */
import { Fault } from '../../core.ts';
import type { Expression, Match } from './expression.ts';
import { parseFilter } from './parse.ts';
import { type Shape, shapeAt } from './shape.ts';

export interface Filter {
  /** `Fault('invalid-filter')` where the data do not fit the expression, which a shape would have shown. */
  matches(data: unknown): boolean;
}

/**
 * Compiles an expression. With a `shape` every selector is checked against it, as Consul does: data that has the
 * shape then never fails. Without one, names that the data do not have count as missing.
 *
 * `Fault('invalid-filter')` for what is malformed, too long or deep, or does not fit the shape; `invalid-regex`.
 */
export function compileFilter(text: string, shape: Shape | null = null): Filter {
  const expression = parseFilter(text);
  if (shape !== null) checkShape(expression, shape);
  return { matches: (data) => evaluate(expression, data) };
}

function checkShape(expression: Expression, shape: Shape): void {
  if (expression.type === 'not') checkShape(expression.operand, shape);
  else if (expression.type !== 'match') for (const operand of expression.operands) checkShape(operand, shape);
  else {
    const name = expression.selector.join('.');
    const at = shapeAt(shape, expression.selector);
    if (at === null) throw new Fault('invalid-filter', `Selector "${name}" is not valid`);
    if (!fits(expression, at))
      throw new Fault('invalid-filter', `"${name}" is a ${at.kind}, which does not fit this comparison`);
  }
}

/** Whether a comparison with what has this shape means anything. */
function fits({ operator, value }: Match, shape: Shape): boolean {
  const isScalar = shape.kind === 'string' || shape.kind === 'number' || shape.kind === 'boolean';
  switch (operator) {
    case 'equal':
      return isScalar && isValueOf(shape.kind, value);
    case 'matches':
      return shape.kind === 'string';
    case 'empty':
      return shape.kind === 'string' || shape.kind === 'list' || shape.kind === 'map';
    case 'in':
      if (shape.kind === 'list') return isValueOf(shape.of.kind, value);
      return shape.kind === 'string' || shape.kind === 'map';
  }
}

function isValueOf(kind: Shape['kind'], value: string): boolean {
  if (kind === 'number') return asNumber(value) !== null;
  if (kind === 'boolean') return asBoolean(value) !== null;
  return kind === 'string';
}

function evaluate(expression: Expression, data: unknown): boolean {
  switch (expression.type) {
    case 'and':
      return expression.operands.every((operand) => evaluate(operand, data));
    case 'or':
      return expression.operands.some((operand) => evaluate(operand, data));
    case 'not':
      return !evaluate(expression.operand, data);
    case 'match':
      return holds(expression, valueAt(data, expression.selector)) !== expression.negated;
  }
}

/** Undefined for what is not there. Never looks at prototypes. */
function valueAt(data: unknown, path: readonly string[]): unknown {
  let at = data;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as { readonly [name: string]: unknown })[name];
  }
  return at;
}

/** Whether a comparison holds, its negation aside. What is missing or null is empty and equals nothing. */
function holds(match: Match, found: unknown): boolean {
  if (found === undefined || found === null) return match.operator === 'empty';
  switch (match.operator) {
    case 'equal':
      return equals(match, found);
    case 'in':
      return isIn(match, found);
    case 'empty':
      return isEmpty(match, found);
    case 'matches':
      if (typeof found !== 'string') throw misfit(match, found);
      return match.regex!.search(found);
  }
}

function equals(match: Match, found: unknown): boolean {
  const { value } = match;
  if (typeof found === 'string') return found === value;
  if (typeof found === 'boolean' && asBoolean(value) !== null) return found === asBoolean(value);
  if (typeof found === 'number' && asNumber(value) !== null) return found === asNumber(value);
  throw misfit(match, found);
}

function isIn(match: Match, found: unknown): boolean {
  if (typeof found === 'string') return found.includes(match.value);
  if (Array.isArray(found)) return found.some((item) => equals(match, item));
  if (typeof found === 'object' && found !== null) return Object.hasOwn(found, match.value);
  throw misfit(match, found);
}

function isEmpty(match: Match, found: unknown): boolean {
  if (typeof found === 'string' || Array.isArray(found)) return found.length === 0;
  if (typeof found === 'object' && found !== null) return Object.keys(found).length === 0;
  throw misfit(match, found);
}

function misfit({ selector }: Match, found: unknown): Fault {
  const kind = Array.isArray(found) ? 'list' : typeof found;
  return new Fault(
    'invalid-filter',
    `"${selector.join('.')}" is a ${kind}, which does not fit this comparison`,
  );
}

function asNumber(value: string): number | null {
  return /^[+-]?\d+(?:\.\d+)?$/.test(value) ? Number(value) : null;
}

/** As Go's strconv.ParseBool. */
function asBoolean(value: string): boolean | null {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  return null;
}
