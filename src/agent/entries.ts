/**
 * Reads Consul's config entries, the mesh-wide policy, in both spellings. A kind or a field that this version
 * does not act on is refused: a policy that silently does nothing is worse than none.
 */
import { maxValueBytes } from '../gossip/record.ts';
import { precedence, wildcard } from '../proxy/intentions.ts';
import type { IntentionView } from '../proxy/view.ts';
import { Fields, fault } from './fields.ts';
import { serviceNamePattern } from './kinds.ts';
import type { StoredEntry } from './port.ts';

/** What an entry is kept as: CamelCase, complete. */
export interface ParsedEntry {
  readonly kind: string;
  readonly name: string;
  readonly entry: StoredEntry['entry'];
}

/** One caller in a `service-intentions` entry. */
export interface IntentionSource {
  readonly Name: string;
  readonly Action: 'allow' | 'deny';
  /** Consul's number; follows from the names, ignored on write. */
  readonly Precedence: number;
  readonly Type: 'consul';
  readonly Description?: string;
}

/** Sources of one destination. */
export const maxSources = 500;

/** Kinds that this version acts on, each with how it is read. */
const readers: { readonly [kind: string]: (fields: Fields) => ParsedEntry } = {
  'service-defaults': serviceDefaults,
  'service-intentions': serviceIntentions,
};

/** Consul's other kinds, so that a refusal can tell "not yet" from a typing error. */
const laterKinds = ['service-router', 'service-splitter', 'service-resolver', 'proxy-defaults', 'mesh'];

/**
 * Parses one entry. `Fault` with the field's path: `unsupported-kind`, `too-large`, and the codes of `Fields`.
 */
export function parseConfigEntry(input: unknown): ParsedEntry {
  const fields = new Fields(input, '');
  const kind = fields.required('Kind', /^[^\p{Cc}]{1,64}$/u, 'the kind of a config entry');
  const reader = Object.hasOwn(readers, kind) ? readers[kind] : undefined;
  if (reader === undefined) {
    const why = laterKinds.includes(kind) ? 'is not supported yet' : 'is not a kind of config entry';
    throw fields.fault(
      'unsupported-kind',
      'Kind',
      `"${kind}" ${why}; supported: ${supportedKinds.join(', ')}`,
    );
  }
  const parsed = reader(fields);
  fields.end();
  const bytes = Buffer.byteLength(JSON.stringify(parsed.entry));
  if (bytes > maxValueBytes)
    throw fault(
      'too-large',
      '',
      `the entry takes ${bytes} bytes, more than the ${maxValueBytes} that are gossiped`,
    );
  return parsed;
}

/** Sorted. */
export const supportedKinds: readonly string[] = Object.keys(readers);

/** Fields that every entry may have, and that a client sends back as it read them. */
function common(fields: Fields): { Meta?: { [key: string]: string } } {
  for (const name of ['CreateIndex', 'ModifyIndex', 'Hash', 'Status']) fields.value(name);
  for (const name of ['Namespace', 'Partition'])
    fields.unsupported(name, 'there are no namespaces or partitions but "default"', ['default']);
  const pairs = fields.pairs('Meta', 64).map(({ key, value, path }): [string, string] => {
    if (typeof value !== 'string' || key.length > 128 || value.length > 512)
      throw fault('invalid-field', path, 'must be a string of 512 characters at most, its key of 128');
    return [key, value];
  });
  return pairs.length === 0 ? {} : { Meta: Object.fromEntries(pairs) };
}

function serviceDefaults(fields: Fields): ParsedEntry {
  const name = fields.required('Name', serviceNamePattern, 'a service name');
  const given = fields.string('Protocol', '').toLowerCase();
  if (given === 'http2' || given === 'grpc')
    throw fields.fault('unsupported', 'Protocol', `"${given}" is not supported yet; use auto, http or tcp`);
  const Protocol = given === '' ? 'auto' : given;
  if (!['auto', 'http', 'tcp'].includes(Protocol))
    throw fields.fault('invalid-field', 'Protocol', `"${given}" is none of auto, http, tcp`);
  for (const later of [
    'BalanceInboundConnections',
    'Destination',
    'EnvoyExtensions',
    'Expose',
    'ExternalSNI',
    'LocalConnectTimeoutMs',
    'LocalRequestTimeoutMs',
    'MaxInboundConnections',
    'MeshGateway',
    'MutualTLSMode',
    'RateLimits',
    'TransparentProxy',
    'UpstreamConfig',
  ])
    fields.unsupported(later, 'is not supported yet');
  fields.unsupported('Mode', 'there is no transparent proxy mode', ['direct']);
  const entry = { Kind: 'service-defaults', Name: name, Protocol, ...common(fields) };
  return { kind: 'service-defaults', name, entry };
}

