/** Whether a request is one that policy speaks of, compiled so that nothing is parsed again for each request. */
import { Fault } from '../../core.ts';
import type { HeaderMatch, PathMatch, QueryMatch, RequestMatch } from '../policy.ts';
import { compileRegex, type Regex } from '../regex/regex.ts';
import { ascii } from './bytes.ts';
import type { RequestFacts } from './facts.ts';

/** Expressions take a time that grows with the text: longer ones are like none. */
const maxMatchedLength = 8 * 1024;

/** Says whether a text is one of those that match. */
export type TextTest = (text: string) => boolean;

/**
 * What a field must be like that comes several times: all values with commas between them, or besides that every one
 * of them, or else any. Whoever allows asks for `every` and whoever denies for `any`, so that nobody gets around a
 * permission by a value more, which the application may look at instead. To them a field whose name has `_` where
 * policy's has `-` is another value, and to deny is to deny a method in any case of letters.
 */
export type Reading = 'joined' | 'every' | 'any';

interface FieldTest {
  readonly name: Uint8Array;
  holds(value: string | null): boolean;
}

export class CompiledMatch {
  private readonly reading: Reading;
  private readonly path: TextTest | null;
  private readonly methods: readonly string[];
  private readonly headers: readonly FieldTest[];
  private readonly query: readonly { readonly name: string; readonly holds: TextTest }[];

  constructor(match: RequestMatch, reading: Reading = 'joined') {
    this.reading = reading;
    this.path = match.path === null ? null : pathTest(match.path);
    this.methods = match.methods;
    this.headers = match.headers.map((header) => ({ name: ascii(header.name), holds: headerTest(header) }));
    this.query = match.query.map((parameter) => ({ name: parameter.name, holds: queryTest(parameter) }));
  }

  /** All that is said must hold. */
  holds(facts: RequestFacts): boolean {
    if (this.methods.length > 0 && !this.hasMethod(facts.method)) return false;
    if (this.path !== null && !this.path(facts.path)) return false;
    for (const test of this.headers) if (!this.fieldHolds(facts, test)) return false;
    for (const { name, holds } of this.query) {
      const value = facts.query(name);
      if (value === null || !holds(value)) return false;
    }
    return true;
  }

  private hasMethod(method: string): boolean {
    return (
      this.methods.includes(method) || (this.reading === 'any' && this.methods.includes(method.toUpperCase()))
    );
  }

  private fieldHolds(facts: RequestFacts, { name, holds }: FieldTest): boolean {
    const isJoinedLike = holds(facts.field(name));
    if (this.reading === 'joined' || isJoinedLike === (this.reading === 'any')) return isJoinedLike;
    const values = facts.values(name);
    return this.reading === 'any' ? values.some(holds) : values.every(holds);
  }
}

export function pathTest({ type, value, ignoreCase }: PathMatch): TextTest {
  return textTest(type, value, ignoreCase);
}

/** An absent field has no value, so it is unlike every value: inverted, such a match holds. */
function headerTest({ type, value, ignoreCase, invert }: HeaderMatch): FieldTest['holds'] {
  const test = textTest(type, value, ignoreCase);
  return (text) => (text !== null && test(text)) !== invert;
}

function queryTest({ type, value }: QueryMatch): TextTest {
  return textTest(type, value, false);
}

function textTest(type: HeaderMatch['type'], wanted: string, ignoreCase: boolean): TextTest {
  const value = ignoreCase ? wanted.toLowerCase() : wanted;
  const fold = ignoreCase ? (text: string): string => text.toLowerCase() : (text: string): string => text;
  switch (type) {
    case 'present':
      return () => true;
    case 'exact':
      return (text) => fold(text) === value;
    case 'prefix':
      return (text) => fold(text).startsWith(value);
    case 'suffix':
      return (text) => fold(text).endsWith(value);
    case 'contains':
      return (text) => fold(text).includes(value);
    case 'regex': {
      const regex = soundRegex(wanted, ignoreCase);
      return (text) => text.length <= maxMatchedLength && regex.matchesAll(text);
    }
  }
}

/** Policy is validated before it comes here; should an expression be unsound all the same, nothing is like it. */
function soundRegex(value: string, ignoreCase: boolean): Pick<Regex, 'matchesAll'> {
  try {
    return compileRegex(value, { ignoreCase });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { matchesAll: () => false };
  }
}
