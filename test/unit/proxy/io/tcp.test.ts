/** Byte streams through both data planes. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { UidOfSocket } from '../../../../src/proxy/io/options.ts';
import {
  exchange,
  listener,
  startHttpApp,
  startMesh,
  startTcpApp,
  trafficOf,
} from '../../../support/mesh.ts';

const tcp = { inbound: { protocol: 'tcp' }, cluster: { protocol: 'tcp' } } as const;

test('bytes go both ways and half-close is kept', async (t) => {
  const app = await startTcpApp(t, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat([Buffer.from('got '), ...chunks])));
  });
  for (const more of [tcp, {}]) {
    const mesh = await startMesh(t, [app], more);
    const { text, cut } = await exchange(mesh.port, '\x01\x02 hello', true);
    assert.deepEqual({ text, cut }, { text: 'got \x01\x02 hello', cut: false });
    const row = trafficOf(mesh.caller, 'source', 'tcp');
    assert.deepEqual([row.byClass[2], row.bytesSent, row.bytesReceived], [1, 8, 12]);
  }
});

test('a server that speaks first is heard, with the protocol known or found out', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.end('220 welcome\r\n'));
  for (const more of [tcp, {}]) {
    const mesh = await startMesh(t, [app], more);
    const socket = connect(mesh.port, '127.0.0.1');
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    assert.equal(greeting.toString(), '220 welcome\r\n');
    socket.end();
    await once(socket, 'close');
  }
});

test('HTTP/2 goes through as a byte stream to a service that is said to be one', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.pipe(socket));
  const mesh = await startMesh(t, [app], tcp);
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0';
  const { text } = await exchange(mesh.port, preface, true);
  assert.equal(text, preface);
});

test('20 MB are echoed exactly, to a client that reads late', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.pipe(socket));
  const mesh = await startMesh(t, [app], tcp);
  const block = randomBytes(1024 * 1024);
  const socket = connect(mesh.port, '127.0.0.1');
  const sent = createHash('sha256');
  for (let i = 0; i < 20; i++) {
    sent.update(block);
    socket.write(block);
  }
  socket.end();
  const received = createHash('sha256');
  for await (const chunk of socket) received.update(chunk as Buffer);
  assert.equal(received.digest('hex'), sent.digest('hex'));
});

test('an application that is cut off cuts its caller off', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const mesh = await startMesh(t, [app], tcp);
  assert.deepEqual(await exchange(mesh.port, 'hello'), { text: '', cut: true });
});

test('a caller that is cut off cuts the application off', async (t) => {
  let failed: (code: string) => void = () => {};
  const failure = new Promise<string>((resolve) => {
    failed = resolve;
  });
  const app = await startTcpApp(t, (socket) => {
    socket.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? ''));
    socket.write('hello');
  });
  const mesh = await startMesh(t, [app], tcp);
  const socket = connect(mesh.port, '127.0.0.1');
  await once(socket, 'data');
  socket.resetAndDestroy();
  assert.equal(await failure, 'ECONNRESET');
});

test('the other instance is tried when the first one cannot be reached', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.end('here'));
  const mesh = await startMesh(t, [app], tcp);
  const [live] = mesh.callerConfig.clusters[0]!.endpoints;
  const dead = { ...live!, id: 'dead', port: 1 };
  await mesh.caller.apply({
    ...mesh.callerConfig,
    clusters: [{ ...mesh.callerConfig.clusters[0]!, endpoints: [dead, live!] }],
  });
  for (let i = 0; i < 8; i++) assert.equal((await exchange(mesh.port, '')).text, 'here');
  assert.ok(trafficOf(mesh.caller, 'source', 'tcp').retries >= 1);
});

test('the calling uid decides which service calls', async (t) => {
  const app = await startHttpApp(t, (request, response) =>
    response.end(request.headers['x-forwarded-client-cert']),
  );
  const mesh = await startMesh(t, [app]);
  const uid = String(process.getuid!());
  const caller = (byUid: { [uid: string]: string }, otherwise: string | null) => ({
    ...mesh.callerConfig,
    outbound: [
      {
        ...listener('web', 'api'),
        caller: { type: 'socket-owner' as const, byUid, otherwise, services: [] },
      },
    ],
  });
  const request = 'GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n';
  const answer = async (): Promise<string> => (await exchange(mesh.port, request)).text;
  await mesh.caller.apply(caller({ [uid]: 'web' }, null));
  assert.match(await answer(), /svc\/web$/);
  await mesh.caller.apply(caller({}, 'web'));
  assert.match(await answer(), /svc\/web$/);
  await mesh.caller.apply(caller({ '4242': 'web' }, null));
  assert.match(await answer(), /no-caller/);
});

test('a client that cuts the connection while it is looked up speaks for nobody', async (t) => {
  const cut = new Socket();
  // Whoever took over its port would be found in its place.
  let isCut = false;
  const uidOfSocket: UidOfSocket = async (_ends, done) => {
    // By then what was sent has been read.
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    if (isCut) cut.resetAndDestroy();
    done(4242);
  };
  const asked: (string | undefined)[] = [];
  const app = await startHttpApp(t, (request, response) => {
    asked.push(request.url);
    response.end();
  });
  const mesh = await startMesh(t, [app], { caller: { uidOfSocket } });
  const rule = { type: 'socket-owner' as const, byUid: { '4242': 'web' }, otherwise: null, services: [] };
  await mesh.caller.apply({ ...mesh.callerConfig, outbound: [{ ...listener('web', 'api'), caller: rule }] });
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n`;
  const answer = async (path: string) => (await exchange(mesh.port, request(path))).text;
  assert.match(await answer('/before'), /200 OK/);
  isCut = true;
  cut.connect(mesh.port, '127.0.0.1');
  cut.write(request('/cut'));
  await once(cut, 'close');
  isCut = false;
  assert.match(await answer('/after'), /200 OK/);
  assert.deepEqual(asked, ['/before', '/after']);
});
