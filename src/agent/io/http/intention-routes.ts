/** `/v1/connect/intentions`: who may call whom, one pair at a time, over the `service-intentions` entries. */
import { Fault } from '../../../core.ts';
import { intentionShape } from '../../consul/consul-shapes.ts';
import type { ParsedEntry } from '../../entries/entry.ts';
import type { ImaginedRequest } from '../../policy/imagined-request.ts';
import {
  checkIntention,
  exactIntention,
  intentionSchema,
  listIntentions,
  matchIntentions,
  parseIntention,
  removeIntention,
  upsertIntention,
} from '../../policy/intentions.ts';
import { rows } from './filtered.ts';
import { type ApiContext, type ApiRequest, bodyJson, json, needed, operatorOf, type Route } from './route.ts';

const kind = 'service-intentions';
const consulRead = { method: 'GET', style: 'consul', access: 'read' } as const;
const topic = (): string => `config:${kind}`;

/** A service named in the query, with or without Consul's only namespace in front. */
function party(request: ApiRequest, parameter: string): string {
  return needed(request, parameter).replace(/^(default\/){1,2}/, '');
}

function pair(request: ApiRequest): { readonly source: string; readonly destination: string } {
  return { source: party(request, 'source'), destination: party(request, 'destination') };
}

/** The request that is asked about; null where it is the pair alone. */
export function imagined({ query }: ApiRequest): ImaginedRequest | null {
  const [method, path, headers] = [query.get('method'), query.get('path'), query.getAll('header')];
  if (method === null && path === null && headers.length === 0) return null;
  return {
    method: (method ?? 'GET').toUpperCase(),
    path: path ?? '/',
    headers: headers.map((header) => {
      const [, name, value] = /^([^:=]+)[:=]\s*(.*)$/s.exec(header) ?? [];
      if (name === undefined || value === undefined)
        throw new Fault('bad-query', 'must be NAME:VALUE', { field: 'header' });
      return { name, value };
    }),
  };
}

/** Writes or, with null, deletes the entry of a destination. */
async function store(
  { agent }: ApiContext,
  request: ApiRequest,
  destination: string,
  parsed: ParsedEntry | null,
): Promise<void> {
  const operator = operatorOf(request);
  if (parsed === null)
    await agent.command({ type: 'delete-config-entry', kind, name: destination, operator });
  else
    await agent.command({ type: 'put-config-entry', kind, name: parsed.name, entry: parsed.entry, operator });
}

export const intentionRoutes: readonly Route[] = [
  {
    ...consulRead,
    path: '/v1/connect/intentions',
    summary: 'Every intention, the highest precedence first',
    topic,
    filter: { shape: intentionShape, keep: rows },
    answer: ({ agent }) => json(listIntentions(agent.policy)),
  },
  {
    ...consulRead,
    path: '/v1/connect/intentions/exact',
    summary: 'The intention for exactly this pair',
    query: ['source', 'destination'],
    topic,
    answer: ({ agent }, request) => {
      const { source, destination } = pair(request);
      const found = exactIntention(agent.policy, source, destination);
      if (found === null) throw new Fault('not-found', 'Intention not found');
      return json(found);
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    access: 'mesh',
    path: '/v1/connect/intentions/exact',
    summary: 'Allows or denies a pair',
    query: ['source', 'destination'],
    bodySchema: intentionSchema,
    answer: (context, request) => {
      const { source, destination } = pair(request);
      const wish = parseIntention(bodyJson(request));
      return context.inTurn(async () => {
        await store(
          context,
          request,
          destination,
          upsertIntention(context.agent.policy, source, destination, wish),
        );
        return json(true);
      });
    },
  },
  {
    method: 'DELETE',
    style: 'consul',
    access: 'mesh',
    path: '/v1/connect/intentions/exact',
    summary: 'Takes an intention back; one that is not there is no error',
    query: ['source', 'destination'],
    answer: (context, request) => {
      const { source, destination } = pair(request);
      return context.inTurn(async () => {
        if (exactIntention(context.agent.policy, source, destination) === null) return json(true);
        await store(
          context,
          request,
          destination,
          removeIntention(context.agent.policy, source, destination),
        );
        return json(true);
      });
    },
  },
  {
    ...consulRead,
    path: '/v1/connect/intentions/match',
    summary: 'Intentions that concern a service, the one that decides first',
    query: ['by', 'name'],
    topic,
    answer: ({ agent }, request) => {
      const by = needed(request, 'by');
      if (by !== 'source' && by !== 'destination')
        throw new Fault('bad-query', 'must be source or destination', { field: 'by' });
      needed(request, 'name');
      const names = request.query.getAll('name').map((name) => name.replace(/^(default\/){1,2}/, ''));
      return json(Object.fromEntries(names.map((name) => [name, matchIntentions(agent.policy, by, name)])));
    },
  },
  {
    ...consulRead,
    path: '/v1/connect/intentions/check',
    summary:
      'Whether a pair may talk, and which entry says so; where requests are told apart, those are asked about by ' +
      '`method`, `path` and `header=name:value`',
    query: ['source', 'destination', 'method', 'path', 'header'],
    topic,
    answer: ({ agent }, request) => {
      const { source, destination } = pair(request);
      const { defaultIntention } = agent.view();
      const { allowed, rule, byRequest } = checkIntention(
        agent.policy,
        defaultIntention,
        source,
        destination,
        imagined(request),
      );
      return json({ Allowed: allowed, Rule: rule ?? `default ${defaultIntention}`, ByRequest: byRequest });
    },
  },
];
