/** `stat`, `top` and `tap`, over the API and from the command line. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { troubleLines } from '../../../../src/agent/io/cli/traffic-table.ts';
import type { TrafficReport } from '../../../../src/agent/traffic.ts';
import type { ClusterStatus } from '../../../../src/proxy/dataplane.ts';
import { responseFlag } from '../../../../src/proxy/observe/flags.ts';
import type { TapEvent } from '../../../../src/proxy/observe/tap.ts';
import { TrafficTable } from '../../../../src/proxy/observe/traffic.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');
let api: TestApi;
before(async () => {
  api = await startApi();
  let now = 0;
  const table = new TrafficTable(() => now);
  const counter = table.counter('destination', 'web', 'api', 'http');
  for (let served = 0; served < 97; served++) counter.finished(200, 4);
  counter.finished(403, 0.1, counter.refuse('denied', 'service-intentions/api'));
  counter.finished(503, 900, responseFlag.UH);
  counter.finished(503, 900, responseFlag.UH);
  counter.retries = 7;
  table.counter('source', 'job', 'db', 'tcp').finished(200, 60_000);
  now = 10_000;
  api.agent.traffic = table.snapshot();
});
after(() => api.server.close());

function run(...args: string[]): { child: ChildProcess; ended: Promise<[number | null, string, string]> } {
  const child = spawn(starling, [...args, '--http', api.address]);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return { child, ended: once(child, 'close').then(([code]) => [code as number | null, stdout, stderr]) };
}

const event: TapEvent = {
  at: Date.UTC(2026, 0, 1, 12),
  reporter: 'source',
  source: 'web',
  destination: 'api',
  protocol: 'http',
  route: '',
  method: 'GET',
  authority: 'api.mesh',
  path: '/\u001b[31m',
  status: 503,
  flags: 'UH',
  grpcStatus: null,
  detail: 'nobody is there',
  rule: null,
  durationMs: 1.25,
  requestBytes: 10,
  responseBytes: 20,
  upstream: 'host-b',
  attempts: 1,
  requestId: '1',
  traceId: '',
};

/** Waits until so many tap. */
async function tapped(count: number): Promise<void> {
  while (api.agent.taps.length !== count) await new Promise((done) => setImmediate(done));
}

test('stat tells rates, shares and quantiles of the last minute, and what was denied', async () => {
  const report = (await api.call('GET', '/v1/mesh/stat')).json<TrafficReport>();
  const [line] = report.traffic;
  assert.deepEqual([line!.requests, line!.successRate, line!.retries], [100, 0.98, 7]);
  assert.deepEqual([line!.recent.requests, line!.recent.requestsPerSecond], [100, 10]);
  assert.ok(line!.p50Ms! >= 4 && line!.p50Ms! <= 4.5 && line!.p99Ms! >= 900);
  assert.deepEqual(line!.responses.at(-1), { status: 503, flags: 'UH', grpcStatus: null, count: 2 });
  assert.deepEqual(report.denied, [
    { reporter: 'destination', source: 'web', destination: 'api', rule: 'service-intentions/api', count: 1 },
  ]);
});

test('on the command line stat and top --once are tables, and top needs a terminal', async () => {
  const [stat, denied, top, live] = await Promise.all(
    [['stat'], ['stat', '--denied'], ['top', '--json'], ['top']].map((args) => run(...args).ended),
  );
  assert.match(stat![1], /^web +api +destination +http +100 +98\.00% +10 +4\.\d+ms +\S+ +9\d\dms +7 +1$/m);
  assert.match(stat![1], /^job +db +source +tcp +1 +100\.00% +0\.10 +- +- +- +0 +0$/m);
  assert.match(denied![1], /^web +api +service-intentions\/api +destination +1$/m);
  const shown = JSON.parse(top![1]) as TrafficReport;
  assert.deepEqual(
    shown.traffic.map(({ source }) => source),
    ['web', 'job'],
  );
  assert.equal(live![0], 2);
  assert.match(live![2], /^starling: top draws on a terminal/);
});

