/** Who gets in, and what happens to who does not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { InboundService } from '../../../../src/proxy/config.ts';
import type { DataPlane } from '../../../../src/proxy/dataplane.ts';
import { defaultUpstream, noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import type { IdentityView } from '../../../../src/proxy/view.ts';
import {
  exchange,
  identityOf,
  inboundService,
  sniOf,
  startHttpApp,
  startMesh,
  startTcpApp,
  testAuthority,
  trafficOf,
  trustDomain,
  withClusters,
} from '../../../support/mesh.ts';
import { createTestAuthority, spiffeIdOf, verifyTestPeer } from '../../../support/pki.ts';

const get = 'GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n';
const denyWeb: Partial<InboundService> = {
  rules: [
    { source: 'web', action: 'deny', permissions: null, rule: 'service-intentions/api' },
    { source: '*', action: 'allow', permissions: null, rule: 'service-intentions/*' },
  ],
};

/** Everything the inbound listener answers to a client with these TLS options, until it closes. */
async function callInbound(port: number, options: ConnectionOptions, bytes = get): Promise<string> {
  const socket = tlsConnect({
    host: '127.0.0.1',
    port,
    servername: sniOf('api'),
    rejectUnauthorized: false,
    ...options,
  });
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  socket.once('secureConnect', () => socket.write(bytes));
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

function withIdentity(identity: IdentityView): ConnectionOptions {
  return { cert: identity.certPem, key: identity.keyPem };
}

async function apiMesh(t: import('node:test').TestContext, inbound: Partial<InboundService> = {}) {
  const calls = { count: 0 };
  const app = await startHttpApp(t, (_request, response) => {
    calls.count++;
    response.end('secret');
  });
  return { app, calls, mesh: await startMesh(t, [app], { inbound }) };
}

function failures(plane: DataPlane): number {
  return Object.values(plane.stats().handshakeFailures).reduce((sum, count) => sum + count, 0);
}

test('a denied HTTP caller gets 403 with the rule, and it is counted', async (t) => {
  const { mesh, calls } = await apiMesh(t, denyWeb);
  const response = await fetch(`http://127.0.0.1:${mesh.port}/`);
  assert.equal(response.status, 403);
  assert.equal(response.headers.get('x-starling-reason'), 'denied');
  assert.equal(await response.text(), 'starling: denied: web -> api (rule service-intentions/api)\n');
  assert.equal(calls.count, 0);
  const row = trafficOf(mesh.callee, 'destination');
  assert.deepEqual(row.refused, { denied: 1 });
  assert.deepEqual(row.deniedBy, { 'service-intentions/api': 1 });
});

test('with no rule that matches, the default decides', async (t) => {
  const { mesh } = await apiMesh(t, { defaultAction: 'deny' });
  const response = await fetch(`http://127.0.0.1:${mesh.port}/`);
  assert.equal(await response.text(), 'starling: denied: web -> api (default)\n');
});

test('a denied TCP caller is reset', async (t) => {
  let calls = 0;
  const app = await startTcpApp(t, () => calls++);
  const mesh = await startMesh(t, [app], {
    inbound: { ...denyWeb, protocol: 'tcp' },
    cluster: { protocol: 'tcp' },
  });
  const { text, cut } = await exchange(mesh.port, 'hello');
  assert.deepEqual({ text, cut, calls }, { text: '', cut: true, calls: 0 });
  assert.deepEqual(trafficOf(mesh.callee, 'destination', 'tcp').deniedBy, { 'service-intentions/api': 1 });
});

test('streams that are denied hold up none that are allowed later; those that the application breaks do', async (t) => {
  const breaker = {
    ...{ errorPercent: 50, minimumRequests: 3 },
    ...{ windowMs: 10_000, openMs: 60_000, halfOpenRequests: 1 },
  };
  let breaks = false;
  const app = await startTcpApp(t, (socket) => {
    socket.once('data', () => (breaks ? socket.resetAndDestroy() : socket.end('here')));
  });
  const mesh = await startMesh(t, [app], {
    inbound: { ...denyWeb, protocol: 'tcp' },
    cluster: { protocol: 'tcp' },
  });
  const upstreams = { ...defaultUpstream, breaker };
  const web = { service: 'web', outbound: noTimeouts, upstreams, overrides: [], zones: [] };
  await mesh.caller.apply({ ...mesh.callerConfig, callers: [web] });
  const state = () => mesh.caller.stats().breakers![0]!.state;
  for (let i = 0; i < 5; i++) assert.equal((await exchange(mesh.port, 'hello')).cut, true);
  assert.equal(state(), 'closed');
  const services = [inboundService('api', [app], { protocol: 'tcp' })];
  await mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
  assert.equal((await exchange(mesh.port, 'hello')).text, 'here');
  breaks = true;
  for (let i = 0; i < 3; i++) await exchange(mesh.port, 'hello');
  assert.equal(state(), 'open');
});

test('a new denial holds for the next request, and cuts streams that are open', async (t) => {
  const { mesh, app } = await apiMesh(t);
  const echo = await startTcpApp(t, (socket) => socket.pipe(socket));
  assert.equal((await fetch(`http://127.0.0.1:${mesh.port}/`)).status, 200);
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [inboundService('api', [echo], { protocol: 'tcp' })] },
  });
  const asTcp = mesh.callerConfig.clusters.map((cluster) => ({ ...cluster, protocol: 'tcp' as const }));
  await mesh.caller.apply(withClusters(mesh.callerConfig, asTcp));
  const stream = connect(mesh.port, '127.0.0.1');
  let broken = false;
  stream.on('error', () => {
    broken = true;
  });
  stream.write('hello');
  assert.equal(((await once(stream, 'data')) as [Buffer])[0].toString(), 'hello');
  const closed = new Promise((resolve) => stream.once('close', resolve));
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    inbound: { ...mesh.calleeConfig.inbound, services: [inboundService('api', [app], denyWeb)] },
  });
  await closed;
  assert.equal(broken, true);
  await mesh.caller.apply(mesh.callerConfig);
  assert.equal((await fetch(`http://127.0.0.1:${mesh.port}/`)).status, 403);
});

