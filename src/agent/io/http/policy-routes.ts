/** What Starling adds to config entries: their history, what a write would change, and who has taken it on. */
import { Fault } from '../../../core.ts';
import { dryRun } from '../../entries/dry-run.ts';
import { entrySchema, maxEntriesAtOnce, parseConfigEntries } from '../../entries/entry.ts';
import { inRestore, maxEntriesInSnapshot, parseSnapshotEntries, planRestore } from '../../entries/restore.ts';
import { kindOf, respelled } from './config-routes.ts';
import { type ApiRequest, bodyJson, json, operatorOf, type Route, switchedOn } from './route.ts';

const read = { method: 'GET', style: 'starling', access: 'read' } as const;

const entriesSchema = {
  oneOf: [entrySchema, { type: 'array', items: entrySchema, maxItems: maxEntriesAtOnce }],
};

/** A snapshot of a large mesh, below what all bodies together may hold. */
const maxSnapshotBytes = 32 * 1024 * 1024;

const snapshotSchema = {
  type: 'object',
  required: ['entries'],
  properties: { entries: { type: 'array', items: entrySchema, maxItems: maxEntriesInSnapshot } },
};

function snapshotBody(request: ApiRequest): readonly unknown[] {
  const body = bodyJson(request);
  const entries = typeof body === 'object' && body !== null && 'entries' in body ? body.entries : undefined;
  if (!Array.isArray(entries)) throw new Fault('malformed', 'must be a list', { field: 'entries' });
  return entries;
}

function namesOf(entries: readonly { readonly kind: string; readonly name: string }[]): string[] {
  return entries.map(({ kind, name }) => `${kind}/${name}`);
}

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
      await agent
        .command({ type: 'change-config-entries', changes: entries, operator })
        .catch((error: unknown) => {
          throw error instanceof Fault ? respelled(error, body) : error;
        });
      return json({ written: entries.map(({ kind, name }) => ({ kind, name })) });
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/restore',
    summary:
      'Brings policy to what the entries of a snapshot say, all of it or none; `?prune` deletes what they do not name',
    query: ['prune'],
    bodySchema: snapshotSchema,
    maxBodyBytes: maxSnapshotBytes,
    answer: (context, request) => {
      const wanted = parseSnapshotEntries(snapshotBody(request));
      const prune = switchedOn(request, 'prune');
      const operator = operatorOf(request);
      return context.inTurn(async () => {
        const { agent } = context;
        const { changes, unchanged, kept } = planRestore(agent.policy, wanted, prune);
        if (changes.length > 0)
          await agent
            .command({ type: 'change-config-entries', changes, operator })
            .catch((error: unknown) => {
              throw error instanceof Fault ? inRestore(error, changes) : error;
            });
        return json({
          written: namesOf(changes.filter(({ entry }) => entry !== null)),
          unchanged,
          deleted: namesOf(changes.filter(({ entry }) => entry === null)),
          kept: namesOf(kept),
        });
      });
    },
  },
];
