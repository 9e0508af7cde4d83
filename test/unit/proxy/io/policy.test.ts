/** Policy through both data planes, over real sockets and TLS: where requests go, and which are let in. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Cluster, InboundService } from '../../../../src/proxy/config.ts';
import type { PermissionPolicy, RequestMatch } from '../../../../src/proxy/policy.ts';
import {
  cluster,
  destination,
  exchange,
  identityOf,
  inboundService,
  plainRoute,
  sniOf,
  startHttpApp,
  startMesh,
  startTcpApp,
  type TestMesh,
  trafficOf,
} from '../../../support/mesh.ts';

const all: RequestMatch = { path: null, headers: [], query: [], methods: [] };

function prefix(value: string): RequestMatch {
  return { ...all, path: { type: 'prefix', value, ignoreCase: false } };
}

function permissions(...list: readonly PermissionPolicy[]): Partial<InboundService> {
  const rule = { source: 'web', action: 'deny', permissions: list, rule: 'service-intentions/api' } as const;
  return { rules: [rule], defaultAction: 'deny' };
}

/** An application that answers with its name and what it was asked. */
function named(t: TestContext, name: string): Promise<number> {
  return startHttpApp(t, (request, response) => response.end(`${name} ${request.url}`));
}

async function textOf(mesh: TestMesh, path: string): Promise<string> {
  return (await fetch(`http://127.0.0.1:${mesh.port}${path}`)).text();
}

/** A subset of a service, on the same host as the rest of it. */
function subset(of: Cluster): Cluster {
  return { ...of, id: 'v2.api', subset: 'v2', sni: `v2.${sniOf('api')}` };
}

test('a route leads to a subset of the service, which its host serves under a name of its own', async (t) => {
  const one = await named(t, 'one');
  const two = await named(t, 'two');
  const mesh = await startMesh(t, [one]);
  const v2 = inboundService('api', [two], { subset: 'v2', sni: `v2.${sniOf('api')}` });
  const { services } = mesh.calleeConfig.inbound;
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [...services, v2] },
  });
  const api = mesh.callerConfig.clusters[0]!;
  const special = { ...plainRoute('v2.api'), match: prefix('/v2'), prefixRewrite: '/' };
  await mesh.caller.apply({
    ...mesh.callerConfig,
    clusters: [api, subset(api)],
    destinations: [{ id: 'api', service: 'api', protocol: 'http', routes: [special, plainRoute('api')] }],
  });
  assert.equal(await textOf(mesh, '/x'), 'one /x');
  assert.equal(await textOf(mesh, '/v2/x'), 'two /x');
  assert.equal(await textOf(mesh, '/y/../v2/x'), 'two /x');
});

test('permissions decide request by request, and byte streams are not let in beside them', async (t) => {
  const app = await named(t, 'api');
  const inbound = permissions(
    { action: 'deny', match: prefix('/admin') },
    { action: 'allow', match: { ...all, methods: ['GET'] } },
  );
  const mesh = await startMesh(t, [app], { inbound });
  assert.equal(await textOf(mesh, '/x'), 'api /x');
  const denied = await fetch(`http://127.0.0.1:${mesh.port}//%61dmin`);
  assert.equal(denied.status, 403);
  assert.equal(
    await denied.text(),
    'starling: denied: web -> api (rule service-intentions/api, permission 1)\n',
  );
  assert.equal((await fetch(`http://127.0.0.1:${mesh.port}/x`, { method: 'POST' })).status, 403);
  const row = trafficOf(mesh.callee, 'destination');
  assert.deepEqual(row.deniedBy, { 'service-intentions/api': 2 });
  const stream = await exchange(mesh.port, '\x00\x01 no request\r\n');
  assert.match(stream.text, /^HTTP\/1\.1 400 /, 'what is let in has to be requests');
});

test('a tunnel is cut once permissions do not let in what asked for it, and stays while they do', async (t) => {
  const app = await startTcpApp(t, (socket) =>
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      socket.pipe(socket);
    }),
  );
  const deny = (path: string) =>
    permissions({ action: 'deny', match: prefix(path) }, { action: 'allow', match: all });
  const mesh = await startMesh(t, [app]);
  const apply = (inbound: Partial<InboundService>) => {
    const services = [inboundService('api', [app], inbound)];
    return mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
  };
  const socket = connect(mesh.port, '127.0.0.1');
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('GET /%63hat HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  const echoed = async (): Promise<string> => String((await once(socket, 'data'))[0]);
  assert.match(await echoed(), /^HTTP\/1.1 101/);
  // Let in by no permission, by one, by the same, and by another.
  for (const inbound of [{}, deny('/admin'), deny('/admin'), deny('/files')]) {
    await apply(inbound);
    socket.write('still there?');
    assert.equal(await echoed(), 'still there?');
  }
  await apply(deny('/chat'));
  await closed;
});

test('an upgrade under way when permissions change does not become a tunnel beside them', async (t) => {
  let asked: (answer: () => void) => void = () => {};
  const request = new Promise<() => void>((resolve) => {
    asked = resolve;
  });
  const app = await startTcpApp(t, (socket) =>
    socket.once('data', () =>
      asked(() =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
      ),
    ),
  );
  const mesh = await startMesh(t, [app]);
  const upgrade = 'GET /chat HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(upgrade);
  const switchProtocols = await request;
  const services = [inboundService('api', [app], permissions({ action: 'allow', match: prefix('/files') }))];
  await mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
  switchProtocols();
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 502 /);
});

