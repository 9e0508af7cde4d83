/** `/v1/discovery-chain`: what policy makes of a service, as a graph. */
import { Fault } from '../../../core.ts';
import { type ChainOverrides, noOverrides, parseChainOverrides } from '../../consul/chain-overrides.ts';
import { discoveryChain } from '../../consul/discovery-chain.ts';
import { serviceNamePattern } from '../../kinds.ts';
import {
  type Answer,
  type ApiContext,
  type ApiRequest,
  bodyJson,
  datacenterOf,
  json,
  type Route,
} from './route.ts';

const chain = {
  style: 'consul',
  access: 'read',
  path: '/v1/discovery-chain/:service',
  query: ['dc', 'compile-dc'],
  topic: () => 'config',
} as const;

/** As Consul: `?dc` must be one that is there, `?compile-dc` may be one that is still to come. */
function answer(context: ApiContext, request: ApiRequest, overrides: ChainOverrides): Answer {
  const service = request.params.service!;
  const asked = datacenterOf(context, request);
  const datacenter = request.query.get('compile-dc') || asked;
  if (!serviceNamePattern.test(service))
    throw new Fault('bad-query', `"${service.slice(0, 64)}" is not the name of a service`);
  if (!serviceNamePattern.test(datacenter))
    throw new Fault('bad-query', 'must be a datacenter', { field: 'compile-dc' });
  const { agent } = context;
  const { trustDomain } = agent.self;
  return json({ Chain: discoveryChain(agent.policy, { service, datacenter, trustDomain, overrides }) });
}

export const chainRoutes: readonly Route[] = [
  {
    ...chain,
    method: 'GET',
    summary: 'What routers, splitters and resolvers make of a service, for callers in `?compile-dc`',
    answer: (context, request) => answer(context, request, noOverrides),
  },
  {
    ...chain,
    method: 'POST',
    summary: 'The same with another protocol, connect timeout or mesh gateway mode than policy says',
    answer: (context, request) => answer(context, request, parseChainOverrides(bodyJson(request))),
  },
];
