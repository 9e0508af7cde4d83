/** `/v1/config`: Consul's config entries, the policy that holds for the whole mesh. */
import { Fault } from '../../../core.ts';
import type { Json } from '../../consul.ts';
import { parseConfigEntry, supportedKinds } from '../../entries/entry.ts';
import type { StoredEntry } from '../../port.ts';
import { type ApiContext, type ApiRequest, bodyJson, json, operatorOf, type Route } from './route.ts';

function entryJson({ entry, createIndex, modifyIndex }: StoredEntry): Json {
  return { ...entry, CreateIndex: createIndex, ModifyIndex: modifyIndex };
}

/** `Fault('unsupported-kind')` for a kind that this version does not act on. */
function kindOf(request: ApiRequest): string {
  const kind = request.params.kind!;
  if (!supportedKinds.includes(kind))
    throw new Fault(
      'unsupported-kind',
      `invalid config entry kind: ${kind}; supported: ${supportedKinds.join(', ')}`,
      {
        field: 'kind',
      },
    );
  return kind;
}

/** With no leader to compare at, a conditional write could not keep its promise. */
function refuseCompareAndSet(request: ApiRequest): void {
  if (request.query.has('cas'))
    throw new Fault('unsupported', 'conditional writes need agreement between hosts; write without cas', {
      field: 'cas',
    });
}

function named({ agent }: ApiContext, request: ApiRequest): StoredEntry {
  const kind = kindOf(request);
  const name = request.params.name!;
  const stored = agent.policy.get(kind, name);
  if (stored === undefined) throw new Fault('not-found', `Config entry not found for "${kind}" / "${name}"`);
  return stored;
}

export const configRoutes: readonly Route[] = [
  {
    method: 'PUT',
    style: 'consul',
    access: 'mesh',
    path: '/v1/config',
    summary: 'Writes a config entry',
    answer: async ({ agent }, request) => {
      refuseCompareAndSet(request);
      const { kind, name, entry } = parseConfigEntry(bodyJson(request));
      await agent.command({ type: 'put-config-entry', kind, name, entry, operator: operatorOf(request) });
      return json(true);
    },
  },
  {
    method: 'GET',
    style: 'consul',
    access: 'read',
    path: '/v1/config/:kind',
    summary: 'Config entries of a kind',
    topic: (_context, request) => `config:${request.params.kind}`,
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
    answer: async ({ agent }, request) => {
      refuseCompareAndSet(request);
      const kind = kindOf(request);
      const name = request.params.name!;
      if (agent.policy.get(kind, name) !== undefined)
        await agent.command({ type: 'delete-config-entry', kind, name, operator: operatorOf(request) });
      return json({});
    },
  },
];
