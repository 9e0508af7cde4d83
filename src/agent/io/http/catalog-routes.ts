/** `/v1/catalog` and `/v1/status`: which hosts and services there are, as Consul's clients ask. */

import { byCodeUnit, type HostId } from '../../../core.ts';
import { compileFilter } from '../../../proxy/filter/filter.ts';
import type { HostEntry, ServiceEntry } from '../../catalog/catalog.ts';
import { byNearness } from '../../catalog/nearness.ts';
import { catalogServiceJson, nodeJson, nodeMeta, serviceJson, sidecarJson } from '../../consul/consul.ts';
import { catalogServiceShape, nodeShape, serviceShape } from '../../consul/consul-shapes.ts';
import { below, rows, values } from './filtered.ts';
import { type ApiContext, type ApiRequest, datacenterOf, hostOf, json, type Route } from './route.ts';

/** Whether a host carries every `?node-meta=key:value` asked for. */
function hasNodeMeta(host: HostEntry, request: ApiRequest): boolean {
  return request.query.getAll('node-meta').every((pair) => {
    const colon = pair.indexOf(':');
    return colon > 0 && nodeMeta(host)[pair.slice(0, colon)] === pair.slice(colon + 1);
  });
}

/** Whether an instance carries every `?tag=` asked for, in any case. */
function hasTags(entry: ServiceEntry, request: ApiRequest): boolean {
  return request.query
    .getAll('tag')
    .filter((tag) => tag !== '')
    .every((tag) => entry.definition.tags.some((own) => own.toLowerCase() === tag.toLowerCase()));
}

/**
 * Sorts by the round trip from the host that `?near` names; `_agent` is this one. A name that no host has
 * leaves the order as it is, as in Consul. What was measured from here stands in for an estimate not there yet.
 */
function near<T>(context: ApiContext, request: ApiRequest, rows: T[], hostOfRow: (row: T) => HostEntry): T[] {
  const asked = request.query.get('near');
  if (asked === null || asked === '') return rows;
  const { agent } = context;
  const isSelf = asked === '_agent' || asked === agent.self.name;
  const from = isSelf ? agent.self.id : hostOf(context, asked)?.id;
  if (from === undefined) return rows;
  const measuredMs = (to: HostId): number | null =>
    isSelf ? (agent.catalog.host(to)?.roundTripMs ?? null) : null;
  return byNearness(
    rows,
    from,
    (row) => hostOfRow(row).id,
    (_from, to) => agent.estimateMs(from, to) ?? measuredMs(to),
  );
}

/** Instances of `:service` in the datacenter asked for, filtered and ordered as the query says. */
export function instancesOf(context: ApiContext, request: ApiRequest): ServiceEntry[] {
  const datacenter = datacenterOf(context, request);
  const found = context.agent.catalog
    .instances(request.params.service!)
    .filter((entry) => entry.host.value.datacenter === datacenter)
    .filter((entry) => hasNodeMeta(entry.host, request) && hasTags(entry, request));
  return near(context, request, found, (entry) => entry.host);
}

/** Present hosts of the datacenter asked for. */
export function hostsOf(context: ApiContext, request: ApiRequest): HostEntry[] {
  const datacenter = datacenterOf(context, request);
  const found = context.agent.catalog
    .presentHosts()
    .filter((host) => host.value.datacenter === datacenter && hasNodeMeta(host, request));
  return near(context, request, found, (host) => host);
}

/** Service names with the union of their instances' tags. `?filter` chooses among the instances. */
function services(context: ApiContext, request: ApiRequest): { [name: string]: string[] } {
  const found: { [name: string]: string[] } = {};
  const datacenter = datacenterOf(context, request);
  const asked = request.query.get('filter')?.trim() ?? '';
  const filter = asked === '' ? null : compileFilter(asked, catalogServiceShape);
  for (const name of context.agent.catalog.serviceNames()) {
    const entries = context.agent.catalog
      .instances(name)
      .filter((entry) => entry.host.value.datacenter === datacenter && hasNodeMeta(entry.host, request))
      .filter((entry) => filter === null || filter.matches(catalogServiceJson(entry, serviceJson(entry))));
    if (entries.length === 0) continue;
    found[name] = [...new Set(entries.flatMap((entry) => entry.definition.tags))].sort(byCodeUnit);
  }
  return found;
}

