/** The certificate authority: its state, its roots at Consul's paths, and what operators have it do. */
import { caRootsJson } from '../../consul-roots.ts';
import { type Answer, type ApiContext, json, operatorOf, type Route, switchedOn, text } from './route.ts';

function roots({ agent }: ApiContext, pem: boolean): Answer {
  if (!pem) return json(caRootsJson(agent.self.trustDomain, agent.roots(), agent.catalog.indexOf('roots')));
  const pems = agent.roots().map(({ certPem }) => `${certPem.trimEnd()}\n`);
  return text(pems.join(''), 200, 'application/pem-certificate-chain');
}

const rootsPaths = ['/v1/connect/ca/roots', '/v1/agent/connect/ca/roots'];

export const caRoutes: readonly Route[] = [
  ...rootsPaths.map(
    (path): Route => ({
      method: 'GET',
      style: 'consul',
      access: 'read',
      path,
      summary: 'The trust bundle; `?pem` for the certificates alone',
      query: ['pem'],
      topic: () => 'roots',
      answer: (context, request) => roots(context, switchedOn(request, 'pem')),
    }),
  ),
  {
    method: 'GET',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/ca',
    summary:
      'The certificate authority: every root and what it waits for, the trustees of the epoch in force and which ' +
      'are here, whether this host holds a share, and the identities of this host',
    answer: ({ agent }) => json(agent.ca()),
  },
  {
    method: 'GET',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/ca/log',
    summary:
      'Everything that was signed with the roots, as the logs of this host and of all trustees tell it, each checked ' +
      'against its signed head; `sources` says whose could not be read, `?host=NAME` keeps what one host asked for',
    query: ['host'],
    answer: async ({ agent }, request) => {
      const host = request.query.get('host') ?? '';
      return json(await agent.command({ type: 'read-ca-log', host: host === '' ? null : host }));
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/ca/rotate',
    summary:
      'Has the trustees make a new root, sign with it once every live host believes it, and retire the present ' +
      'one; 409 while a rotation is under way, and where one host holds the root',
    answer: async ({ agent }, request) =>
      json(await agent.command({ type: 'rotate-root', operator: operatorOf(request) })),
  },
];
