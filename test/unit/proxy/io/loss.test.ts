/** Applications and hosts that die with requests on them: what is asked elsewhere, and what callers are told. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import type { DataPlane } from '../../../../src/proxy/dataplane.ts';
import {
  cluster,
  exchange,
  identityOf,
  inboundService,
  listenOn,
  portOf,
  sniOf,
  startHttpApp,
  startMesh,
  startPlane,
  startTcpApp,
  type TestMesh,
  trafficOf,
} from '../../../support/mesh.ts';

/** Nobody listens there. */
const closedPort = 1;

interface Answer {
  readonly status: number;
  readonly reason: string | undefined;
}

/** On a connection of its own, unless `agent` keeps some: a shared pool has those of earlier tests, to ports used again. */
function call(port: number, method: string, agent: Agent | false = false): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, agent }, (response) => {
      response.resume();
      response.on('error', reject);
      response.on('end', () => {
        const reason = response.headers['x-starling-reason'];
        resolve({
          status: response.statusCode ?? 0,
          reason: typeof reason === 'string' ? reason : undefined,
        });
      });
    });
    request.on('error', reject);
    request.end(method === 'GET' ? '' : 'hello');
  });
}

/** An application that answers nothing before `release`. */
class HoldingApp {
  readonly server: Server;
  readonly held: ServerResponse[] = [];
  private released = false;

  constructor() {
    this.server = createServer((request, response) => {
      request.resume();
      if (this.released) response.end('ok');
      else this.held.push(response);
    });
  }

  release(): void {
    this.released = true;
    for (const response of this.held.splice(0)) response.end('ok');
  }

  /** As when its process is killed. */
  die(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

interface TwoHosts {
  readonly mesh: TestMesh;
  readonly other: DataPlane;
}

/** `api` on two hosts, each with its own instances. */
async function twoHosts(t: TestContext, one: readonly number[], two: readonly number[]): Promise<TwoHosts> {
  const mesh = await startMesh(t, one);
  const other = startPlane(t);
  await other.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [inboundService('api', two)] },
  });
  const ports = [mesh.inboundPort, portOf(other, 'inbound')];
  await mesh.caller.apply({ ...mesh.callerConfig, clusters: [cluster('api', ports)] });
  return { mesh, other };
}

async function holdingHosts(t: TestContext): Promise<TwoHosts & { dying: HoldingApp; staying: HoldingApp }> {
  const dying = new HoldingApp();
  const staying = new HoldingApp();
  const hosts = await twoHosts(t, [await listenOn(t, dying.server)], [await listenOn(t, staying.server)]);
  return { ...hosts, dying, staying };
}

/** Sends that many requests at once and waits until all of them are with the applications. */
async function inFlight(
  port: number,
  method: string,
  count: number,
  apps: readonly HoldingApp[],
): Promise<Promise<Answer>[]> {
  const answers = Array.from({ length: count }, () => call(port, method));
  const held = (): number => apps.reduce((sum, app) => sum + app.held.length, 0);
  while (held() < count) await new Promise(setImmediate);
  return answers;
}

test('every request in flight on a host that vanishes is answered by the other', async (t) => {
  const { mesh, dying, staying } = await holdingHosts(t);
  const answers = await inFlight(mesh.port, 'GET', 64, [dying, staying]);
  const lost = dying.held.length;
  assert.ok(lost > 10, `${lost} of 64 are on the host that dies`);
  await mesh.callee.close(0);
  dying.die();
  staying.release();
  for (const answer of await Promise.all(answers))
    assert.deepEqual(answer, { status: 200, reason: undefined });
  assert.equal(trafficOf(mesh.caller, 'source').retries, lost);
});

test('every request in flight on an application that dies is answered by the other host', async (t) => {
  const { mesh, dying, staying } = await holdingHosts(t);
  const answers = await inFlight(mesh.port, 'GET', 64, [dying, staying]);
  const lost = dying.held.length;
  dying.die();
  staying.release();
  for (const answer of await Promise.all(answers))
    assert.deepEqual(answer, { status: 200, reason: undefined });
  const source = trafficOf(mesh.caller, 'source');
  assert.equal(source.retries, lost);
  assert.deepEqual([source.byClass[2], source.byClass[5], source.refused], [64, 0, {}]);
  const there = trafficOf(mesh.callee, 'destination');
  assert.deepEqual([there.byClass[5], there.refused], [lost, { 'upstream-reset': lost }]);
});

test('requests that must not happen twice are not repeated when an application dies with them', async (t) => {
  const { mesh, dying, staying } = await holdingHosts(t);
  const answers = await inFlight(mesh.port, 'POST', 16, [dying, staying]);
  const lost = dying.held.length;
  assert.equal(lost + staying.held.length, 16);
  dying.die();
  staying.release();
  const failed = (await Promise.all(answers)).filter(({ status }) => status !== 200);
  assert.deepEqual(failed, new Array(lost).fill({ status: 502, reason: 'upstream-reset' }));
  assert.equal(trafficOf(mesh.caller, 'source').retries, 0);
  assert.deepEqual(trafficOf(mesh.caller, 'source').refused, { 'upstream-reset': lost });
});

