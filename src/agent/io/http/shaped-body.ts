/** Bodies of Starling's own paths, whose shape a schema says. */
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { Fault } from '../../../core.ts';
import { type ApiRequest, bodyJson } from './route.ts';

/**
 * The body as the schema has it. `Fault('malformed')` names the first field that is not: in the words of `rules` where
 * they have some for it, else in the schema's.
 */
export function shapedBody<S extends TSchema>(
  schema: S,
  request: ApiRequest,
  rules: { readonly [field: string]: string } = {},
): Static<S> {
  const body = bodyJson(request);
  if (Value.Check(schema, body)) return body;
  const [first] = Value.Errors(schema, body);
  const field = first?.instancePath.slice(1).replaceAll('/', '.') ?? '';
  // What a schema does not have it compares with one that nothing satisfies.
  const said = first?.keyword === 'boolean' ? 'unknown field' : first?.message;
  throw new Fault('malformed', rules[field] ?? said ?? 'is not of the right shape', {
    field: field === '' ? undefined : field,
  });
}
