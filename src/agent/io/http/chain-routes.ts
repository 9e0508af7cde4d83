/** `/v1/discovery-chain`: what policy makes of a service, as a graph. */
import { Fault } from '../../../core.ts';
import { discoveryChain } from '../../discovery-chain.ts';
import { serviceNamePattern } from '../../kinds.ts';
import { datacenterOf, json, type Route } from './route.ts';

export const chainRoutes: readonly Route[] = [
  {
    method: 'GET',
    style: 'consul',
    access: 'read',
    path: '/v1/discovery-chain/:service',
    summary: 'What routers, splitters and resolvers make of a service, for callers in `?compile-dc`',
    query: ['dc', 'compile-dc'],
    topic: () => 'config',
    answer: (context, request) => {
      const service = request.params.service!;
      const datacenter = request.query.get('compile-dc') || datacenterOf(context, request);
      if (!serviceNamePattern.test(service))
        throw new Fault('bad-query', `"${service.slice(0, 64)}" is not the name of a service`);
      if (!serviceNamePattern.test(datacenter))
        throw new Fault('bad-query', 'must be a datacenter', { field: 'compile-dc' });
      const { agent } = context;
      const { trustDomain } = agent.self;
      return json({ Chain: discoveryChain(agent.policy, { service, datacenter, trustDomain }) });
    },
  },
];
