/** The services that simulated hosts register: plain HTTP applications with one check each. */
import type { CheckDefinition, ServiceDefinition } from '../../src/agent/kinds.ts';

export const checkIntervalMs = 5_000;
/** What an application that is well answers its check. */
export const checkOutput = 'HTTP 200';

/** The check is named after its service: that is how the host knows which application to ask. */
function checkOf(service: string): CheckDefinition {
  return {
    id: `service:${service}`,
    name: service,
    notes: '',
    type: 'http',
    target: `http://127.0.0.1:8080/${service}`,
    method: 'GET',
    header: {},
    body: '',
    tlsSkipVerify: false,
    args: [],
    intervalMs: checkIntervalMs,
    timeoutMs: 1_000,
    ttlMs: 0,
    successBeforePassing: 0,
    failuresBeforeCritical: 0,
    failuresBeforeWarning: 0,
    deregisterCriticalAfterMs: 0,
    initialStatus: 'passing',
  };
}

export function serviceDefinition(service: string): ServiceDefinition {
  return {
    id: service,
    name: service,
    address: '',
    port: 8080,
    tags: ['simulated'],
    meta: { version: '1' },
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    user: '',
    uid: null,
    inMesh: true,
    upstreams: [],
    checks: [checkOf(service)],
    source: 'api',
  };
}
