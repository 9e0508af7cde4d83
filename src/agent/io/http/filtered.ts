/** `?filter`: lets through the rows of a list that an expression matches. */
import { Fault } from '../../../core.ts';
import { compileFilter, type Filter } from '../../../proxy/filter/filter.ts';
import type { Answer, ApiRequest, Route } from './route.ts';

/**
 * The filter that a request asks for; null without one. Compiled before anything waits, so that what is wrong is
 * said at once: `invalid-filter`, `invalid-regex`, or `unsupported` where the path has no rows to choose from.
 */
export function filterOf(route: Route, request: ApiRequest): Filter | null {
  const text = request.query.get('filter');
  if (text === null || text.trim() === '') return null;
  if (route.filter === undefined)
    throw new Fault('unsupported', 'this path takes no filter', { field: 'filter' });
  const { shape } = route.filter;
  return compileFilter(text, typeof shape === 'function' ? shape(request) : shape);
}

/** The answer with only the rows that match. Whatever was refused stays as it is. */
export function filtered(route: Route, answer: Answer, filter: Filter | null): Answer {
  if (filter === null || route.filter === undefined || (answer.status ?? 200) !== 200) return answer;
  return { ...answer, body: route.filter.keep(answer.body, (row) => filter.matches(row)) };
}

export type Keep = (body: unknown, matches: (row: unknown) => boolean) => unknown;

/** Where the answer is a list of rows. */
export const rows: Keep = (body, matches) => (body as readonly unknown[]).filter(matches);

/** Where it is an object whose values are the rows. */
export const values: Keep = (body, matches) =>
  Object.fromEntries(Object.entries(body as object).filter(([, row]: [string, unknown]) => matches(row)));

/** Where it is an object with the rows below one field; null where there is no such object. */
export function below(field: string, keep: Keep): Keep {
  return (body, matches) => {
    if (body === null) return null;
    const whole = body as { readonly [field: string]: unknown };
    return { ...whole, [field]: keep(whole[field], matches) };
  };
}
