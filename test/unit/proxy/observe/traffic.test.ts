/** Rows of counters: bounded, additive, and told in Istio's words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trafficReport } from '../../../../src/agent/traffic.ts';
import type { RefusalReason, TrafficRow } from '../../../../src/proxy/dataplane.ts';
import { flagOf, flagText, responseFlag } from '../../../../src/proxy/observe/flags.ts';
import { trafficText } from '../../../../src/proxy/observe/prometheus.ts';
import { mergeRoutes, mergeTraffic } from '../../../../src/proxy/observe/rows.ts';
import { TrafficCounter, TrafficTable } from '../../../../src/proxy/observe/traffic.ts';

const empty = { listeners: [], activeConnections: 0, handshakeFailures: {}, deniedPeers: [] };

function report(traffic: readonly TrafficRow[]) {
  return trafficReport({ ...empty, traffic });
}

test('each reason has the flag that Envoy gives it', () => {
  const reasons: { [reason in RefusalReason]: string } = {
    denied: 'UAEX',
    'no-caller': 'UAEX',
    'no-route': 'NR',
    'no-healthy-upstream': 'UH',
    'no-identity': 'UF',
    'connect-failure': 'UF',
    'upstream-reset': 'UC',
    timeout: 'UT',
    'rate-limited': 'RL',
    overflow: 'UO',
    'circuit-open': 'UO',
    fault: 'FI',
    'bad-request': 'DPE',
    'bad-response': 'UPE',
  };
  for (const [reason, flag] of Object.entries(reasons))
    assert.equal(flagText(flagOf(reason as RefusalReason, 504)), flag);
  assert.equal(flagText(flagOf('timeout', 408)), 'SI');
  assert.equal(flagText(responseFlag.URX | responseFlag.UF), 'UF,URX');
  assert.equal(flagText(0), '-');
});

test('a row tells outcomes apart by status, flags and gRPC status', () => {
  const counter = new TrafficCounter('source', 'web', 'api', 'grpc');
  counter.finished(200, 1, 0, 10, 20, 0);
  counter.finished(200, 1, 0, 10, 20, 5);
  counter.finished(200, 1, 0, 10, 20, 14);
  counter.finished(503, 1, responseFlag.UH);
  counter.finished(503, 1, responseFlag.UF | responseFlag.URX);
  counter.finished(503, 1, responseFlag.UH);
  const row = counter.row(0);
  assert.deepEqual(
    row.responses.map(({ status, flags, grpcStatus, count }) => [status, flagText(flags), grpcStatus, count]),
    [
      [200, '-', 0, 1],
      [200, '-', 5, 1],
      [200, '-', 14, 1],
      [503, 'UH', -1, 2],
      [503, 'UF,URX', -1, 1],
    ],
  );
  // gRPC's NOT_FOUND is the caller's fault, UNAVAILABLE the server's.
  assert.deepEqual(row.byClass, [0, 0, 1, 0, 1, 4]);
});

test('rows, rules and kinds of answers are bounded, and nothing goes uncounted', () => {
  const table = new TrafficTable(() => 0);
  for (let name = 0; name < 2_500; name++)
    table.counter('destination', `caller-${name}`, 'api', 'http').finished(200, 1);
  const rows = table.snapshot();
  assert.ok(rows.length <= 1_001);
  assert.equal(
    rows.reduce((sum, row) => sum + row.byClass[2]!, 0),
    2_500,
  );
  assert.ok(rows.find(({ source, destination }) => source === 'other' && destination === 'other'));

  const counter = new TrafficCounter('source', 'web', 'api', 'http');
  for (let flags = 0; flags < 8; flags++)
    for (let status = 100; status < 600; status++) counter.finished(status, 1, flags);
  for (let rule = 0; rule < 1000; rule++) counter.refuse('denied', `rule-${rule}`);
  const row = counter.row(0);
  assert.ok(row.responses.length <= 512);
  assert.equal(
    row.byClass.reduce((sum, count) => sum + count, 0),
    4_000,
  );
  assert.ok(row.byClass[0]! > 0);
  assert.equal(Object.keys(row.deniedBy).length, 257);
  assert.equal(row.deniedBy.other, 1000 - 256);
});

test('series of all rows together are bounded too', () => {
  const table = new TrafficTable(() => 0);
  for (let name = 0; name < 200; name++) {
    const counter = table.counter('source', 'web', `api-${name}`, 'http');
    for (let status = 100; status < 600; status++) counter.finished(status, 1);
  }
  const rows = table.snapshot();
  const series = rows.reduce((sum, { responses }) => sum + responses.length, 0);
  assert.ok(series <= 20_000 + rows.length, String(series));
  assert.equal(
    rows.reduce((sum, { byClass }) => sum + byClass.reduce((all, count) => all + count, 0), 0),
    200 * 500,
  );
});

test('lately is between one and two turns long, and begins with nothing', () => {
  let now = 1000;
  const table = new TrafficTable(() => now);
  const counter = table.counter('source', 'web', 'api', 'http');
  const recent = () => report(table.snapshot()).traffic[0]!.recent;
  assert.deepEqual(table.snapshot(), [], 'a row without traffic is not told');
  for (let request = 0; request < 10; request++) counter.finished(200, 2);
  now += 1000;
  assert.deepEqual([recent().requests, recent().requestsPerSecond], [10, 10]);
  table.turn();
  now += 1000;
  counter.finished(500, 900);
  assert.deepEqual([recent().requests, recent().overMs], [11, 2000]);
  table.turn();
  now += 500;
  // The first ten were before the earlier of the last two turns.
  assert.deepEqual([recent().requests, recent().overMs, recent().successRate], [1, 1500, 0]);
  assert.ok(recent().p50Ms! >= 900);
  table.turn();
  now += 500;
  assert.equal(recent().requests, 0);
  const late = table.counter('source', 'web', 'late', 'http');
  late.finished(200, 1);
  assert.equal(report(table.snapshot()).traffic[1]!.recent.requests, 1);
});

test('rows of workers are added, and routes are one for metrics', () => {
  const table = () => new TrafficTable(() => 0);
  const [one, two] = [table(), table()];
  one.counter('source', 'web', 'api', 'http', { route: 'service-router/api' }).finished(200, 1, 0, 5, 6);
  one.counter('source', 'web', 'api', 'http').finished(200, 1, 0, 5, 6);
  two.counter('source', 'web', 'api', 'http').finished(503, 40, responseFlag.UH, 5, 6);
  const rows = [...one.snapshot(), ...two.snapshot()];
  assert.deepEqual(
    mergeTraffic(rows).map(({ route, byClass }) => [route, byClass[2], byClass[5]]),
    [
      ['service-router/api', 1, 0],
      ['', 1, 1],
    ],
  );
  const [merged] = mergeRoutes(rows);
  assert.deepEqual([merged!.byClass, merged!.requestSizes.sum], [[0, 0, 2, 0, 0, 1], 15]);
});

test('denials are listed by source, destination and rule, the most frequent first, and told of', () => {
  const told: string[] = [];
  const table = new TrafficTable(
    () => 0,
    (counter, rule) => told.push(`${counter.source}>${counter.destination} ${rule}`),
  );
  const deny = (source: string, protocol: 'http' | 'tcp', rule: string) =>
    table.counter('destination', source, 'api', protocol).refuse('denied', rule);
  deny('web', 'http', 'service-intentions/api');
  deny('job', 'http', 'default');
  deny('job', 'tcp', 'default');
  assert.deepEqual(report(table.snapshot()).denied, [
    { reporter: 'destination', source: 'job', destination: 'api', rule: 'default', count: 2 },
    { reporter: 'destination', source: 'web', destination: 'api', rule: 'service-intentions/api', count: 1 },
  ]);
  assert.deepEqual(told, ['web>api service-intentions/api', 'job>api default', 'job>api default']);
});

/** Every sample, by its name and labels; fails on what Prometheus would not read. */
function parsePrometheus(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.trimEnd().split('\n')) {
    const type = /^# TYPE (\w+) (counter|histogram)$/.exec(line);
    if (type !== null) {
      assert.ok(!typed.has(type[1]!), `${type[1]} has two headings`);
      typed.add(type[1]!);
    }
    if (line.startsWith('#')) continue;
    const match = /^(\w+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\} (\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(
      line,
    );
    assert.ok(match, line);
    const family = typed.has(match[1]!) ? match[1]! : match[1]!.replace(/_(bucket|sum|count)$/, '');
    assert.ok(typed.has(family), `${match[1]} has no heading`);
    const key = `${match[1]}{${match[2]}}`;
    assert.ok(!samples.has(key), `${key} comes twice`);
    samples.set(key, Number(match[3]));
  }
  return samples;
}

