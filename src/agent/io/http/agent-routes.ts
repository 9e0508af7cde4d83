/** `/v1/agent`: this host, its services and its membership, as Consul's clients ask. */

import { byCodeUnit, Fault } from '../../../core.ts';
import { type Demand, refusalOfReplacement } from '../../access.ts';
import { type HostEntry, worse } from '../../catalog/catalog.ts';
import { maintenanceCheckId } from '../../catalog/registry.ts';
import {
  agentHealthJson,
  agentServiceJson,
  contentHash,
  healthHttpStatus,
  type Json,
  memberJson,
  nodeMeta,
  nodeUuid,
} from '../../consul/consul.ts';
import { agentServiceShape, memberShape } from '../../consul/consul-shapes.ts';
import { parseDefinition } from '../../consul/definition.ts';
import type { CheckStatus, ServiceDefinition } from '../../kinds.ts';
import { rows, values } from './filtered.ts';
import {
  type Answer,
  type ApiContext,
  type ApiRequest,
  bodyJson,
  json,
  needed,
  operatorOf,
  ownHost,
  ownService,
  parseSwitch,
  type Route,
  switchedOn,
  text,
} from './route.ts';

const consulRead = { method: 'GET', style: 'consul', access: 'read' } as const;
const ownTopic = ({ agent }: ApiContext): string => `node:${agent.self.name}`;

/** The service named in the path belongs to whoever its definition names. */
const ofService = ({ agent }: ApiContext, request: ApiRequest): Demand => ({
  type: 'service',
  service: agent.localServices().find(({ id }) => id === request.params.id),
});

/** `?enable=`, required as in Consul. */
function enableOf(request: ApiRequest): boolean {
  const enable = parseSwitch(needed(request, 'enable'));
  if (enable === null) throw new Fault('bad-query', 'must be true or false', { field: 'enable' });
  return enable;
}

/** Builds are told apart by their version alone. */
const buildDate = '1970-01-01T00:00:00Z';

/** The JSON of `agent/self`, with the fields that clients read. */
function self(context: ApiContext): Json {
  const { agent } = context;
  const { self: own } = agent;
  const host = agent.catalog.host(own.id);
  return {
    Config: {
      Datacenter: own.datacenter,
      PrimaryDatacenter: own.datacenter,
      NodeName: own.name,
      NodeID: nodeUuid(own.id),
      AdvertiseAddr: own.advertise,
      Server: false,
      Revision: own.meshId,
      Version: own.version,
      BuildDate: buildDate,
    },
    DebugConfig: {},
    Coord: null,
    Member: host === undefined ? null : memberJson(host),
    Stats: {
      agent: {
        check_monitors: '0',
        checks: String(host?.checks.size ?? 0),
        services: String(host?.services.size ?? 0),
      },
      mesh: {
        id: own.meshId,
        trust_domain: own.trustDomain,
        members: String(agent.catalog.allHosts().length),
      },
    },
    Meta: host === undefined ? {} : nodeMeta(host),
  };
}

/** Checks and registers one definition. */
async function register(context: ApiContext, request: ApiRequest): Promise<Answer> {
  const definition = parseRegistration(context, request);
  const before = context.agent.localServices().find(({ id }) => id === definition.id);
  const refusal = refusalOfReplacement(request.caller, request.authority, before, definition);
  if (refusal !== null) throw refusal;
  await context.agent.command({ type: 'register-service', definition });
  if (switchedOn(request, 'replace-existing-checks'))
    for (const id of checksBeside(context, definition))
      await context.agent.command({ type: 'deregister-check', id });
  return text('');
}

/** Checks that were registered for a service by themselves. */
function checksBeside({ agent }: ApiContext, { id, checks }: ServiceDefinition): string[] {
  const defined = new Set([maintenanceCheckId(id), ...checks.map((check) => check.id)]);
  const all = [...(agent.catalog.host(agent.self.id)?.checks.values() ?? [])];
  return all
    .filter((check) => check.value.serviceId === id && !defined.has(check.id))
    .map((check) => check.id);
}

