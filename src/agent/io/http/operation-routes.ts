/** For those who run the machine: liveness, metrics, and the document that describes this API. */
import { cpus, freemem, hostname, loadavg, type as osType, totalmem, uptime } from 'node:os';
import { consulMetrics } from '../../consul/consul-metrics.ts';
import { openApiDocument } from './openapi.ts';
import { json, type Route, text } from './route.ts';

const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

export const operationRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    style: 'starling',
    access: 'read',
    summary: 'The process answers',
    answer: () => text('ok\n'),
  },
  {
    method: 'GET',
    path: '/readyz',
    style: 'starling',
    access: 'read',
    summary:
      'Own records loaded, listeners up, in touch with the mesh or alone by right; else 503 and why not',
    answer: ({ agent }) => {
      const { ready, reason } = agent.ready();
      return ready ? text('ready\n') : text(`not ready: ${reason}\n`, 503);
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    style: 'starling',
    access: 'read',
    summary: 'Everything counted, in the format of Prometheus',
    answer: async ({ agent }) => text(await agent.metrics(), 200, prometheusType),
  },
  {
    method: 'GET',
    path: '/v1/agent/metrics',
    style: 'consul',
    access: 'read',
    query: ['format'],
    summary: 'Everything counted, as Consul shows it; `?format=prometheus` for Prometheus',
    answer: async ({ agent }, request) => {
      const metrics = await agent.metrics();
      if (request.query.get('format') === 'prometheus') return text(metrics, 200, prometheusType);
      return json(consulMetrics(metrics, agent.now()));
    },
  },
  {
    method: 'GET',
    path: '/v1/agent/host',
    style: 'consul',
    access: 'read',
    summary: 'The machine: memory, processors, load',
    answer: ({ agent }) =>
      json({
        Memory: { total: totalmem(), free: freemem() },
        CPU: cpus().map(({ model, speed }) => ({ modelName: model, mhz: speed })),
        Host: { hostname: hostname(), os: osType(), uptime: Math.round(uptime()), load: loadavg() },
        Disk: null,
        CollectionTime: agent.now() * 1_000_000,
        Errors: null,
      }),
  },
  {
    method: 'GET',
    path: '/openapi.json',
    style: 'starling',
    access: 'read',
    summary: 'This API, described for machines (OpenAPI 3.1)',
    answer: ({ agent, routes }) => json(openApiDocument(routes, agent.self.version)),
  },
];