test('the text is what Prometheus reads, under Istio’s names and labels', () => {
  const table = new TrafficTable(() => 0);
  const http = table.counter('destination', 'web', 'api', 'http', {
    sourcePrincipal: 'spiffe://m/ns/default/dc/dc1/svc/web',
    destinationPrincipal: 'spiffe://m/ns/default/dc/dc1/svc/api',
  });
  http.finished(200, 4, 0, 100, 2_000);
  http.finished(200, 7.5, 0, 100, 2_000);
  http.finished(503, 1, responseFlag.UH, 100, 50);
  http.grpc.finished(200, 1, 0, 1, 1, 14);
  table.counter('destination', 'web', 'api', 'http', { route: 'service-router/api' }).finished(200, 4);
  const tcp = table.counter('source', 'web', 'd"b\\\n', 'tcp');
  tcp.opened();
  tcp.opened();
  tcp.bytesSent += 7;
  tcp.bytesReceived += 9;
  tcp.finished(200, 100);
  tcp.finished(500, 100, responseFlag.UF);
  const samples = parsePrometheus(trafficText(table.snapshot(), 'mesh'));
  const about =
    'reporter="destination",source_workload="web",source_workload_namespace="default",' +
    'source_principal="spiffe://m/ns/default/dc/dc1/svc/web",destination_service="api.mesh",' +
    'destination_service_name="api",destination_service_namespace="default",destination_workload="api",' +
    'destination_workload_namespace="default",destination_principal="spiffe://m/ns/default/dc/dc1/svc/api",' +
    'destination_version="unknown",request_protocol="http",connection_security_policy="mutual_tls"';
  const sample = (name: string, more = '') => samples.get(`${name}{${about}${more}}`);
  const code = (status: number, flags: string) =>
    `,response_code="${status}",response_flags="${flags}",grpc_response_status=""`;
  assert.equal(sample('istio_requests_total', code(200, '-')), 3);
  assert.equal(sample('istio_requests_total', code(503, 'UH')), 1);
  assert.equal(sample('istio_request_duration_milliseconds_bucket', ',le="5"'), 3);
  assert.equal(sample('istio_request_duration_milliseconds_bucket', ',le="10"'), 4);
  assert.equal(sample('istio_request_duration_milliseconds_bucket', ',le="+Inf"'), 4);
  assert.equal(sample('istio_request_duration_milliseconds_sum'), 16.5);
  assert.equal(sample('istio_request_duration_milliseconds_count'), 4);
  assert.equal(sample('istio_request_bytes_sum'), 300);
  assert.equal(sample('istio_response_bytes_bucket', ',le="1000"'), 2);
  const lines = [...samples.keys()];
  assert.ok(lines.some((key) => /request_protocol="grpc".*grpc_response_status="14"/.test(key)));
  const ofTcp = (name: string) =>
    lines
      .filter((key) => key.startsWith(`${name}{`))
      .map((key) => [key.match(/flags="(.*)"/)![1], samples.get(key)]);
  assert.deepEqual(ofTcp('istio_tcp_connections_opened_total'), [['-', 2]]);
  assert.deepEqual(ofTcp('istio_tcp_connections_closed_total'), [
    ['-', 1],
    ['UF', 1],
  ]);
  assert.deepEqual(ofTcp('istio_tcp_received_bytes_total'), [['-', 7]]);
  assert.deepEqual(ofTcp('istio_tcp_sent_bytes_total'), [['-', 9]]);
  assert.ok(lines.some((key) => key.includes('destination_service_name="d\\"b\\\\\\n"')));
});