function serviceIntentions(fields: Fields): ParsedEntry {
  const name = party(fields, 'Name');
  fields.unsupported('JWT', 'JWT requirements are not supported');
  const sources: IntentionSource[] = [];
  for (const { value, path } of fields.list('Sources', maxSources)) {
    const source = sourceOf(value, path, name);
    if (sources.some((earlier) => earlier.Name === source.Name))
      throw fault('conflicting-fields', path, `"${source.Name}" is a source of this entry already`);
    sources.push(source);
  }
  if (sources.length === 0)
    throw fields.missing('Sources', 'at least one source is needed; delete the entry instead');
  sources.sort((a, b) => b.Precedence - a.Precedence);
  const entry = { Kind: 'service-intentions', Name: name, Sources: sources, ...common(fields) };
  return { kind: 'service-intentions', name, entry };
}

function sourceOf(input: unknown, path: string, destination: string): IntentionSource {
  const fields = new Fields(input, path);
  const Name = party(fields, 'Name');
  fields.unsupported('Permissions', 'permissions by path, header or method are not supported yet');
  if (fields.string('Action', '') === '') throw fields.missing('Action', 'is required: allow or deny');
  const Action = fields.word('Action', ['allow', 'deny'] as const, 'deny');
  fields.word('Type', ['consul'], 'consul');
  const Description = fields.string('Description', '', 512);
  for (const name of ['Precedence', 'LegacyID', 'LegacyMeta', 'LegacyCreateTime', 'LegacyUpdateTime'])
    fields.value(name);
  for (const name of ['Namespace', 'Partition'])
    fields.unsupported(name, 'there are no namespaces or partitions but "default"', ['default']);
  for (const name of ['Peer', 'SamenessGroup']) fields.unsupported(name, 'there is no peering');
  fields.end();
  return {
    Name,
    Action,
    Precedence: precedence(Name, destination),
    Type: 'consul',
    ...(Description === '' ? {} : { Description }),
  };
}

/** A service name or `*`. */
function party(fields: Fields, name: string): string {
  if (fields.value(name) === wildcard) return wildcard;
  return fields.required(name, serviceNamePattern, 'a service name or "*"');
}

/**
 * What the entries in force mean for the proxy. They are signed by operators, yet may have been written by a
 * newer version: whatever is not understood denies, for an allowance nobody can read must not let anyone in.
 */
export function intentionsOf(entries: readonly StoredEntry[]): IntentionView[] {
  return entries.filter((stored) => stored.kind === 'service-intentions').flatMap(intentionsOfEntry);
}

function intentionsOfEntry(stored: StoredEntry): IntentionView[] {
  const rule = `service-intentions/${stored.name}`;
  return sourcesOf(stored).map(({ Name, Action }) => ({
    source: Name,
    destination: stored.name,
    action: Action,
    permissions: null,
    rule,
  }));
}

/** The sources of an entry in force, the highest precedence first; read as `intentionsOf` says. */
export function sourcesOf({ name, entry }: StoredEntry): IntentionSource[] {
  const { Sources } = entry;
  const written: readonly unknown[] = Array.isArray(Sources) ? Sources : [null];
  return written.map((source) => readSource(source, name)).sort((a, b) => b.Precedence - a.Precedence);
}

function readSource(source: unknown, destination: string): IntentionSource {
  const fields =
    typeof source === 'object' && source !== null ? (source as { [field: string]: unknown }) : {};
  const Name = typeof fields.Name === 'string' ? fields.Name : wildcard;
  const understood = fields.Name === Name && Object.keys(fields).every((field) => sourceFields.has(field));
  return {
    Name,
    Action: understood && fields.Action === 'allow' ? 'allow' : 'deny',
    Precedence: precedence(Name, destination),
    Type: 'consul',
    ...(typeof fields.Description === 'string' ? { Description: fields.Description } : {}),
  };
}

/** What `sourceOf` writes. A field besides is a newer version's, and may narrow what is allowed. */
const sourceFields: ReadonlySet<string> = new Set(['Name', 'Action', 'Precedence', 'Type', 'Description']);
