/** `/v1/health`: instances and checks with their status. */

import { Fault } from '../../../core.ts';
import type { CheckEntry, HostEntry } from '../../catalog/catalog.ts';
import { allChecksOf, checkJson, healthJson, serviceJson, sidecarJson } from '../../consul/consul.ts';
import { checkShape, healthShape } from '../../consul/consul-shapes.ts';
import { hostsOf, hostTopic, instancesOf, listQuery, serviceTopic } from './catalog-routes.ts';
import { rows } from './filtered.ts';
import { type ApiContext, type ApiRequest, hostOf, json, type Route, switchedOn } from './route.ts';

const consulRead = { method: 'GET', style: 'consul', access: 'read' } as const;

/** Instances that pass, if only those are asked for. */
function healthy(context: ApiContext, request: ApiRequest): ReturnType<typeof instancesOf> {
  const found = instancesOf(context, request);
  if (!switchedOn(request, 'passing')) return found;
  return found.filter((entry) => context.agent.catalog.statusOf(entry) === 'passing');
}

interface Row {
  readonly host: HostEntry;
  readonly check: CheckEntry;
}

function checksByHost(context: ApiContext, request: ApiRequest): Row[] {
  return hostsOf(context, request).flatMap((host) =>
    allChecksOf(context.agent.catalog, host).map((check) => ({ host, check })),
  );
}

const states = new Set(['any', 'passing', 'warning', 'critical']);

export const healthRoutes: readonly Route[] = [
  {
    ...consulRead,
    path: '/v1/health/service/:service',
    summary: 'Instances of a service with their checks',
    query: [...listQuery, 'tag', 'passing'],
    topic: serviceTopic,
    filter: { shape: healthShape, keep: rows },
    answer: (context, request) =>
      json(
        healthy(context, request).map((entry) =>
          healthJson(context.agent.catalog, entry, serviceJson(entry)),
        ),
      ),
  },
  {
    ...consulRead,
    path: '/v1/health/connect/:service',
    summary: 'Where clients with an SVID dial the instances of a service, with their checks',
    query: [...listQuery, 'tag', 'passing'],
    topic: serviceTopic,
    filter: { shape: healthShape, keep: rows },
    answer: (context, request) =>
      json(
        healthy(context, request)
          .filter((entry) => entry.definition.inMesh)
          .map((entry) => healthJson(context.agent.catalog, entry, sidecarJson(entry))),
      ),
  },
  {
    ...consulRead,
    path: '/v1/health/checks/:service',
    summary: 'Checks of the instances of a service',
    query: listQuery,
    topic: serviceTopic,
    filter: { shape: checkShape, keep: rows },
    answer: (context, request) =>
      json(
        instancesOf(context, request).flatMap((entry) =>
          context.agent.catalog.checksOfService(entry).map((check) => checkJson(entry.host, check)),
        ),
      ),
  },
  {
    ...consulRead,
    path: '/v1/health/node/:node',
    summary: 'Every check of a host and its services',
    topic: hostTopic,
    filter: { shape: checkShape, keep: rows },
    answer: (context, request) => {
      const host = hostOf(context, request.params.node!);
      if (host === undefined) return json([]);
      return json(allChecksOf(context.agent.catalog, host).map((check) => checkJson(host, check)));
    },
  },
  {
    ...consulRead,
    path: '/v1/health/state/:state',
    summary: 'Checks in a state: any, passing, warning or critical',
    query: listQuery,
    topic: () => 'checks',
    filter: { shape: checkShape, keep: rows },
    answer: (context, request) => {
      const { state } = request.params;
      if (!states.has(state!))
        throw new Fault('bad-query', `"${state}" is not one of ${[...states].join(', ')}`, {
          field: 'state',
        });
      return json(
        checksByHost(context, request)
          .filter(({ check }) => state === 'any' || check.value.status === state)
          .map(({ host, check }) => checkJson(host, check)),
      );
    },
  },
];
