/** What an operator sees of traffic through real agents: metrics, stat, tap, the access log and spans. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { until } from '../../demo/flock.ts';
import type { TrafficReport } from '../../src/agent/traffic.ts';
import type { TapEvent } from '../../src/proxy/observe/tap.ts';
import { curl, metric, startMesh, type TestMesh, upstreamPort } from './mesh.ts';

let mesh: TestMesh;
let upstream: string;
let log: string;
const spans: { traceId: string; spanId: string; parentSpanId: string }[] = [];
const collector = createServer((request, response) => {
  let text = '';
  request.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  request.on('end', () => {
    const { resourceSpans } = JSON.parse(text) as {
      resourceSpans: { scopeSpans: { spans: typeof spans }[] }[];
    };
    for (const { scopeSpans } of resourceSpans) spans.push(...scopeSpans[0]!.spans);
    response.end('{}');
  });
});

before(async () => {
  mesh = await startMesh();
  upstream = `http://${mesh.one.address}:${upstreamPort}`;
  await new Promise<void>((done) => collector.listen(0, '127.0.0.1', done));
  log = join(mesh.flock.directory, 'access.log');
  const { port } = collector.address() as AddressInfo;
  const file = join(mesh.flock.directory, 'proxy-defaults.json');
  writeFileSync(
    file,
    JSON.stringify({
      Kind: 'proxy-defaults',
      Name: 'global',
      AccessLogs: { Enabled: true, Type: 'file', Path: log },
      Tracing: { Endpoint: `http://127.0.0.1:${port}`, Sample: 0 },
    }),
  );
  const written = await mesh.two.cli('config', 'write', file, ...mesh.flock.operator());
  assert.equal(written.code, 0, written.stderr);
});
after(async () => {
  collector.close();
  collector.closeAllConnections();
  await mesh.flock.stop();
});

const linesOf = (path: string) => {
  try {
    return readFileSync(path, 'latin1')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { [field: string]: unknown });
  } catch {
    return [];
  }
};

test('a denied call is in the log, the metrics and stat of who denied it, with the rule', async () => {
  await until('the refusal is logged', 15_000, async () => {
    assert.equal((await curl(`${upstream}/denied?key=SECRET`)).status, 403);
    return linesOf(log).some(({ path, reporter }) => path === '/denied' && reporter === 'destination');
  });
  const line = linesOf(log).find(({ reporter }) => reporter === 'destination')!;
  assert.deepEqual(
    [line.source, line.destination, line.response_code, line.response_flags, line.rule],
    ['web', 'api', 403, 'UAEX', 'default'],
  );
  assert.doesNotMatch(readFileSync(log, 'latin1'), /SECRET/);
  await until('stat tells of it', 10_000, async () => {
    const denied = await Promise.all([mesh.two, mesh.three].map((bird) => bird.cli('stat', '--denied')));
    return denied.some(({ stdout }) => /^web +api +default +destination +\d+$/m.test(stdout));
  });
});

test('an allowed call is counted on both sides, tapped as it happens, and traced through both proxies', async () => {
  await mesh.one.cli('intention', 'create', 'web', 'api', '--allow', ...mesh.flock.operator());
  await until('web reaches api', 15_000, async () => (await curl(upstream)).status === 200);
  const tapping = mesh.one.cli('tap', 'web->api', '--path', '/tapped', '--limit', '1', '--json');
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  // The one that got through first.
  let allowed = 1;
  let tapped: TapEvent | null = null;
  tapping.then(({ stdout }) => {
    tapped = JSON.parse(stdout) as TapEvent;
  });
  await until('the tap shows the call', 10_000, async () => {
    allowed++;
    const header = `traceparent: 00-${trace}-00f067aa0ba902b7-01`;
    assert.equal((await curl('-H', header, `${upstream}/tapped`)).status, 200);
    return tapped !== null;
  });
  const event = tapped as unknown as TapEvent;
  assert.deepEqual([event.status, event.flags, event.reporter, event.traceId], [200, '-', 'source', trace]);
  const counted = (report: TrafficReport) =>
    report.traffic.find(({ reporter, destination }) => reporter === 'source' && destination === 'api')!;
  // An answer may have reached the client before it was counted.
  let after = counted(await mesh.one.get<TrafficReport>('/v1/mesh/stat'));
  await until('all are counted', 10_000, async () => {
    after = counted(await mesh.one.get<TrafficReport>('/v1/mesh/stat'));
    return after.byClass[2]! >= allowed;
  });
  assert.equal(after.byClass[2], allowed);
  assert.ok(after.recent.requests > 0 && after.recent.p50Ms! > 0);
  const parts = [
    'reporter="source"',
    'source_workload="web"',
    'destination_service="api.mesh"',
    'response_code="200"',
  ];
  assert.equal(await metric(mesh.one, 'istio_requests_total{', ...parts), allowed);
  const secure = ['reporter="destination"', 'connection_security_policy="mutual_tls"', 'code="200"'];
  await until('the callees count as many', 10_000, async () => {
    const inbound = await Promise.all(
      [mesh.two, mesh.three].map((bird) => metric(bird, 'istio_requests_total{', ...secure)),
    );
    return inbound[0]! + inbound[1]! === allowed;
  });
  await until('the spans of both sides arrive', 10_000, async () => {
    const callers = spans.filter(
      ({ traceId, parentSpanId }) => traceId === trace && parentSpanId === '00f067aa0ba902b7',
    );
    return (
      callers.length >= allowed - 1 &&
      callers.every(({ spanId }) => spans.some(({ parentSpanId }) => parentSpanId === spanId))
    );
  });
});
