/** `/v1/mesh`: what Starling has that Consul has not; its certificate authority is in `ca-routes.ts`. */
import { Type } from 'typebox';
import { Fault, type HostId } from '../../../core.ts';
import { grantRoles, maxGrantServices, maxGrantUses } from '../../../trust/admission/grant.ts';
import { labelPattern } from '../../../trust/x509/spiffe.ts';
import type { HostEntry } from '../../catalog/catalog.ts';
import { memberStatuses } from '../../catalog/member-status.ts';
import { parseDurationBetween } from '../../consul/duration.ts';
import { maxTokenTtlMs, minTokenTtlMs } from '../../port.ts';
import { type Answer, type ApiContext, type ApiRequest, json, operatorOf, type Route } from './route.ts';
import { shapedBody } from './shaped-body.ts';

const starlingRead = { method: 'GET', style: 'starling', access: 'read' } as const;

const defaultTokenTtlMs = 3_600_000;

export const tokenBody = Type.Object(
  {
    services: Type.Optional(
      Type.Array(Type.String({ pattern: labelPattern.source }), { maxItems: maxGrantServices }),
    ),
    roles: Type.Optional(
      Type.Array(Type.Union(grantRoles.map((role) => Type.Literal(role))), { maxItems: grantRoles.length }),
    ),
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: maxGrantUses })),
    ttl: Type.Optional(Type.String({ maxLength: 32 })),
  },
  { additionalProperties: false },
);

function status({ agent }: ApiContext): object {
  const { self, catalog } = agent;
  const counts = { alive: 0, suspect: 0, down: 0, left: 0 };
  for (const host of catalog.allHosts()) counts[host.state]++;
  const data = agent.dataPlane();
  return {
    name: self.name,
    id: self.id,
    datacenter: self.datacenter,
    zone: self.zone,
    version: self.version,
    mesh: self.meshId,
    trustDomain: self.trustDomain,
    domain: self.domain,
    advertise: self.advertise,
    gossipPort: self.gossipPort,
    inboundPort: self.inboundPort,
    startedAt: self.startedAt,
    operatorKey: self.operatorKey,
    ready: agent.ready(),
    members: counts,
    services: catalog.serviceNames().length,
    localServices: agent.localServices().map(({ id, name }) => ({ id, name })),
    listeners: data?.listeners ?? [],
    defaultIntention: agent.view().defaultIntention,
    index: catalog.index,
  };
}

/** `?since`, or the header of a browser that reconnects; without either only what comes. */
function follow({ agent, streams }: ApiContext, { query, headers }: ApiRequest): Answer {
  const since = query.get('since') ?? headers['last-event-id'] ?? String(agent.events.lastIndex);
  if (typeof since !== 'string' || !/^\d{1,15}$/.test(since))
    throw new Fault('bad-query', 'must be the index of an event', { field: 'since' });
  const isSse = /text\/event-stream/.test(String(headers.accept ?? ''));
  const body = streams.follow({ format: isSse ? 'server-sent' : 'lines', after: Number(since) });
  const contentType = isSse ? 'text/event-stream' : 'application/x-ndjson';
  return { body, contentType, headers: { 'Cache-Control': 'no-store' } };
}

export const meshRoutes: readonly Route[] = [
  {
    ...starlingRead,
    path: '/v1/mesh/status',
    summary: 'This agent and how it sees the mesh',
    answer: (context) => json(status(context)),
  },
  {
    ...starlingRead,
    path: '/v1/mesh/members',
    summary: 'Every host, those that left included: its state, since when, and how far away it is',
    topic: () => 'nodes',
    answer: ({ agent }) => {
      const estimateMs = (a: HostId, b: HostId) => agent.estimateMs(a, b);
      const departureOf = (host: HostEntry) => agent.departureOf(host);
      return json(memberStatuses(agent.catalog.allHosts(), agent.self.id, estimateMs, departureOf));
    },
  },
  {
    ...starlingRead,
    path: '/v1/mesh/events',
    summary:
      'Follows joins, suspicions, deaths, leaves and changed records, a JSON object a line, or server-sent ' +
      'events if accepted; `?since=INDEX` begins after that event',
    query: ['since'],
    answer: follow,
  },
  {
    ...starlingRead,
    path: '/v1/mesh/check',
    summary: "The agent's diagnosis of itself",
    answer: ({ agent }) => json(agent.check()),
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/tokens',
    summary: 'Makes a token that admits hosts, or an operator; shown once',
    bodySchema: tokenBody,
    answer: async ({ agent }, request) => {
      const body = shapedBody(tokenBody, request);
      const ttlMs =
        body.ttl === undefined
          ? defaultTokenTtlMs
          : parseDurationBetween(body.ttl, 'ttl', minTokenTtlMs, maxTokenTtlMs);
      const created = await agent.command({
        type: 'create-token',
        services: body.services ?? [],
        roles: body.roles ?? [],
        uses: body.uses ?? 1,
        ttlMs,
        operator: operatorOf(request),
      });
      return { ...json(created), headers: { 'Cache-Control': 'no-store' } };
    },
  },
  {
    ...starlingRead,
    path: '/v1/mesh/tokens',
    summary: 'Every token ever made, the newest first: its terms and what became of it, never its secret',
    topic: () => 'grants',
    answer: ({ agent }) => json(agent.tokens()),
  },
  {
    method: 'DELETE',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/tokens/:id',
    summary:
      'Revokes a token: nobody joins or signs by it any more, and who joined stays; not `changed` if it was',
    answer: async ({ agent }, request) =>
      json(
        await agent.command({
          type: 'revoke-token',
          id: request.params.id!,
          operator: operatorOf(request),
        }),
      ),
  },
];
