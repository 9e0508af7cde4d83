/** Where monitoring finds what there is to scrape. */
import { targetGroups } from '../../consul/prometheus-targets.ts';
import { instancesOf, listQuery } from './catalog-routes.ts';
import { json, type Route } from './route.ts';

const read = { method: 'GET', style: 'starling', access: 'read' } as const;

export const discoveryRoutes: readonly Route[] = [
  {
    ...read,
    path: '/v1/mesh/targets',
    summary:
      "Every instance of every service in the form of Prometheus' HTTP service discovery, labelled as by its " +
      'discovery through Consul',
    query: [...listQuery, 'tag'],
    answer: (context, request) => {
      const { catalog } = context.agent;
      const entries = catalog
        .serviceNames()
        .flatMap((service) => instancesOf(context, { ...request, params: { service } }));
      return json(targetGroups(catalog, entries));
    },
  },
  {
    ...read,
    path: '/v1/mesh/targets/:service',
    summary: 'As `/v1/mesh/targets`, of one service',
    query: [...listQuery, 'tag'],
    answer: (context, request) => json(targetGroups(context.agent.catalog, instancesOf(context, request))),
  },
];
