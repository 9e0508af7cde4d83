/** Which HTTP requests are meant: the conditions of routes and of permissions, which differ in little. */
import type { HeaderMatch, PathMatch, QueryMatch, RequestMatch } from '../../proxy/policy.ts';
import type { Fields } from '../consul/fields.ts';
import { headerNameText } from './common.ts';
import { regex } from './expressions.ts';
import { flag, list, needed, object, type Read, refuseTogether, text, word } from './form.ts';

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE'] as const;

/** Paths are matched without their query, so one that has a query would never match. */
const path = text({
  most: 2048,
  pattern: /^\/[^?#\s\p{Cc}]*$/u,
  what: 'a path: it starts with / and has no ?, # or space',
});

/** The three ways to name a path, of which one may be said. */
export const pathFields = { PathExact: path, PathPrefix: path, PathRegex: regex };
export const pathFieldNames: readonly string[] = Object.keys(pathFields);

const headerTests = ['Present', 'Exact', 'Prefix', 'Suffix', 'Contains', 'Regex'] as const;
const value = text({ most: 1024 });

const header = object(
  {
    Name: needed(headerNameText),
    Present: flag(),
    Exact: value,
    Prefix: value,
    Suffix: value,
    Contains: value,
    Regex: regex,
    IgnoreCase: flag(),
    Invert: flag(),
  },
  {
    check(read, fields) {
      oneTest(read, fields, headerTests);
      if (read.IgnoreCase && (read.Present || read.Regex !== undefined))
        throw fields.fault('without-effect', 'IgnoreCase', 'has no effect on Present and Regex');
    },
  },
);

const queryTests = ['Present', 'Exact', 'Regex'] as const;
const queryParam = object(
  {
    Name: needed(text({ most: 256 })),
    Present: flag(),
    Exact: value,
    Regex: regex,
  },
  { check: (read, fields) => oneTest(read, fields, queryTests) },
);

function oneTest(read: object, fields: Fields, names: readonly string[]): void {
  refuseTogether(read, fields, names);
  if (!names.some((name) => name in read))
    throw fields.fault('missing-field', 'Name', `says nothing of the value; say one of ${names.join(', ')}`);
}

const commonFields = {
  ...pathFields,
  Header: list(header, 64),
  Methods: list(word(methods, { anyCase: true }), methods.length),
};

function checkMatch(read: { readonly Methods?: readonly string[] }, fields: Fields): void {
  refuseTogether(read, fields, pathFieldNames);
  const { Methods = [] } = read;
  const twin = Methods.find((method, i) => Methods.indexOf(method) !== i);
  if (twin !== undefined)
    throw fields.fault('conflicting-fields', 'Methods', `contains "${twin}" more than once`);
}

/** `Match.HTTP` of a route. */
export const routeMatch = object(
  { ...commonFields, CaseInsensitive: flag(), QueryParam: list(queryParam, 64) },
  {
    check(read, fields) {
      checkMatch(read, fields);
      if (read.CaseInsensitive && read.PathExact === undefined && read.PathPrefix === undefined)
        throw fields.fault(
          'without-effect',
          'CaseInsensitive',
          'has an effect on PathExact and PathPrefix only',
        );
    },
  },
);

/** `HTTP` of a permission; one that is empty would match every request without saying so. */
export const permissionMatch = object(commonFields, {
  check: checkMatch,
  empty: { refusal: 'says nothing: name a path, a header or a method' },
});

type Written = Read<typeof routeMatch>;

/** Whether every request that `later` matches is matched by `earlier`, as far as can be told from their words. */
export function covers(earlier: Written = {}, later: Written = {}): boolean {
  const saysAll = (of: readonly object[] = [], among: readonly object[] = []) => {
    if (of.length === 0 || of.length > among.length) return of.length === 0;
    const said = new Set(among.map((one) => JSON.stringify(one)));
    return of.every((one) => said.has(JSON.stringify(one)));
  };
  const { Methods: some } = later;
  return (
    coversPath(earlier, later) &&
    saysAll(earlier.Header, later.Header) &&
    saysAll(earlier.QueryParam, later.QueryParam) &&
    (earlier.Methods === undefined || (some ?? [])[0] !== undefined) &&
    (some ?? []).every((method) => earlier.Methods?.includes(method) ?? true)
  );
}

/** The same of their paths alone. */
export function coversPath(earlier: Written, later: Written): boolean {
  const fold = (text: string | undefined) => (earlier.CaseInsensitive ? text?.toLowerCase() : text);
  const [exact, prefix] = [fold(later.PathExact), fold(later.PathPrefix)];
  if (earlier.PathRegex !== undefined) return earlier.PathRegex === later.PathRegex;
  if (earlier.PathExact === undefined && earlier.PathPrefix === undefined) return true;
  if (later.CaseInsensitive && !earlier.CaseInsensitive) return earlier.PathPrefix === '/';
  if (earlier.PathExact !== undefined) return exact === fold(earlier.PathExact);
  const start = fold(earlier.PathPrefix)!;
  // Every path begins with a slash, whatever an expression says of it.
  return start === '/' || ((exact ?? prefix)?.startsWith(start) ?? false);
}

/** The first that never decides, and the one before that always does; null where each may. */
export function shadowed<T>(
  all: readonly T[],
  covers: (earlier: T, later: T) => boolean,
): { readonly at: number; readonly by: number } | null {
  for (const [at, later] of all.entries()) {
    const by = all.findIndex((earlier, i) => i < at && covers(earlier, later));
    if (by >= 0) return { at, by };
  }
  return null;
}

/** Null when everything matches. */
export function requestMatch(written: Written | undefined): RequestMatch {
  return {
    path: written === undefined ? null : pathMatch(written, written.CaseInsensitive ?? false),
    headers: (written?.Header ?? []).map(headerMatch),
    query: (written?.QueryParam ?? []).map(queryMatch),
    methods: written?.Methods ?? [],
  };
}

export function pathMatch(
  written: Pick<Written, 'PathExact' | 'PathPrefix' | 'PathRegex'>,
  ignoreCase: boolean,
): PathMatch | null {
  const { PathExact, PathPrefix, PathRegex } = written;
  if (PathExact !== undefined) return { type: 'exact', value: PathExact, ignoreCase };
  if (PathPrefix !== undefined) return { type: 'prefix', value: PathPrefix, ignoreCase };
  return PathRegex === undefined ? null : { type: 'regex', value: PathRegex, ignoreCase: false };
}

function headerMatch(written: Read<typeof header>): HeaderMatch {
  const test = headerTests.find((name) => name in written)!;
  const held = written[test];
  return {
    name: written.Name.toLowerCase(),
    type: test.toLowerCase() as HeaderMatch['type'],
    value: typeof held === 'string' ? held : '',
    ignoreCase: written.IgnoreCase ?? false,
    invert: written.Invert ?? false,
  };
}

function queryMatch(written: Read<typeof queryParam>): QueryMatch {
  const test = queryTests.find((name) => name in written)!;
  const held = written[test];
  return {
    name: written.Name,
    type: test.toLowerCase() as QueryMatch['type'],
    value: typeof held === 'string' ? held : '',
  };
}