/** The definition in the body, its user looked up on this host. */
function parseRegistration(context: ApiContext, request: ApiRequest): ServiceDefinition {
  const definition = parseDefinition(bodyJson(request), { type: 'api' });
  if (definition.user === '' || definition.uid !== null) return definition;
  const uid = context.uidOfUser(definition.user);
  if (uid === null)
    throw new Fault('invalid-field', `User: "${definition.user}" is not a user of this host`, {
      field: 'User',
    });
  return { ...definition, uid };
}

/** Instances of this host with a name, with the worst status of all. */
function healthByName(context: ApiContext, request: ApiRequest): Answer {
  const { catalog } = context.agent;
  const { name } = request.params;
  const entries = [...ownHost(context).services.values()]
    .filter((entry) => entry.definition.name === name)
    .sort((a, b) => byCodeUnit(a.definition.id, b.definition.id));
  if (entries.length === 0) throw new Fault('not-found', `ServiceName ${name} Not Found`);
  let status: CheckStatus = 'passing';
  for (const entry of entries) status = worse(status, catalog.statusOf(entry));
  if (request.query.get('format') === 'text') return text(status, healthHttpStatus[status]);
  return json(
    entries.map((entry) => agentHealthJson(catalog, entry)),
    healthHttpStatus[status],
  );
}

function healthById(context: ApiContext, request: ApiRequest): Answer {
  const { catalog } = context.agent;
  const entry = context.agent.catalog.host(context.agent.self.id)?.services.get(request.params.id!);
  if (entry === undefined) throw new Fault('not-found', `ServiceId ${request.params.id} not found`);
  const status = catalog.statusOf(entry);
  if (request.query.get('format') === 'text') return text(status, healthHttpStatus[status]);
  return json(agentHealthJson(catalog, entry), healthHttpStatus[status]);
}

/** An agent enters a mesh when it starts, with a token; asking again for the mesh it is in changes nothing. */
function join({ agent }: ApiContext, request: ApiRequest): Answer {
  const target = request.params.address!;
  const known = agent.catalog.presentHosts().some(({ value }) => {
    const address = value.address.includes(':') ? `[${value.address}]` : value.address;
    return [value.address, address, `${address}:${value.gossipPort}`, value.name].includes(target);
  });
  if (known) return text('');
  throw new Fault(
    'conflict',
    `This agent is in mesh ${agent.self.meshId} already and ${target} is not a member of it; ` +
      'start the agent there with --join and a token',
  );
}

/**
 * The host is named by name, Consul node id or host id. A name may have passed to another: by it the host that is down
 * is meant, then the one that left, and one that is alive never. What it said stays until it is collected.
 */
async function forceLeave(context: ApiContext, request: ApiRequest): Promise<Answer> {
  const { agent } = context;
  if (request.query.has('prune') && switchedOn(request, 'prune'))
    throw new Fault('unsupported', 'what a host said that left is collected by itself', { field: 'prune' });
  const named = request.params.name!;
  const hosts = agent.catalog.allHosts();
  const namesakes = hosts.filter(({ value }) => value.name === named);
  const host =
    hosts.find(({ id }) => id === named || nodeUuid(id) === named) ??
    namesakes.find(({ state }) => state === 'down') ??
    namesakes.find(({ state }) => state === 'left');
  if (host === undefined) throw unableToForce(named, namesakes);
  return json(await agent.command({ type: 'force-leave', host: host.id, operator: operatorOf(request) }));
}

function unableToForce(named: string, alive: readonly HostEntry[]): Fault {
  const field = { field: 'name' };
  if (alive.length === 0) return new Fault('unknown-host', `there is no host "${named}"`, field);
  const [{ id, state }] = alive as [HostEntry];
  return new Fault(
    'conflict',
    `${named} is ${state}; if it is meant all the same, name it by its id: ${id}`,
    field,
  );
}