test('below the table stands what keeps calls from going where they should, and nothing where all is well', () => {
  const of = { source: 'web', cluster: 'api' };
  const well: ClusterStatus = {
    ...of,
    ...{ isPanicking: false, panics: 0, stayed: 5, crossed: 5, retriesDenied: 0 },
    overflows: { connections: 0, pending: 0, requests: 0 },
  };
  const told = (cluster: ClusterStatus, rejected = 0): string[] =>
    troubleLines({
      ...{ traffic: [], denied: [], clusters: [cluster], endpoints: [] },
      breakers: [{ ...of, state: rejected > 0 ? 'open' : 'closed', opened: 0, rejected }],
    } as Partial<TrafficReport> as TrafficReport);
  assert.deepEqual(told(well), []);
  assert.deepEqual(told({ ...well, retriesDenied: 3 }), ['web -> api: 3 retries over their budget']);
  assert.deepEqual(told(well, 4), ['web -> api: circuit open, 4 turned away by an open circuit']);
});

test('tap shows requests as they end, on the command line as in the stream', async () => {
  const plain = run('tap', 'web->*', '--status', '5xx', '--path', '/', '--limit', '1');
  const json = run('tap', '--json', '--limit', '2');
  await tapped(2);
  const filters = api.agent.taps.map(({ filter }) => filter);
  assert.ok(
    filters.some(
      ({ source, destination, status, path }) =>
        `${source},${destination},${status},${path}` === 'web,,5xx,/',
    ),
  );
  for (const { onTap } of [...api.agent.taps]) onTap(event);
  const [code, stdout] = await plain.ended;
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^12:00:00\.000 {2}web -> api {2}GET \/\?\[31m {2}503 UH {2}1\.\dms {2}10\/20B {2}out {2}host-b {2}nobody is there\n$/,
  );
  await tapped(1);
  api.agent.taps[0]!.onTap(event);
  assert.deepEqual((await json.ended)[1], `${JSON.stringify(event)}\n`.repeat(2));
  await tapped(0);
  const misused = await Promise.all([
    run('tap', 'web api').ended,
    run('tap', 'web->a_b').ended,
    run('tap', '--limit', '0').ended,
  ]);
  assert.deepEqual(
    misused.map(([ended]) => ended),
    [2, 2, 2],
  );
  const [refused, , why] = await run('tap', '--status', '999').ended;
  assert.equal(refused, 1);
  assert.match(why, /status: must be a status/);
});

test('whoever taps and does not read misses requests, and is told how many', async () => {
  const [host, port] = api.address.split(':');
  const outgoing = request({ host, port, path: '/v1/mesh/tap', agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  assert.equal(response.headers['content-type'], 'text/event-stream');
  await tapped(1);
  const padding = { ...event, path: `/${'x'.repeat(1000)}` };
  // More than the sockets of both sides hold: the reader has not begun to read.
  response.pause();
  const told = 20_000;
  for (let round = 0; round < told / 100; round++) {
    for (let one = 0; one < 100; one++) api.agent.taps[0]!.onTap(padding);
    await new Promise((done) => setImmediate(done));
  }
  let text = '';
  let missed = 0;
  let shown = 0;
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (text + chunk).split('\n\n');
    text = parts.pop()!;
    for (const part of parts) {
      const lost = /^event: lost\ndata: \{"count":(\d+)\}$/.exec(part);
      if (lost !== null) missed += Number(lost[1]);
      else if (part.startsWith('event: request')) shown++;
    }
    if (missed + shown === told) response.emit('all');
  });
  response.resume();
  await once(response, 'all');
  assert.ok(missed > 0 && shown >= 256, `${missed} missed, ${shown} shown`);
  outgoing.destroy();
  await tapped(0);
});

test('a tap that nothing could match is refused', async () => {
  for (const query of ['status=boom!', 'status=99', 'source=a_b', 'destination=A', 'path=x']) {
    const refused = await api.call('GET', `/v1/mesh/tap?${query}`);
    assert.equal(refused.status, 400, query);
    assert.equal(refused.json<{ code: string }>().code, 'bad-query');
  }
  assert.equal(api.agent.taps.length, 0);
});
