/** What Starling adds to config entries: their history, what a write would change, and who has taken it on. */
import { Fault } from '../../../core.ts';
import { dryRun } from '../../entries/dry-run.ts';
import { entrySchema, maxEntriesAtOnce, parseConfigEntries } from '../../entries/entry.ts';
import { kindOf, respelled } from './config-routes.ts';
import { bodyJson, json, operatorOf, type Route } from './route.ts';

const read = { method: 'GET', style: 'starling', access: 'read' } as const;

const entriesSchema = {
  oneOf: [entrySchema, { type: 'array', items: entrySchema, maxItems: maxEntriesAtOnce }],
};

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
    answer: async ({ agent }, request) => {
      const body = bodyJson(request);
      const entries = parseConfigEntries(body);
      const traffic = (await agent.freshDataPlane())?.traffic ?? [];
      try {
        return json(dryRun(agent.policy, agent.view().defaultIntention, entries, traffic));
      } catch (error) {
        throw error instanceof Fault ? respelled(error, body) : error;
      }
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
      const body = bodyJson(request);
      const entries = parseConfigEntries(body);
      const operator = operatorOf(request);
      await agent.command({ type: 'put-config-entries', entries, operator }).catch((error: unknown) => {
        throw error instanceof Fault ? respelled(error, body) : error;
      });
      return json({ written: entries.map(({ kind, name }) => ({ kind, name })) });
    },
  },
];