export const agentRoutes: readonly Route[] = [
  { ...consulRead, path: '/v1/agent/self', summary: 'This agent', answer: (context) => json(self(context)) },
  {
    ...consulRead,
    path: '/v1/agent/version',
    summary: 'What runs here',
    answer: ({ agent }) =>
      json({ SHA: '', BuildDate: buildDate, HumanVersion: agent.self.version, FIPS: '' }),
  },
  {
    ...consulRead,
    path: '/v1/agent/members',
    summary: 'Every host of the mesh, those that left included',
    filter: { shape: memberShape, keep: rows },
    answer: ({ agent }) => json(agent.catalog.allHosts().map(memberJson)),
  },
  {
    ...consulRead,
    path: '/v1/agent/services',
    summary: 'Services registered on this host, by id',
    filter: { shape: agentServiceShape, keep: values },
    answer: ({ agent }) => {
      const entries = [...(agent.catalog.host(agent.self.id)?.services.values() ?? [])];
      return json(Object.fromEntries(entries.map((entry) => [entry.definition.id, agentServiceJson(entry)])));
    },
  },
  {
    ...consulRead,
    path: '/v1/agent/service/:id',
    summary: 'One service of this host; `?hash` blocks until its content changes',
    query: ['hash'],
    topic: ownTopic,
    hash: (context, request) => contentHash(ownService(context, request.params.id!)),
    answer: (context, request) => {
      const entry = ownService(context, request.params.id!);
      return { ...json(agentServiceJson(entry)), headers: { 'X-Consul-ContentHash': contentHash(entry) } };
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/service/register',
    summary: 'Registers a service on this host, or replaces the one of the same id',
    query: ['replace-existing-checks'],
    access: (context, request) => {
      const { id } = parseRegistration(context, request);
      return { type: 'service', service: context.agent.localServices().find((service) => service.id === id) };
    },
    answer: register,
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/service/deregister/:id',
    summary: 'Takes a service of this host back',
    access: ofService,
    answer: async (context, request) => {
      ownService(context, request.params.id!);
      await context.agent.command({ type: 'deregister-service', id: request.params.id! });
      return text('');
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/service/maintenance/:id',
    summary: 'Takes a service out of rotation, or puts it back',
    query: ['enable', 'reason'],
    access: ofService,
    answer: async (context, request) => {
      const enable = enableOf(request);
      ownService(context, request.params.id!);
      const reason = request.query.get('reason') ?? '';
      await context.agent.command({ type: 'maintenance', serviceId: request.params.id!, enable, reason });
      return text('');
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/maintenance',
    summary: 'Takes every service of this host out of rotation, or puts them back',
    query: ['enable', 'reason'],
    access: 'host',
    answer: async ({ agent }, request) => {
      const enable = enableOf(request);
      const reason = request.query.get('reason') ?? '';
      await agent.command({ type: 'maintenance', serviceId: '', enable, reason });
      return text('');
    },
  },
  {
    ...consulRead,
    path: '/v1/agent/health/service/name/:name',
    summary: 'Health of a service on this host by name: 200, 429 or 503',
    query: ['format'],
    answer: healthByName,
  },
  {
    ...consulRead,
    path: '/v1/agent/health/service/id/:id',
    summary: 'Health of a service on this host by id: 200, 429 or 503',
    query: ['format'],
    answer: healthById,
  },
  {
    method: 'PUT',
    style: 'consul',
    access: 'host',
    path: '/v1/agent/join/:address',
    summary: 'Nothing to do for a member; an agent joins when it starts',
    answer: join,
  },
  {
    method: 'PUT',
    style: 'consul',
    access: 'mesh',
    path: '/v1/agent/force-leave/:name',
    summary: 'Says for a host that cannot say it any more that it left; one that is alive refutes it',
    query: ['prune'],
    answer: forceLeave,
  },
  {
    method: 'PUT',
    style: 'consul',
    access: 'host',
    path: '/v1/agent/leave',
    summary: 'Drains, tells the mesh, stops this agent',
    answer: async ({ agent }) => {
      await agent.command({ type: 'leave' });
      return text('');
    },
  },
];
