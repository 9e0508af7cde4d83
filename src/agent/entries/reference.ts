/** The reference of config entries for people, from the very forms by which they are read. */
import { entryForms } from './entry.ts';
import type { JsonSchema } from './form.ts';
import { supportedKinds } from './kinds.ts';

interface Row {
  readonly path: string;
  readonly schema: JsonSchema;
  readonly needed: boolean;
}

interface Refusal {
  readonly path: string;
  readonly why: string;
}

/** What every entry has, said once. */
const everywhere = ['Kind', 'Name', 'Meta', 'Namespace', 'Partition'];

/** Markdown. */
export function entryReference(): string {
  const kinds = supportedKinds.map((kind) => kindText(kind, entryForms[kind].schema));
  return [
    '# Config entries',
    '',
    'Every field that Starling acts on, from the forms by which entries are read. Names are Consul’s; **bold** ones',
    'Consul does not have. `snake_case` and any capitals are understood as well, in JSON and YAML. A field that is not',
    'here is refused by name, and so is a combination that would do nothing. Durations are such as `1m30s` or `250ms`.',
    'Every entry has a `Kind` and a `Name`, and may have a `Meta` of up to 64 texts.',
    '',
    ...kinds,
  ].join('\n');
}

function kindText(kind: string, schema: JsonSchema): string {
  const rows: Row[] = [];
  const refusals: Refusal[] = [];
  collect('', schema, rows, refusals);
  const lines = rows.map(({ path, schema: held, needed }) => {
    const name = held['x-starling'] === true ? `**\`${path}\`**` : `\`${path}\``;
    return `| ${name} | ${typeText(held)}${needed ? ', required' : ''} | ${held.description ?? ''} |`;
  });
  const table =
    lines.length === 0 ? [] : ['| field | value | meaning |', '| --- | --- | --- |', ...lines, ''];
  const refused = refusals.map(({ path, why }) => `- \`${path}\`: ${why}`);
  const list = refused.length === 0 ? [] : ['Refused unless they say nothing:', '', ...refused, ''];
  return [`## ${kind}`, '', ...table, ...list].join('\n');
}

function collect(path: string, schema: JsonSchema, rows: Row[], refusals: Refusal[]): void {
  const required = new Set((schema.required as readonly string[] | undefined) ?? []);
  const at = (name: string) => (path === '' ? name : `${path}.${name}`);
  for (const [name, held] of Object.entries((schema.properties as { [name: string]: JsonSchema }) ?? {})) {
    if (path === '' && everywhere.includes(name)) continue;
    if (
      held.type !== 'object' ||
      typeof held.additionalProperties === 'object' ||
      held.description !== undefined
    )
      rows.push({ path: at(name), schema: held, needed: required.has(name) });
    const [inner, suffix] = innermost(held);
    if (inner.properties !== undefined) collect(at(name) + suffix, inner, rows, refusals);
  }
  for (const [name, why] of Object.entries((schema['x-refused'] as { [name: string]: string }) ?? {}))
    if (!everywhere.includes(name)) refusals.push({ path: at(name), why });
}

/** What lists and maps are made of, and how that is written in a path. */
function innermost(schema: JsonSchema): [schema: JsonSchema, suffix: string] {
  if (schema.type === 'array') return [schema.items as JsonSchema, '[]'];
  if (typeof schema.additionalProperties === 'object')
    return [schema.additionalProperties as JsonSchema, '.*'];
  return [schema, ''];
}

function typeText(schema: JsonSchema): string {
  const { type, minimum, maximum } = schema;
  if (Array.isArray(schema.enum)) return schema.enum.map((word) => `\`${word}\``).join(' ');
  if (schema.format === 'duration') return 'duration';
  if (type === 'boolean') return schema.default === true ? 'true unless said' : 'flag';
  if (type === 'integer' || type === 'number') return `${minimum} to ${maximum}`;
  if (type === 'array') return `list${scalarOf(schema.items as JsonSchema)}`;
  if (typeof schema.additionalProperties === 'object')
    return `map${scalarOf(schema.additionalProperties as JsonSchema)}`;
  return type === 'object' ? 'object' : 'text';
}

function scalarOf(schema: JsonSchema): string {
  return schema.type === 'object' ? '' : ` of ${typeText(schema)}`;
}
