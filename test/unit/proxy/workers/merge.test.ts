import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterStatus, DataPlaneStats, TrafficRow } from '../../../../src/proxy/dataplane.ts';
import { emptyCounts } from '../../../../src/proxy/observe/histogram.ts';
import { mergeStats, noStats } from '../../../../src/proxy/workers/merge.ts';

function row(fields: Partial<TrafficRow>): TrafficRow {
  return {
    ...{ reporter: 'source', source: 'web', destination: 'api', protocol: 'http', route: '', subset: '' },
    ...{ sourcePrincipal: '', destinationPrincipal: '', byClass: [0, 0, 0, 0, 0, 0], responses: [] },
    ...{
      refused: {},
      deniedBy: {},
      opened: 0,
      retries: 0,
      mirrored: 0,
      mirrorsSkipped: 0,
      bytesSent: 0,
      bytesReceived: 0,
    },
    ...{ durations: emptyCounts, requestSizes: emptyCounts, responseSizes: emptyCounts },
    recent: { overMs: 30_000, byClass: [0, 0, 0, 0, 0, 0], durations: emptyCounts },
    ...fields,
  } as TrafficRow;
}

function clusterStatus(more: Partial<ClusterStatus>): ClusterStatus {
  return {
    ...{ source: 'web', cluster: 'api', isPanicking: false, panics: 0, stayed: 0, crossed: 0 },
    retriesDenied: 1,
    overflows: { connections: 1, pending: 2, requests: 3 },
    ...more,
  };
}

test('the counters of workers add up, row by row', () => {
  const one: DataPlaneStats = {
    ...noStats,
    activeConnections: 2,
    handshakeFailures: { ECONNRESET: 1 },
    violations: { 'http2-broken': 1 },
    listeners: [{ id: 'inbound', address: '127.0.0.1', port: 1, error: null }],
    traffic: [
      row({
        byClass: [0, 0, 3, 0, 0, 1],
        responses: [{ status: 200, flags: 0, grpcStatus: -1, count: 3 }],
        durations: { sum: 9, cells: [[1, 4]] },
        refused: { timeout: 1 },
      }),
    ],
    breakers: [{ source: 'web', cluster: 'api', state: 'closed', opened: 1, rejected: 4 }],
    clusters: [clusterStatus({ panics: 2, crossed: 1 })],
  };
  const two: DataPlaneStats = {
    ...noStats,
    activeConnections: 1,
    handshakeFailures: { ECONNRESET: 1, EPIPE: 2 },
    listeners: [{ id: 'inbound', address: '127.0.0.1', port: 1, error: 'EADDRINUSE' }],
    traffic: [
      row({ source: 'job', retries: 1 }),
      row({
        byClass: [0, 0, 2, 0, 0, 0],
        responses: [{ status: 200, flags: 0, grpcStatus: -1, count: 2 }],
        durations: {
          sum: 4,
          cells: [
            [1, 1],
            [3, 1],
          ],
        },
      }),
    ],
    breakers: [{ source: 'web', cluster: 'api', state: 'half-open', opened: 2, rejected: 5 }],
    clusters: [clusterStatus({ cluster: 'db' }), clusterStatus({ isPanicking: true, stayed: 1, crossed: 1 })],
  };
  const merged = mergeStats([one, two]);
  assert.equal(merged.activeConnections, 3);
  assert.deepEqual(merged.handshakeFailures, { ECONNRESET: 2, EPIPE: 2 });
  assert.deepEqual(merged.violations, { 'http2-broken': 1 });
  assert.equal(merged.listeners[0]!.error, 'EADDRINUSE');
  const state = 'half-open';
  assert.deepEqual(merged.breakers, [{ source: 'web', cluster: 'api', state, opened: 3, rejected: 9 }]);
  const overflows = { connections: 2, pending: 4, requests: 6 };
  assert.deepEqual(merged.clusters, [
    clusterStatus({ isPanicking: true, panics: 2, overflows, stayed: 1, crossed: 2, retriesDenied: 2 }),
    clusterStatus({ cluster: 'db' }),
  ]);
  const [web, job] = merged.traffic;
  assert.deepEqual(web!.byClass, [0, 0, 5, 0, 0, 1]);
  assert.deepEqual(web!.responses, [{ status: 200, flags: 0, grpcStatus: -1, count: 5 }]);
  assert.deepEqual(web!.durations, {
    sum: 13,
    cells: [
      [1, 5],
      [3, 1],
    ],
  });
  assert.deepEqual(web!.refused, { timeout: 1 });
  assert.equal(job!.retries, 1);
  assert.deepEqual(mergeStats([one]).traffic, one.traffic);
});