test('a rate that is reached is answered with 429 and a time to come again', async (t) => {
  const app = await named(t, 'api');
  const rateLimits = { instance: { requestsPerSecond: 0.1, burst: 2 }, routes: [], callers: [] };
  const mesh = await startMesh(t, [app], { inbound: { rateLimits } });
  assert.equal(await textOf(mesh, '/1'), 'api /1');
  assert.equal(await textOf(mesh, '/2'), 'api /2');
  const limited = await fetch(`http://127.0.0.1:${mesh.port}/3`);
  assert.deepEqual([limited.status, limited.headers.get('x-starling-reason')], [429, 'rate-limited']);
  const seconds = Number(limited.headers.get('retry-after'));
  assert.ok(seconds >= 1 && seconds <= 10, `${seconds}`);
});

test('what is served at once is counted over all entries of a service, and given back', async (t) => {
  const waiting: ServerResponse[] = [];
  const arrived = new EventTarget();
  const hold = (_request: IncomingMessage, response: ServerResponse): void => {
    waiting.push(response);
    arrived.dispatchEvent(new Event('request'));
  };
  const app = await startHttpApp(t, hold);
  const mesh = await startMesh(t, [app]);
  const v2 = inboundService('api', [app], { subset: 'v2', sni: `v2.${sniOf('api')}`, maxConnections: 1 });
  const whole = inboundService('api', [app], { maxConnections: 1 });
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [whole, v2] },
  });
  const api = mesh.callerConfig.clusters[0]!;
  const special = { ...plainRoute('v2.api'), match: prefix('/v2') };
  await mesh.caller.apply({
    ...mesh.callerConfig,
    clusters: [api, subset(api)],
    destinations: [{ id: 'api', service: 'api', protocol: 'http', routes: [special, plainRoute('api')] }],
  });
  const first = new Promise((resolve) => arrived.addEventListener('request', resolve, { once: true }));
  const answered = textOf(mesh, '/x');
  await first;
  const second = await fetch(`http://127.0.0.1:${mesh.port}/v2`);
  assert.deepEqual([second.status, second.headers.get('x-starling-reason')], [503, 'overflow']);
  waiting.pop()!.end('done');
  assert.equal(await answered, 'done');
  const third = new Promise((resolve) => arrived.addEventListener('request', resolve, { once: true }));
  const again = textOf(mesh, '/v2');
  await third;
  waiting.pop()!.end('again');
  assert.equal(await again, 'again');
});

test('an application that takes too long is given up by either side, whoever sets the time', async (t) => {
  const app = await startHttpApp(t, () => {});
  for (const more of [
    { inbound: { requestTimeoutMs: 50 } },
    { route: { timeouts: { requestMs: 50, idleMs: null, perTryMs: null } } },
  ]) {
    const mesh = await startMesh(t, [app], more);
    const response = await fetch(`http://127.0.0.1:${mesh.port}/`);
    assert.deepEqual([response.status, response.headers.get('x-starling-reason')], [504, 'timeout']);
  }
});

test('a mirror gets a copy of what its service is sent, and may fail as it likes', async (t) => {
  const copies: string[] = [];
  let copied = (): void => {};
  const done = new Promise<void>((resolve) => {
    copied = resolve;
  });
  const shadow = await startHttpApp(t, (request, response) => {
    request.on('data', (chunk: Buffer) => {
      copies.push(`${request.headers.host} ${request.url} ${chunk.toString()}`);
      response.socket?.destroy();
      copied();
    });
  });
  const app = await named(t, 'api');
  const mesh = await startMesh(t, [app]);
  const { services } = mesh.calleeConfig.inbound;
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [...services, inboundService('shadow', [shadow])] },
    identities: [...mesh.calleeConfig.identities, identityOf('shadow')],
  });
  const api = mesh.callerConfig.clusters[0]!;
  await mesh.caller.apply({
    ...mesh.callerConfig,
    clusters: [api, cluster('shadow', [mesh.inboundPort])],
    destinations: [destination(api, { mirror: { cluster: 'shadow', percent: 100 } })],
  });
  const response = await fetch(`http://127.0.0.1:${mesh.port}/x`, { method: 'POST', body: 'hello' });
  assert.equal(await response.text(), 'api /x');
  await done;
  assert.deepEqual(copies, [`127.0.0.1-shadow:${mesh.port} /x hello`]);
});

test('the one cluster that is left stands in for one of which no host can be reached, from the first call on', async (t) => {
  const echo = await startTcpApp(t, (socket) => socket.pipe(socket));
  const app = await named(t, 'api');
  const deaf = await Promise.all([1, 2, 3].map(() => startTcpApp(t, (socket) => socket.destroy())));
  for (const protocol of ['http', 'tcp'] as const) {
    const mesh = await startMesh(t, [protocol === 'http' ? app : echo]);
    const live = mesh.callerConfig.clusters[0]!;
    const lost = cluster('api', deaf, { id: 'lost', failover: ['api'] });
    await mesh.caller.apply({
      ...mesh.callerConfig,
      clusters: [live, lost],
      destinations: [{ id: 'api', service: 'api', protocol, routes: [plainRoute('lost')] }],
    });
    for (let i = 0; i < 5; i++)
      if (protocol === 'http') assert.equal(await textOf(mesh, '/'), 'api /');
      else assert.deepEqual(await exchange(mesh.port, 'hello', true), { text: 'hello', cut: false });
  }
});