test('a client of the mesh that is no proxy is served over mTLS, by ALPN and without', async (t) => {
  const { mesh } = await apiMesh(t);
  const web = withIdentity(identityOf('web'));
  for (const options of [{}, { ALPNProtocols: ['http/1.1'] }, { ALPNProtocols: ['h3', 'http/1.1'] }])
    assert.match(
      await callInbound(mesh.inboundPort, { ...web, ...options }),
      /^HTTP\/1\.1 200 [\s\S]*secret$/,
    );
});

test('nobody gets in without a certificate of the mesh', async (t) => {
  const { mesh, calls } = await apiMesh(t);
  const stranger = createTestAuthority(trustDomain).issue('web');
  const elsewhere = testAuthority().issue('other', [spiffeIdOf('other.mesh', 'web')]);
  const twofold = testAuthority().issue('two', [
    spiffeIdOf(trustDomain, 'web'),
    spiffeIdOf(trustDomain, 'api'),
  ]);
  const nameless = testAuthority().issue('none', ['https://not.spiffe/web']);
  const attempts: ConnectionOptions[] = [
    {},
    withIdentity(stranger),
    withIdentity(elsewhere),
    withIdentity(twofold),
    withIdentity(nameless),
    { ...withIdentity(identityOf('web')), maxVersion: 'TLSv1.2' },
    { ...withIdentity(identityOf('web')), servername: sniOf('unknown') },
    { ...withIdentity(identityOf('web')), ALPNProtocols: ['h3'] },
  ];
  for (const options of attempts) assert.equal(await callInbound(mesh.inboundPort, options), '');
  assert.match((await exchange(mesh.inboundPort, get)).text, /^(?!HTTP)/, 'plaintext');
  assert.equal(calls.count, 0);
  assert.equal(failures(mesh.callee), attempts.length + 1);
});

test('a client that hangs up before the handshake is let go, and so is one that never begins it', async (t) => {
  const { mesh } = await apiMesh(t);
  const silent = connect(mesh.inboundPort, '127.0.0.1').resume();
  // Half open on this side, so that only the server's own end closes it.
  const gone = connect({ port: mesh.inboundPort, host: '127.0.0.1', allowHalfOpen: true }).resume();
  gone.end();
  await Promise.all([once(silent, 'close'), once(gone, 'end')]);
  gone.destroy();
  assert.equal(failures(mesh.callee), 2);
});

test('a peer that is not trusted any more is cut with other roots, and nobody is looked at while they stay', async (t) => {
  const trusted = verifyTestPeer(trustDomain);
  let isRevoked = false;
  let looks = 0;
  const verifyPeer = (der: Uint8Array) => {
    looks++;
    return isRevoked ? { problem: 'revoked' } : trusted(der);
  };
  const app = await startHttpApp(t, (_request, response) => response.end('secret'));
  const mesh = await startMesh(t, [app], { callee: { verifyPeer } });
  const answer = async (): Promise<number> => (await fetch(`http://127.0.0.1:${mesh.port}/`)).status;
  assert.equal(await answer(), 200);
  isRevoked = true;
  const { inbound } = mesh.calleeConfig;
  const services = [inboundService('api', [app], { defaultAction: 'allow', connectTimeoutMs: 500 })];
  await mesh.callee.apply({ ...mesh.calleeConfig, inbound: { ...inbound, services } });
  assert.deepEqual([await answer(), looks], [200, 1]);
  const roots = [...mesh.calleeConfig.roots, createTestAuthority(trustDomain).rootPem];
  await mesh.callee.apply({ ...mesh.calleeConfig, roots });
  assert.equal(mesh.callee.stats().activeConnections, 0);
  assert.equal(await answer(), 503);
  assert.equal(mesh.callee.stats().handshakeFailures['peer-identity'], 1);
});

