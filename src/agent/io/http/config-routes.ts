/** `/v1/config`: Consul's config entries, the policy that holds for the whole mesh. */
import { Fault } from '../../../core.ts';
import { maxValueBytes } from '../../../gossip/replica/record.ts';
import type { Json } from '../../consul/consul.ts';
import { spelledAs } from '../../consul/fields.ts';
import { entrySchema, formOf, parseConfigEntry } from '../../entries/entry.ts';
import { completed, entryShape } from '../../entries/filter.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import type { StoredEntry } from '../../port.ts';
import type { Keep } from './filtered.ts';
import { type ApiContext, type ApiRequest, bodyJson, json, operatorOf, type Route } from './route.ts';

function entryJson({ entry, createIndex, modifyIndex }: StoredEntry): Json {
  return { ...entry, CreateIndex: createIndex, ModifyIndex: modifyIndex };
}

/** `Fault('unsupported-kind')` for a kind that this version does not act on. */
export function kindOf(request: ApiRequest): string {
  const kind = request.params.kind!;
  if (formOf(kind) !== null) return kind;
  throw new Fault(
    'unsupported-kind',
    `invalid config entry kind: ${kind}; supported: ${supportedKinds.join(', ')}`,
    { field: 'kind' },
  );
}

/** Much of what clients send says nothing, but an entry that could be kept is never so large. */
const maxBodyBytes = 4 * maxValueBytes;

function entryBody(request: ApiRequest): unknown {
  if (request.body.length > maxBodyBytes)
    throw new Fault('too-large', `an entry has ${maxBodyBytes} bytes at most`, { field: '' });
  return bodyJson(request);
}

/** The index that a conditional write compares with; null for one that is not conditional. */
function comparedIndex(request: ApiRequest): number | null {
  const cas = request.query.get('cas');
  if (cas === null || cas === '') return null;
  if (!/^\d{1,15}$/.test(cas)) throw new Fault('bad-query', 'must be a ModifyIndex', { field: 'cas' });
  return Number(cas);
}

/**
 * Whether the entry is here as the caller saw it: its index, or 0 where there is none. Indexes are this agent's
 * own, and so is the comparison: a write elsewhere that has not arrived yet is decided by its clock, as always.
 */
function isAsSeen({ agent }: ApiContext, kind: string, name: string, index: number | null): boolean {
  return index === null || index === (agent.policy.get(kind, name)?.modifyIndex ?? 0);
}

/** What an entry does not say is empty, zero or false to a filter. */
const entriesThatMatch: Keep = (body, matches) =>
  (body as readonly StoredEntry['entry'][]).filter((entry) =>
    matches(completed(entry, entryShape(String(entry.Kind)))),
  );

function named({ agent }: ApiContext, request: ApiRequest): StoredEntry {
  const kind = kindOf(request);
  const name = request.params.name!;
  const stored = agent.policy.get(kind, name);
  if (stored === undefined) throw new Fault('not-found', `Config entry not found for "${kind}" / "${name}"`);
  return stored;
}

/** What the agent says of an entry in normal form, in the spelling of its writer. */
export function respelled(fault: Fault, body: unknown): Fault {
  const { code, message, field, changed } = fault;
  if (field === undefined || !message.startsWith(`${field}: `)) return fault;
  const spelled = spelledAs(body, field);
  return new Fault(code, spelled + message.slice(field.length), { field: spelled, changed });
}

export const configRoutes: readonly Route[] = [
  {
    method: 'PUT',
    style: 'consul',
    access: 'mesh',
    path: '/v1/config',
    summary: 'Writes a config entry; with `?cas` only if its ModifyIndex here is that one, and says whether',
    query: ['cas'],
    bodySchema: entrySchema,
    answer: (context, request) => {
      const index = comparedIndex(request);
      const body = entryBody(request);
      const { kind, name, entry } = parseConfigEntry(body);
      const operator = operatorOf(request);
      const write = async () => {
        if (!isAsSeen(context, kind, name, index)) return json(false);
        await context.agent.command({ type: 'put-config-entry', kind, name, entry, operator });
        return json(true);
      };
      return (index === null ? write() : context.inTurn(write)).catch((error: unknown) => {
        throw error instanceof Fault ? respelled(error, body) : error;
      });
    },
  },
  {
    method: 'GET',
    style: 'consul',
    access: 'read',
    path: '/v1/config/:kind',
    summary: 'Config entries of a kind',
    topic: (_context, request) => `config:${request.params.kind}`,
    filter: { shape: (request) => entryShape(kindOf(request)), keep: entriesThatMatch },
    answer: ({ agent }, request) => json(agent.policy.list(kindOf(request)).map(entryJson)),
  },
  {
    method: 'GET',
    style: 'consul',
    access: 'read',
    path: '/v1/config/:kind/:name',
    summary: 'One config entry',
    topic: (_context, request) => `config:${request.params.kind}`,
    answer: (context, request) => json(entryJson(named(context, request))),
  },
  {
    method: 'DELETE',
    style: 'consul',
    access: 'mesh',
    path: '/v1/config/:kind/:name',
    summary: 'Deletes a config entry; one that is not there is no error',
    query: ['cas'],
    answer: (context, request) => {
      const kind = kindOf(request);
      const name = request.params.name!;
      const index = comparedIndex(request);
      const operator = operatorOf(request);
      return context.inTurn(async () => {
        const { agent } = context;
        const isThere = agent.policy.get(kind, name) !== undefined;
        const deletes = isThere && isAsSeen(context, kind, name, index);
        if (deletes) await agent.command({ type: 'delete-config-entry', kind, name, operator });
        return json(index === null ? {} : deletes);
      });
    },
  },
];
