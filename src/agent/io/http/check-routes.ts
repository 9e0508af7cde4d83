/** `/v1/agent/check`: checks of this host, and the results that applications report for theirs. */

import { Fault } from '../../../core.ts';
import type { Demand } from '../../access.ts';
import { type CheckEntry, hostCheckId } from '../../catalog/catalog.ts';
import { parseCheckRegistration } from '../../consul/check-definition.ts';
import { checkDefinitionOf, checkJson } from '../../consul/consul.ts';
import { checkShape } from '../../consul/consul-shapes.ts';
import { Fields } from '../../consul/fields.ts';
import type { CheckStatus, ServiceDefinition } from '../../kinds.ts';
import { values } from './filtered.ts';
import { type Answer, type ApiContext, type ApiRequest, bodyJson, json, type Route, text } from './route.ts';

/** Longest output an application may report, UTF-16 code units. */
const maxReportLength = 4096;

function serviceOf({ agent }: ApiContext, id: string): ServiceDefinition | undefined {
  return agent.localServices().find((service) => service.id === id);
}

/** A check of this host by the id in the path. */
function ownCheck({ agent }: ApiContext, request: ApiRequest): CheckEntry {
  const id = request.params.id!;
  const check = agent.catalog.host(agent.self.id)?.checks.get(id);
  if (check === undefined)
    throw new Fault(
      'not-found',
      `Unknown check ID "${id}". Ensure that the check ID is passed, not the check name.`,
    );
  return check;
}

/** Checks of a service belong to its user, checks of the host to those who own the host. */
function demandOf(context: ApiContext, serviceId: string): Demand {
  return serviceId === '' ? { type: 'host' } : { type: 'service', service: serviceOf(context, serviceId) };
}

/** An id that does not exist is told only to those who may change the host. */
function ofCheck(context: ApiContext, request: ApiRequest): Demand {
  const { agent } = context;
  const check = agent.catalog.host(agent.self.id)?.checks.get(request.params.id!);
  return demandOf(context, check?.value.serviceId ?? '');
}

async function report(
  context: ApiContext,
  request: ApiRequest,
  status: CheckStatus,
  output: string,
): Promise<Answer> {
  const check = ownCheck(context, request);
  if (check.value.type !== 'ttl')
    throw new Fault('malformed', `CheckID "${check.id}" does not have associated TTL`, { field: 'CheckID' });
  const clipped = output.slice(0, maxReportLength);
  await context.agent.command({ type: 'report-ttl', checkId: check.id, status, output: clipped });
  return text('');
}

const reports: readonly (readonly [verb: string, status: CheckStatus])[] = [
  ['pass', 'passing'],
  ['warn', 'warning'],
  ['fail', 'critical'],
];

export const checkRoutes: readonly Route[] = [
  {
    method: 'GET',
    style: 'consul',
    access: 'read',
    path: '/v1/agent/checks',
    summary: 'Checks of this host and its services, by id',
    filter: { shape: checkShape, keep: values },
    answer: ({ agent }) => {
      const host = agent.catalog.host(agent.self.id);
      if (host === undefined) return json({});
      const services = agent.localServices();
      const checks = [...host.checks.values()].filter((check) => check.id !== hostCheckId);
      return json(
        Object.fromEntries(
          checks.map((check) => [check.id, checkJson(host, check, checkDefinitionOf(services, check.id))]),
        ),
      );
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/check/register',
    summary: 'Adds a check to this host, or to the service that `ServiceID` names',
    access: (context, request) =>
      demandOf(context, parseCheckRegistration(bodyJson(request), { type: 'api' }).serviceId),
    answer: async ({ agent }, request) => {
      const { serviceId, check } = parseCheckRegistration(bodyJson(request), { type: 'api' });
      await agent.command({ type: 'register-check', serviceId, check });
      return text('');
    },
  },
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/check/deregister/:id',
    summary: 'Takes a check of this host back',
    access: ofCheck,
    answer: async (context, request) => {
      const { id } = ownCheck(context, request);
      await context.agent.command({ type: 'deregister-check', id });
      return text('');
    },
  },
  ...reports.map(
    ([verb, status]): Route => ({
      method: 'PUT',
      style: 'consul',
      path: `/v1/agent/check/${verb}/:id`,
      summary: `Reports a TTL check as ${status}`,
      query: ['note'],
      access: ofCheck,
      answer: (context, request) => report(context, request, status, request.query.get('note') ?? ''),
    }),
  ),
  {
    method: 'PUT',
    style: 'consul',
    path: '/v1/agent/check/update/:id',
    summary: 'Reports a TTL check with `{Status, Output}`',
    access: ofCheck,
    answer: (context, request) => {
      const fields = new Fields(bodyJson(request), '');
      const status = fields.word('Status', ['passing', 'warning', 'critical'], 'passing');
      if (!fields.has('Status')) throw fields.fault('missing-field', 'Status', 'is required');
      const output = fields.string('Output', '', Number.MAX_SAFE_INTEGER);
      fields.end();
      return report(context, request, status, output);
    },
  },
];
