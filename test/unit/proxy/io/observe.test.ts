/** What two planes count and tell of the traffic between them, held against what clients saw. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, Agent as HttpAgent, type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ProxyConfig } from '../../../../src/proxy/config.ts';
import type { DataPlane, TrafficRow } from '../../../../src/proxy/dataplane.ts';
import { flagText } from '../../../../src/proxy/observe/flags.ts';
import { totalOf } from '../../../../src/proxy/observe/histogram.ts';
import type { TapEvent } from '../../../../src/proxy/observe/tap.ts';
import {
  exchange,
  listener,
  listenOn,
  portOf,
  startHttpApp,
  startMesh,
  startTcpApp,
  type TestMesh,
  trafficOf,
  trustDomain,
} from '../../../support/mesh.ts';
import { spiffeIdOf } from '../../../support/pki.ts';

const everything = { source: '', destination: '', path: '', status: '' };

interface Answered {
  readonly status: number;
  readonly bytes: number;
}

async function ask(
  port: number,
  path: string,
  body = '',
  headers: IncomingHttpHeaders = {},
): Promise<Answered> {
  const outgoing = request({
    port,
    host: '127.0.0.1',
    path,
    method: body === '' ? 'GET' : 'POST',
    headers,
    agent: keepAlive,
  });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
  let bytes = 0;
  for await (const chunk of response) bytes += chunk.length;
  return { status: response.statusCode, bytes };
}

const keepAlive = new HttpAgent({ keepAlive: true, maxSockets: 4 });

function outcomesOf(row: TrafficRow): { [outcome: string]: number } {
  return Object.fromEntries(
    row.responses.map(({ status, flags, count }) => [`${status} ${flagText(flags)}`, count]),
  );
}

/** Waits until `find` finds something; what is waited for is on its way already. */
async function found<T>(find: () => T | undefined): Promise<T> {
  for (;;) {
    const value = find();
    if (value !== undefined) return value;
    await new Promise((done) => setImmediate(done));
  }
}

test('both sides count what clients saw, in numbers, times and bytes', async (t) => {
  const app = await startHttpApp(t, (request, response) => {
    request.resume();
    request.on('end', () => {
      response.statusCode = request.url === '/missing' ? 404 : 200;
      response.end('x'.repeat(2000));
    });
  });
  const mesh = await startMesh(t, [app]);
  const seen: { [outcome: string]: number } = {};
  let bytes = 0;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: 120 }, async (_, index) => {
      const path = index % 4 === 0 ? '/missing' : '/';
      const answered = await ask(mesh.port, path, index % 3 === 0 ? 'y'.repeat(5000) : '');
      seen[`${answered.status} -`] = (seen[`${answered.status} -`] ?? 0) + 1;
      bytes += answered.bytes;
    }),
  );
  const lastedMs = performance.now() - begun;
  for (const row of [trafficOf(mesh.caller, 'source'), trafficOf(mesh.callee, 'destination')]) {
    assert.deepEqual(outcomesOf(row), seen);
    assert.equal(totalOf(row.durations), 120);
    assert.ok(row.durations.sum > 0 && row.durations.sum / 1000 <= lastedMs * 120);
    assert.equal(totalOf(row.requestSizes), 120);
    assert.ok(row.requestSizes.sum > 40 * 5000 && row.requestSizes.sum === row.bytesSent);
    assert.ok(row.responseSizes.sum > bytes && row.responseSizes.sum === row.bytesReceived);
    assert.deepEqual(
      [row.source, row.destination, row.sourcePrincipal, row.destinationPrincipal],
      ['web', 'api', spiffeIdOf(trustDomain, 'web'), spiffeIdOf(trustDomain, 'api')],
    );
  }
});