function servicesOfHost(host: HostEntry): ServiceEntry[] {
  return [...host.services.values()].sort((a, b) => byCodeUnit(a.definition.id, b.definition.id));
}

const consulRead = { method: 'GET', style: 'consul', access: 'read' } as const;
export const listQuery: readonly string[] = ['dc', 'near', 'node-meta'];
export const serviceTopic = (_context: ApiContext, request: ApiRequest): string =>
  `service:${request.params.service}`;
export const hostTopic = (context: ApiContext, request: ApiRequest): string =>
  `node:${hostOf(context, request.params.node!)?.value.name ?? request.params.node}`;

export const catalogRoutes: readonly Route[] = [
  {
    ...consulRead,
    path: '/v1/catalog/datacenters',
    summary: 'Datacenters that hosts say they are in, this one first',
    answer: ({ agent }) => {
      const others = new Set(agent.catalog.presentHosts().map((host) => host.value.datacenter));
      others.delete(agent.self.datacenter);
      return json([agent.self.datacenter, ...[...others].sort(byCodeUnit)]);
    },
  },
  {
    ...consulRead,
    path: '/v1/catalog/nodes',
    summary: 'Hosts that have not left',
    query: listQuery,
    topic: () => 'nodes',
    filter: { shape: nodeShape, keep: rows },
    answer: (context, request) => json(hostsOf(context, request).map(nodeJson)),
  },
  {
    ...consulRead,
    path: '/v1/catalog/services',
    summary: 'Service names and their tags',
    query: listQuery,
    topic: () => 'services',
    filter: { shape: catalogServiceShape, keep: (body) => body },
    answer: (context, request) => json(services(context, request)),
  },
  {
    ...consulRead,
    path: '/v1/catalog/service/:service',
    summary: 'Instances of a service, whatever their health',
    query: [...listQuery, 'tag'],
    topic: serviceTopic,
    filter: { shape: catalogServiceShape, keep: rows },
    answer: (context, request) =>
      json(instancesOf(context, request).map((entry) => catalogServiceJson(entry, serviceJson(entry)))),
  },
  {
    ...consulRead,
    path: '/v1/catalog/connect/:service',
    summary: 'Where clients with an SVID dial the instances of a service',
    query: [...listQuery, 'tag'],
    topic: serviceTopic,
    filter: { shape: catalogServiceShape, keep: rows },
    answer: (context, request) =>
      json(
        instancesOf(context, request)
          .filter((entry) => entry.definition.inMesh)
          .map((entry) => catalogServiceJson(entry, sidecarJson(entry))),
      ),
  },
  {
    ...consulRead,
    path: '/v1/catalog/node/:node',
    summary: 'One host and its services by id; null when there is none',
    topic: hostTopic,
    filter: { shape: serviceShape, keep: below('Services', values) },
    answer: (context, request) => {
      const host = hostOf(context, request.params.node!);
      if (host === undefined) return json(null);
      const entries = servicesOfHost(host).map((entry) => [entry.definition.id, serviceJson(entry)]);
      return json({ Node: nodeJson(host), Services: Object.fromEntries(entries) });
    },
  },
  {
    ...consulRead,
    path: '/v1/catalog/node-services/:node',
    summary: 'One host and its services as a list; null when there is none',
    topic: hostTopic,
    filter: { shape: serviceShape, keep: below('Services', rows) },
    answer: (context, request) => {
      const host = hostOf(context, request.params.node!);
      if (host === undefined) return json(null);
      return json({ Node: nodeJson(host), Services: servicesOfHost(host).map(serviceJson) });
    },
  },
  {
    ...consulRead,
    path: '/v1/status/leader',
    summary: 'There is no leader: this agent answers for itself',
    answer: ({ agent }) => json(`${agent.self.advertise}:${agent.self.gossipPort}`),
  },
  {
    ...consulRead,
    path: '/v1/status/peers',
    summary: 'Every live member',
    answer: ({ agent }) =>
      json(
        agent.catalog
          .presentHosts()
          .filter((host) => host.state !== 'down')
          .map((host) => `${host.value.address}:${host.value.gossipPort}`),
      ),
  },
];
