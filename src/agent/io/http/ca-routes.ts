/** The certificate authority: its state, its roots at Consul's paths, and what operators have it do. */
import { Type } from 'typebox';
import { Fault } from '../../../core.ts';
import { maxTtlMs, minTtlMs } from '../../../trust/issuance/leaf-rules.ts';
import { csrOfPem, parseCsr } from '../../../trust/x509/csr.ts';
import { parseSpiffeId } from '../../../trust/x509/spiffe.ts';
import { type Demand, ownsHost } from '../../access.ts';
import type { SignedChain } from '../../ca/ca-port.ts';
import { authorize, parseAuthorize } from '../../consul/authorize.ts';
import { caLeafJson } from '../../consul/consul-leaf.ts';
import { caRootsJson } from '../../consul/consul-roots.ts';
import { parseDurationBetween } from '../../consul/duration.ts';
import type { ServiceDefinition } from '../../kinds.ts';
import { leafTopic } from '../../port.ts';
import { recoveryRoutes } from './recovery-routes.ts';
import {
  type Answer,
  type ApiContext,
  type ApiRequest,
  bodyJson,
  json,
  operatorOf,
  type Route,
  switchedOn,
  text,
} from './route.ts';

function roots({ agent }: ApiContext, pem: boolean): Answer {
  if (!pem) return json(caRootsJson(agent.self.trustDomain, agent.roots(), agent.catalog.indexOf('roots')));
  const pems = agent.roots().map(({ certPem }) => `${certPem.trimEnd()}\n`);
  return text(pems.join(''), 200, 'application/pem-certificate-chain');
}

const authorizeBody = Type.Object({
  Target: Type.String(),
  ClientCertURI: Type.String(),
  ClientCertSerial: Type.Optional(Type.String()),
});

const rootsPaths = ['/v1/connect/ca/roots', '/v1/agent/connect/ca/roots'];

/** Every definition of this host that bears a service's name. */
function named({ agent }: ApiContext, service: string): ServiceDefinition[] {
  return agent.localServices().filter(({ name }) => name === service);
}

function leaf(context: ApiContext, { params }: ApiRequest): Answer {
  const { agent } = context;
  const service = params.service!;
  if (named(context, service).length === 0)
    throw new Fault('unknown-service', `this host has no service named "${service}"`);
  const held = agent.leaf(service);
  if (held === null) {
    const problem = agent.identities().find((identity) => identity.service === service)?.problem;
    throw new Fault('not-ready', `${service} has no certificate yet: ${problem ?? 'it is not in the mesh'}`);
  }
  const body = caLeafJson(held, agent.catalog.indexOf(leafTopic(service)));
  return { ...json(body), headers: { 'Cache-Control': 'no-store' } };
}

/** The request in the body; PEM. */
function csrIn({ body }: ApiRequest): Uint8Array {
  return csrOfPem(Buffer.from(body).toString('latin1'));
}

/** Whoever may change the service that the request names: one that is not here belongs to the host. */
function ofRequest({ agent }: ApiContext, request: ApiRequest): Demand {
  const { service } = parseSpiffeId(parseCsr(csrIn(request)).spiffeId);
  const { caller } = request;
  const mine = agent.localServices().filter(({ name }) => name === service);
  const uid = caller.type === 'local' ? caller.uid : null;
  return { type: 'service', service: mine.find((one) => one.uid === uid) ?? mine[0] };
}

/** Whose requests are counted. */
function userOf({ caller, authority }: ApiRequest): number | null {
  const isFree = authority.operator || ownsHost(caller, authority.agentUid);
  return caller.type === 'local' && !isFree ? caller.uid : null;
}

async function sign({ agent }: ApiContext, request: ApiRequest): Promise<Answer> {
  const ttl = request.query.get('ttl');
  const ttlMs = ttl === null || ttl === '' ? null : parseDurationBetween(ttl, 'ttl', minTtlMs, maxTtlMs);
  const user = userOf(request);
  const command = { type: 'sign-csr', csr: csrIn(request), ttlMs, user } as const;
  const { certPem } = (await agent.command(command)) as SignedChain;
  return text(certPem, 200, 'application/pem-certificate-chain');
}

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
    style: 'consul',
    access: (context, { params }) => ({ type: 'key', services: named(context, params.service!) }),
    accessNote: "Root, the agent's own user, and the user that the service's definition names; no token.",
    path: '/v1/agent/connect/ca/leaf/:service',
    summary: 'The certificate and private key of a service of this host; 503 while it has none',
    topic: (_, { params }) => leafTopic(params.service!),
    answer: leaf,
  },
  {
    method: 'POST',
    style: 'consul',
    access: 'read',
    path: '/v1/agent/connect/authorize',
    summary:
      'Whether the holder of a certificate may call a service, by the intentions that the proxy enforces',
    bodySchema: authorizeBody,
    answer: ({ agent }, request) => {
      const { defaultIntention, denied } = agent.view();
      const { trustDomain } = agent.self;
      const context = { trustDomain, policy: agent.policy, defaultIntention, deniedSerials: denied.serials };
      return json(authorize(parseAuthorize(bodyJson(request)), context));
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: ofRequest,
    path: '/v1/mesh/ca/sign',
    summary:
      'A certificate for a key that the agent does not hold: the body is a PEM signing request (P-256, empty ' +
      'subject, the SPIFFE id and DNS name of a service that this host may run, nothing else), the answer the ' +
      'chain, PEM; `?ttl` for how long it lasts',
    query: ['ttl'],
    answer: sign,
  },
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
    path: '/v1/mesh/ca/log/reset',
    summary:
      'Begins another issuance log on this host where its own cannot be read, so that it signs again; what it signed ' +
      'before is known to other trustees alone; 409 where the log is well',
    answer: async ({ agent }, request) =>
      json(await agent.command({ type: 'reset-log', operator: operatorOf(request) })),
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
  ...recoveryRoutes,
];