test('a host whose application refuses costs no request of any kind, and is avoided at once', async (t) => {
  const app = await startHttpApp(t, (request, response) =>
    request.resume().on('end', () => response.end('ok')),
  );
  const { mesh } = await twoHosts(t, [closedPort], [app]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  for (let i = 0; i < 40; i++)
    assert.equal((await call(mesh.port, i % 2 ? 'GET' : 'POST', agent)).status, 200, `request ${i}`);
  const { retries, byClass, refused } = trafficOf(mesh.caller, 'source');
  assert.ok(retries >= 1 && retries < 5, `${retries} retries`);
  assert.deepEqual([byClass[2], refused], [40, {}]);
  assert.deepEqual(trafficOf(mesh.callee, 'destination').refused, { 'connect-failure': retries });
});

test('a host that has no instance in rotation any more costs no request either', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const { mesh } = await twoHosts(t, [app], [app]);
  const empty = inboundService('api', [], { outOfRotation: 1 });
  for (const services of [[empty], []]) {
    for (let i = 0; i < 10; i++) assert.equal((await call(mesh.port, 'POST')).status, 200);
    await mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
    for (let i = 0; i < 10; i++) assert.equal((await call(mesh.port, 'POST')).status, 200);
  }
});

test('where no other host serves it, the caller is told why', async (t) => {
  const mesh = await startMesh(t, [closedPort]);
  assert.deepEqual(await call(mesh.port, 'GET'), { status: 503, reason: 'connect-failure' });
  assert.deepEqual(trafficOf(mesh.caller, 'source').refused, { 'connect-failure': 1 });
  assert.deepEqual(trafficOf(mesh.callee, 'destination').refused, { 'connect-failure': 1 });
  const services = [inboundService('api', [], { outOfRotation: 1 })];
  await mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
  assert.deepEqual(await call(mesh.port, 'GET'), { status: 503, reason: 'no-healthy-upstream' });
  const refused = { 'connect-failure': 1, 'no-healthy-upstream': 1 };
  assert.deepEqual(trafficOf(mesh.caller, 'source').refused, refused);
  assert.deepEqual(trafficOf(mesh.callee, 'destination').refused, refused);
});

test('a client of the mesh that is no proxy is told in HTTP', async (t) => {
  const mesh = await startMesh(t, [closedPort]);
  const { certPem, keyPem } = identityOf('web');
  const socket = tlsConnect({
    host: '127.0.0.1',
    port: mesh.inboundPort,
    servername: sniOf('api'),
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    cert: certPem,
    key: keyPem,
  });
  t.after(() => socket.destroy());
  socket.write('GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 503 [\s\S]*\r\nx-starling-reason: connect-failure\r\n/);
});

test('a host whose application refuses costs no byte stream that has not been answered', async (t) => {
  const echo = await startTcpApp(t, (socket) => socket.pipe(socket));
  const { mesh } = await twoHosts(t, [closedPort], [echo]);
  const lengths = [1, 1000, 30_000];
  for (let i = 0; i < 30; i++) {
    const sent = `\0${'x'.repeat(lengths[i % lengths.length]!)}`;
    assert.deepEqual(await exchange(mesh.port, sent, true), { text: sent, cut: false });
  }
  const { retries, byClass, refused } = trafficOf(mesh.caller, 'source', 'tcp');
  assert.ok(retries >= 1 && retries < 5, `${retries} retries`);
  assert.deepEqual([byClass[2], refused], [30, {}]);
  assert.deepEqual(trafficOf(mesh.callee, 'destination', 'tcp').refused, { 'connect-failure': retries });
});

test('a byte stream that no other host can take is cut, and counted on both sides', async (t) => {
  const mesh = await startMesh(t, [closedPort]);
  assert.deepEqual(await exchange(mesh.port, '\0hello', true), { text: '', cut: true });
  assert.deepEqual(trafficOf(mesh.caller, 'source', 'tcp').refused, { 'connect-failure': 1 });
  assert.deepEqual(trafficOf(mesh.callee, 'destination', 'tcp').refused, { 'connect-failure': 1 });
});

test('a closing data plane waits for requests under way and for nothing else', async (t) => {
  const app = new HoldingApp();
  const mesh = await startMesh(t, [await listenOn(t, app.server)]);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const first = call(mesh.port, 'GET', agent);
  while (app.held.length === 0) await new Promise(setImmediate);
  const closing = mesh.callee.close(10_000);
  app.release();
  assert.equal((await first).status, 200);
  await closing;
});

test('idle connections and sessions do not hold up a closing data plane', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  const agent = new Agent({ keepAlive: true });
  const silent = connect(mesh.port, '127.0.0.1');
  const silentPeer = tlsConnect({
    host: '127.0.0.1',
    port: mesh.inboundPort,
    servername: sniOf('api'),
    rejectUnauthorized: false,
    cert: identityOf('web').certPem,
    key: identityOf('web').keyPem,
  });
  t.after(() => {
    agent.destroy();
    silent.destroy();
    silentPeer.destroy();
  });
  await once(silentPeer, 'secureConnect');
  assert.equal((await call(mesh.port, 'GET', agent)).status, 200);
  while (mesh.callee.stats().activeConnections < 2) await new Promise(setImmediate);
  const began = performance.now();
  await Promise.all([mesh.callee.close(10_000), mesh.caller.close(10_000)]);
  assert.ok(performance.now() - began < 9_000, `${performance.now() - began} ms`);
});
