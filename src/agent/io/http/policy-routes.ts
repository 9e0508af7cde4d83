/** What Starling adds to config entries: their history, what a write would change, and who has taken it on. */
import { Fault } from '../../../core.ts';
import { dryRun } from '../../entries/dry-run.ts';
import { entrySchema, type ParsedEntry, parseConfigEntry } from '../../entries/entry.ts';
import { kindOf } from './config-routes.ts';
import { type ApiRequest, bodyJson, json, operatorOf, type Route } from './route.ts';

const read = { method: 'GET', style: 'starling', access: 'read' } as const;

/** Entries that are looked at together. */
const maxEntries = 256;

/** One entry or a list of them, each read, none twice. */
function entriesOf(request: ApiRequest): readonly ParsedEntry[] {
  const body = bodyJson(request);
  const inputs: readonly unknown[] = Array.isArray(body) ? body : [body];
  if (inputs.length > maxEntries)
    throw new Fault('too-large', `${maxEntries} entries are taken at once, not ${inputs.length}`, {
      field: '',
    });
  const entries = inputs.map(parseConfigEntry);
  const seen = new Set<string>();
  for (const { kind, name } of entries)
    if (seen.size === seen.add(`${kind}/${name}`).size)
      throw new Fault('conflicting-fields', `${kind}/${name} is in the list twice`, { field: 'Name' });
  return entries;
}

const entriesSchema = { oneOf: [entrySchema, { type: 'array', items: entrySchema, maxItems: maxEntries }] };

export const policyRoutes: readonly Route[] = [
  {
    ...read,
    path: '/v1/mesh/history/:kind/:name',
    summary:
      'The versions of a config entry, the newest first, deletions and losers of concurrent writes included',
    topic: (_context, request) => `config:${request.params.kind}`,
    answer: ({ agent }, request) => {
      const kind = kindOf(request);
      const name = request.params.name!;
      const versions = agent.entryHistory(kind, name);
      if (versions.length === 0) throw new Fault('not-found', `there never was a ${kind} named "${name}"`);
      return json({
        kind,
        name,
        versions: versions.map((one) => ({ ...one, at: new Date(one.at).toISOString() })),
      });
    },
  },
  {
    ...read,
    path: '/v1/mesh/convergence',
    summary:
      'Which hosts have taken on the policy that is here now, or that of `?revision`; hosts tell of themselves ' +
      'within a second',
    query: ['revision'],
    answer: ({ agent }, request) => {
      const convergence = agent.convergence(request.query.get('revision'));
      return json({ ...convergence, since: new Date(convergence.since).toISOString() });
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/dry-run',
    summary:
      'What writing a config entry, or a list of them, would change: fields, and recent calls through this host',
    bodySchema: entriesSchema,
    answer: ({ agent }, request) => {
      const traffic = agent.dataPlane()?.traffic ?? [];
      return json(dryRun(agent.policy, agent.view().defaultIntention, entriesOf(request), traffic));
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/config',
    summary: 'Writes a config entry, or a list of them that may refer to each other: all or none',
    bodySchema: entriesSchema,
    answer: async ({ agent }, request) => {
      const entries = entriesOf(request);
      await agent.command({ type: 'put-config-entries', entries, operator: operatorOf(request) });
      return json({ written: entries.map(({ kind, name }) => ({ kind, name })) });
    },
  },
];
