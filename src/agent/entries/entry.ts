/**
 * Consul's config entries, the mesh-wide policy: one form a kind, from which come what is accepted, what the rest of
 * the agent knows of it, and the API's description. A policy that silently does nothing is worse than none, so
 * whatever would is refused.
 */
import { Fault } from '../../core.ts';
import { maxValueBytes } from '../../gossip/replica/record.ts';
import { Fields, fault, nearest } from '../consul/fields.ts';
import type { StoredEntry } from '../port.ts';
import type { Form, JsonSchema } from './form.ts';
import { type EntryKind, foreignKinds, supportedKinds } from './kinds.ts';
import { mesh } from './mesh.ts';
import { proxyDefaults } from './proxy-defaults.ts';
import { serviceDefaults } from './service-defaults.ts';
import { serviceIntentions } from './service-intentions.ts';
import { serviceResolver } from './service-resolver.ts';
import { serviceRouter } from './service-router.ts';
import { serviceSplitter } from './service-splitter.ts';

/** What an entry is kept as: in normal form. */
export interface ParsedEntry {
  readonly kind: string;
  readonly name: string;
  readonly entry: StoredEntry['entry'];
}

type EntryForm = Form<{ readonly Name: string }>;

export const entryForms = {
  mesh: mesh,
  'proxy-defaults': proxyDefaults,
  'service-defaults': serviceDefaults,
  'service-intentions': serviceIntentions,
  'service-resolver': serviceResolver,
  'service-router': serviceRouter,
  'service-splitter': serviceSplitter,
} as const satisfies { readonly [kind in EntryKind]: EntryForm };

/** The form of a kind; null for what is none. */
export function formOf(kind: string): EntryForm | null {
  return Object.hasOwn(entryForms, kind) ? entryForms[kind as EntryKind] : null;
}

/** `Fault` with the field's path: `unsupported-kind`, `too-large`, and the codes of `Fields` and the forms. */
export function parseConfigEntry(input: unknown): ParsedEntry {
  const fields = new Fields(input, '');
  const kind = fields.required('Kind', /^[^\p{Cc}]{1,64}$/u, 'the kind of a config entry');
  const form = formOf(kind);
  if (form === null) {
    const why = foreignKinds.includes(kind) ? 'has no meaning in this mesh' : 'is not a kind of config entry';
    const near = nearest(kind, supportedKinds);
    const hint = near === null ? `supported: ${supportedKinds.join(', ')}` : `did you mean "${near}"?`;
    throw fields.fault('unsupported-kind', 'Kind', `"${kind}" ${why}; ${hint}`);
  }
  const entry = form.read(named(kind, input), '')!;
  const bytes = Buffer.byteLength(JSON.stringify(entry));
  if (bytes > maxValueBytes)
    throw fault(
      'too-large',
      '',
      `the entry takes ${bytes} bytes, more than the ${maxValueBytes} that are gossiped`,
    );
  return { kind, name: entry.Name, entry: { ...entry } };
}

/** Entries that are written, or looked at, together. */
export const maxEntriesAtOnce = 256;

/** One entry or a list of them, each read, none twice. */
export function parseConfigEntries(input: unknown, most: number = maxEntriesAtOnce): readonly ParsedEntry[] {
  if (!Array.isArray(input)) return [parseConfigEntry(input)];
  if (input.length === 0) throw new Fault('without-effect', 'there is no entry in the list', { field: '' });
  if (input.length > most)
    throw new Fault('too-large', `${most} entries are taken at once, not ${input.length}`, {
      field: '',
    });
  const entries = input.map((one: unknown, i) => at(i, () => parseConfigEntry(one)));
  const seen = new Set<string>();
  for (const [i, { kind, name }] of entries.entries()) {
    const rule = `${kind}/${name}`;
    if (seen.has(rule)) throw fault('conflicting-fields', `[${i}]`, `${rule} is in the list already`);
    seen.add(rule);
  }
  return entries;
}

/** Puts an entry's place in the list in front of a fault in it. */
function at<T>(place: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { code, message, field = '' } = error;
    const path = field === '' ? `[${place}]` : `[${place}].${field}`;
    throw fault(code, path, message.startsWith(`${field}: `) ? message.slice(field.length + 2) : message);
  }
}

/** There is one `mesh` entry, which in Consul has no name. */
function named(kind: string, input: unknown): unknown {
  if (kind !== 'mesh' || new Fields(input, '').has('Name')) return input;
  return { ...(input as object), Name: 'mesh' };
}

/** What `PUT /v1/config` takes. */
export const entrySchema: JsonSchema = { oneOf: supportedKinds.map((kind) => formOf(kind)!.schema) };