test('each side says why it failed', async (t) => {
  const app = await startHttpApp(t, (request, response) => {
    if (request.url === '/reset') request.socket.destroy();
    else response.end('ok');
  });
  const mesh = await startMesh(t, [app], {
    inbound: { rateLimits: { instance: { requestsPerSecond: 0.001, burst: 2 }, routes: [], callers: [] } },
  });
  assert.equal((await ask(mesh.port, '/')).status, 200);
  assert.equal((await ask(mesh.port, '/reset', 'body')).status, 502);
  assert.equal((await ask(mesh.port, '/')).status, 429);
  assert.deepEqual(outcomesOf(trafficOf(mesh.callee, 'destination')), {
    '200 -': 1,
    '502 UC': 1,
    '429 RL': 1,
  });
  // For the caller's side a 429 is an answer like any other.
  assert.deepEqual(outcomesOf(trafficOf(mesh.caller, 'source')), { '200 -': 1, '502 UR': 1, '429 -': 1 });
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: {
      ...mesh.calleeConfig.inbound,
      port: mesh.inboundPort,
      services: mesh.calleeConfig.inbound.services.map((service) => ({
        ...service,
        rateLimits: null,
        rules: [{ source: 'web', action: 'deny', permissions: null, rule: 'service-intentions/api' }],
      })),
    },
  });
  assert.equal((await ask(mesh.port, '/')).status, 403);
  const denied = trafficOf(mesh.callee, 'destination');
  assert.equal(outcomesOf(denied)['403 UAEX'], 1);
  assert.deepEqual(denied.deniedBy, { 'service-intentions/api': 1 });
});

test('what no service is asked for, and a service without instances, have flags of their own', async (t) => {
  const mesh = await startMesh(t, [1], { cluster: { endpoints: [], outOfRotation: 1 } });
  await mesh.caller.apply({
    ...mesh.callerConfig,
    outbound: [...mesh.callerConfig.outbound, listener('web', null)],
  });
  assert.equal((await ask(mesh.port, '/')).status, 503);
  assert.equal((await ask(portOf(mesh.caller, 'outbound'), '/', '', { host: 'nobody.mesh' })).status, 404);
  assert.deepEqual(
    mesh.caller.stats().traffic.map((row) => [row.destination, outcomesOf(row)]),
    [
      ['api', { '503 UH': 1 }],
      ['unknown', { '404 NR': 1 }],
    ],
  );
});

test('byte streams are counted as they begin and as they end', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.on('data', (bytes) => socket.write(bytes)));
  const mesh = await startMesh(t, [app], { inbound: { protocol: 'tcp' }, cluster: { protocol: 'tcp' } });
  const events: TapEvent[] = [];
  mesh.caller.tap(everything, (event) => events.push(event));
  const socket = connect(mesh.port, '127.0.0.1');
  socket.write('hello');
  await once(socket, 'data');
  const open = trafficOf(mesh.caller, 'source', 'tcp');
  assert.deepEqual([open.opened, open.byClass[2], open.bytesSent, open.bytesReceived], [1, 0, 5, 5]);
  socket.resetAndDestroy();
  const event = await found(() => events[0]);
  assert.deepEqual(
    [event.protocol, event.flags, event.requestBytes, event.responseBytes],
    ['tcp', 'DC', 5, 5],
  );
  const over = trafficOf(mesh.caller, 'source', 'tcp');
  assert.deepEqual([over.opened, outcomesOf(over)], [1, { '200 DC': 1 }]);
});

interface SpanJson {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
}

/** A collector that keeps every span, with the service that it is a span of. */
async function startCollector(t: TestContext) {
  const spans: (SpanJson & { service: string })[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as {
        resourceSpans: {
          resource: { attributes: { value: { stringValue: string } }[] };
          scopeSpans: { spans: SpanJson[] }[];
        }[];
      };
      for (const { resource, scopeSpans } of resourceSpans)
        for (const span of scopeSpans[0]!.spans)
          spans.push({ ...span, service: resource.attributes[0]!.value.stringValue });
      response.end('{}');
    });
  });
  return { spans, port: await listenOn(t, server) };
}

async function observeBy(mesh: TestMesh, more: Partial<ProxyConfig>): Promise<void> {
  await mesh.caller.apply({ ...mesh.callerConfig, ...more });
  const inbound = { ...mesh.calleeConfig.inbound, port: mesh.inboundPort };
  await mesh.callee.apply({ ...mesh.calleeConfig, inbound, ...more });
}