test('a session does not outlive the certificate that it began with', async (t) => {
  let laterMs = 0;
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app], { callee: { now: () => performance.now() + laterMs } });
  const answer = async (): Promise<number> => (await fetch(`http://127.0.0.1:${mesh.port}/`)).status;
  assert.equal(await answer(), 200);
  assert.equal(mesh.callee.stats().activeConnections, 1);
  laterMs = identityOf('web').notAfter - Date.now() + 1;
  // The callee says that it goes away, and the caller ends the session as nothing is on it.
  while (mesh.callee.stats().activeConnections > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await answer(), 200, 'on a new session');
});

test('a server that cannot prove to be the service is not sent anything', async (t) => {
  const { mesh } = await apiMesh(t);
  await mesh.callee.apply({
    ...mesh.calleeConfig,
    identities: [{ ...testAuthority().issue('imposter'), service: 'api' }],
  });
  const { calls, mesh: fresh } = await apiMesh(t);
  await fresh.caller.apply({
    ...fresh.callerConfig,
    clusters: fresh.callerConfig.clusters.map((cluster) => ({
      ...cluster,
      endpoints: cluster.endpoints.map((endpoint) => ({
        ...endpoint,
        hostName: 'second',
        port: mesh.inboundPort,
      })),
    })),
  });
  const response = await fetch(`http://127.0.0.1:${fresh.port}/`);
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('x-starling-reason'), 'connect-failure');
  assert.match(await response.text(), /second: no connection/);
  assert.equal(calls.count, 0);
});

test('TLS sessions are not resumed', async (t) => {
  const { mesh } = await apiMesh(t);
  const options = {
    ...withIdentity(identityOf('web')),
    host: '127.0.0.1',
    port: mesh.inboundPort,
    servername: sniOf('api'),
    rejectUnauthorized: false,
  };
  const sessions: Buffer[] = [];
  const first = tlsConnect(options);
  first.on('session', (session) => sessions.push(session));
  first.write(get);
  first.resume();
  await once(first, 'close');
  for (const session of sessions) {
    const second: TLSSocket = tlsConnect({ ...options, session });
    await once(second, 'secureConnect');
    assert.equal(second.isSessionReused(), false);
    second.destroy();
  }
});

test('no request brings an identity of its own, however an application may be made to take it for one', async (t) => {
  const seen: (string | undefined)[] = [];
  const app = await startHttpApp(t, (request, response) => {
    seen.push(request.headers['x-forwarded-client-cert'] as string | undefined);
    response.end('ok');
  });
  const mesh = await startMesh(t, [app]);
  const lines = ['\r\n\r\nGET / HTTP/1.1', 'GET /#a HTTP/1.1', 'GET  / HTTP/1.1', 'GET /', 'GET / RTSP/1.0'];
  for (const line of [...lines, '\r\nGET / HTTP/1.1', 'GET / HTTP/2.0']) {
    const fields = 'Host: api\r\nX-Forwarded-Client-Cert: URI=spiffe://root\r\nConnection: close\r\n\r\n';
    const socket = connect(mesh.port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.resume().write(`${line}\r\n${fields}`);
    await once(socket, 'close');
  }
  // One empty line in front of a request is allowed.
  assert.deepEqual(seen, [`URI=${spiffeIdOf(trustDomain, 'web')}`]);
});

test('a byte stream that turns out to be HTTP cannot bring an identity of its own', async (t) => {
  const seen: (string | undefined)[] = [];
  const app = await startHttpApp(t, (request, response) => {
    seen.push(request.headers['x-forwarded-client-cert'] as string | undefined);
    response.end('ok');
  });
  const mesh = await startMesh(t, [app]);
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  // Silent until it is taken for TCP: then the callee has accepted a stream for it.
  while (mesh.callee.stats().activeConnections === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  socket.write(
    'GET / HTTP/1.1\r\nHost: api\r\nX-Forwarded-Client-Cert: URI=spiffe://root\r\nConnection: close\r\n\r\n',
  );
  socket.resume();
  await once(socket, 'close');
  assert.deepEqual(seen, [`URI=${spiffeIdOf(trustDomain, 'web')}`]);
});