test('a trace goes on through both proxies to the application, and its spans to the collector', async (t) => {
  const { spans, port } = await startCollector(t);
  const arrived: IncomingHttpHeaders[] = [];
  const app = await startHttpApp(t, (incoming, response) => {
    arrived.push(incoming.headers);
    response.end('ok');
  });
  const mesh = await startMesh(t, [app]);
  await observeBy(mesh, { tracing: { sample: 0, endpoint: `http://127.0.0.1:${port}` } });
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const parent = '00f067aa0ba902b7';
  await ask(mesh.port, '/', '', { traceparent: `00-${traceId}-${parent}-01`, tracestate: 'vendor=1' });
  await ask(mesh.port, '/', '', { b3: `${traceId}-${parent}-1`, connection: 'keep-alive' });
  const untraced = { traceparent: `00-${traceId}-${parent}-00` };
  await ask(mesh.port, '/', '', untraced);
  await Promise.all([mesh.caller.close(100), mesh.callee.close(100)]);
  // A span of the caller's side each, and below it one of the callee's.
  assert.equal(spans.length, 4);
  const callers = spans.filter(({ service, kind }) => service === 'web' && kind === 3);
  assert.equal(callers.length, 2);
  const passedOn = [arrived[0]!.traceparent, arrived[1]!.b3].map((value) => String(value).split('-'));
  for (const [index, caller] of callers.entries()) {
    assert.deepEqual([caller.traceId, caller.parentSpanId], [traceId, parent]);
    const callee = spans.find(({ parentSpanId }) => parentSpanId === caller.spanId);
    assert.deepEqual([callee?.traceId, callee?.service, callee?.kind], [traceId, 'api', 2]);
    assert.ok(passedOn[index]!.includes(callee!.spanId));
    assert.ok(Math.abs(Number(caller.startTimeUnixNano) / 1e6 - Date.now()) < 60_000);
  }
  assert.equal(arrived[0]!.tracestate, 'vendor=1');
  assert.equal(arrived[2]!.traceparent, untraced.traceparent);
});

test('the access log of both sides names the same request, and leaves out what is secret', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'starling-observe-'));
  t.after(() => rm(folder, { recursive: true }));
  const app = await startHttpApp(t, (incoming, response) => {
    response.end(incoming.headers['x-request-id']);
  });
  const mesh = await startMesh(t, [app]);
  const file = join(folder, 'access.log');
  await observeBy(mesh, { accessLog: { sample: 1, file } });
  await ask(mesh.port, '/path?key=SECRET', '', { authorization: 'SECRET', cookie: 'a=SECRET' });
  await exchange(mesh.port, 'GET / HTTP/1.1\r\nA : b\r\n\r\n');
  await Promise.all([mesh.caller.close(100), mesh.callee.close(100)]);
  const text = await readFile(file, 'latin1');
  assert.doesNotMatch(text, /SECRET/);
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { [field: string]: unknown });
  const served = lines.filter(({ path }) => path === '/path');
  assert.deepEqual(served.map(({ reporter }) => reporter).sort(), ['destination', 'source']);
  assert.equal(served[0]!.request_id, served[1]!.request_id);
  assert.match(String(served[0]!.request_id), /^[0-9a-f]{32}$/);
  const refused = lines.filter(({ response_flags }) => response_flags === 'DPE');
  assert.deepEqual(
    refused.map(({ response_code, source, destination }) => [response_code, source, destination]),
    [[400, 'web', 'api']],
  );
  assert.equal(lines.length, 3);
});

test('a tap sees requests as they happen, on either side, for as long as it is there', async (t) => {
  const app = await startHttpApp(t, (_incoming, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  const events: TapEvent[] = [];
  const tap = (plane: DataPlane) =>
    plane.tap({ ...everything, source: 'web', path: '/seen' }, (event) => events.push(event));
  const stops = [tap(mesh.caller), tap(mesh.callee)];
  await ask(mesh.port, '/seen?x=1');
  await ask(mesh.port, '/other');
  assert.deepEqual(
    events.map(({ reporter, source, destination, method, path, status }) => [
      reporter,
      source,
      destination,
      method,
      path,
      status,
    ]),
    [
      ['destination', 'web', 'api', 'GET', '/seen', 200],
      ['source', 'web', 'api', 'GET', '/seen', 200],
    ],
  );
  assert.equal(events[0]!.requestId, events[1]!.requestId);
  for (const stop of stops) stop();
  await ask(mesh.port, '/seen');
  assert.equal(events.length, 2);
});

test('what is denied is logged with its rule, once for many', async (t) => {
  const logged: object[] = [];
  const mesh = await startMesh(t, [1], {
    inbound: { rules: [{ source: '*', action: 'deny', permissions: null, rule: 'service-intentions/api' }] },
    callee: { log: (_level, event, fields) => event === 'request-denied' && logged.push(fields) },
  });
  for (let attempt = 0; attempt < 3; attempt++) assert.equal((await ask(mesh.port, '/')).status, 403);
  assert.deepEqual(logged, [{ source: 'web', destination: 'api', rule: 'service-intentions/api', count: 1 }]);
});
