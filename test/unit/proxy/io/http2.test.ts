/** HTTP/2 and its real clients and servers through two data planes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as openSocket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { Flag, FrameType, maxWindow, preface, Setting } from '../../../../src/proxy/http2/frames.ts';
import { FrameLog, frame, getFields, headers, settings, u32 } from '../../../support/http2.ts';
import {
  identityOf,
  listener,
  listenOn,
  portOf,
  sniOf,
  startHttpApp,
  startMesh,
  testAuthority,
  trafficOf,
} from '../../../support/mesh.ts';

const run = promisify(execFile);

type Serve = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** An application that speaks HTTP/2 with prior knowledge, and nothing else. */
function startHttp2App(t: TestContext, serve: Serve): Promise<number> {
  const server = createServer({ settings: { maxConcurrentStreams: 1000 }, maxSessionMemory: 100 });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  t.after(() => {
    for (const session of sessions) session.destroy();
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    serve(stream, headers);
  });
  return listenOn(t, server);
}

function startClient(t: TestContext, port: number): ClientHttp2Session {
  const client = connect(`http://127.0.0.1:${port}`);
  client.on('error', () => {});
  t.after(() => client.destroy());
  return client;
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  readonly code: number;
}

async function ask(
  client: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Answer> {
  const stream = client.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  let answer: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const parts: Buffer[] = [];
  stream.on('response', (came) => {
    answer = came;
  });
  stream.on('trailers', (came) => {
    trailers = came;
  });
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('close', resolve));
  return { headers: answer, body: Buffer.concat(parts).toString('latin1'), trailers, code: stream.rstCode };
}

const echo: Serve = (stream, headers) => {
  stream.respond(
    {
      ':status': 201,
      'x-method': headers[':method'],
      'x-path': headers[':path'],
      'x-te': headers.te ?? 'none',
    },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-last': 'yes' }));
  stream.pipe(stream);
};

test('a client and an application of HTTP/2 find each other, with bodies, trailers and all', async (t) => {
  const mesh = await startMesh(t, [await startHttp2App(t, echo)]);
  const client = startClient(t, mesh.port);
  const big = 'x'.repeat(3_000_000);
  const answers = await Promise.all(
    ['small', big, ''].map((body) =>
      ask(client, { ':path': '/a?b', ':method': 'POST', te: 'trailers' }, body),
    ),
  );
  assert.deepEqual(
    answers.map(({ headers, body, trailers, code }) => [
      headers[':status'],
      headers['x-method'],
      headers['x-path'],
      headers['x-te'],
      body.length,
      trailers['x-last'],
      code,
    ]),
    [5, big.length, 0].map((length) => [201, 'POST', '/a?b', 'trailers', length, 'yes', 0]),
  );
  assert.equal(answers[1]!.body, big);
  const get = await ask(client, { ':path': '/' });
  assert.deepEqual([get.headers[':status'], get.body], [201, '']);
  const row = trafficOf(mesh.caller, 'source', 'http');
  assert.equal(row.byClass[2], 4);
});

test('hundreds of requests at once on one connection each get their own answer', async (t) => {
  const app = await startHttp2App(t, (stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(`answer to ${headers[':path']}`);
  });
  const mesh = await startMesh(t, [app]);
  const client = startClient(t, mesh.port);
  for (let round = 0; round < 3; round++) {
    const paths = Array.from({ length: 400 }, (_, i) => `/${round}/${i}`);
    const answers = await Promise.all(paths.map((path) => ask(client, { ':path': path })));
    assert.deepEqual(
      answers.map((answer) => answer.body),
      paths.map((path) => `answer to ${path}`),
    );
  }
});

test('what a service speaks is spoken to it, whatever its clients speak', async (t) => {
  const http1 = await startHttpApp(t, (request, response) => response.end(`one ${request.httpVersion}`));
  const http2 = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('two');
  });
  const cases = [
    { app: http1, protocol: 'http', text: 'one 1.1' },
    { app: http2, protocol: 'http2', text: 'two' },
    { app: http2, protocol: 'grpc', text: 'two' },
  ] as const;
  for (const { app, protocol, text } of cases) {
    const mesh = await startMesh(t, [app], { inbound: { protocol }, cluster: { protocol } });
    const viaHttp2 = await ask(startClient(t, mesh.port), { ':path': '/' });
    assert.deepEqual([viaHttp2.headers[':status'], viaHttp2.body], [200, text]);
    const viaHttp1 = await fetch(`http://127.0.0.1:${mesh.port}/`);
    assert.deepEqual([viaHttp1.status, await viaHttp1.text()], [200, text]);
  }
});

test('a client that gives up is felt by the application, and an application that breaks off by its client', async (t) => {
  let gone: Promise<unknown> = Promise.resolve();
  const app = await startHttp2App(t, (stream, headers) => {
    if (headers[':path'] === '/break') {
      stream.respond({ ':status': 200 });
      stream.write('some', () => stream.destroy(new Error('broken')));
    } else {
      gone = once(stream, 'aborted');
      stream.respond({ ':status': 200 });
      stream.write('some');
    }
  });
  const mesh = await startMesh(t, [app]);
  const client = startClient(t, mesh.port);
  const broken = await ask(client, { ':path': '/break' });
  assert.equal(broken.code, constants.NGHTTP2_INTERNAL_ERROR);
  const stream = client.request({ ':path': '/wait' });
  await once(stream, 'data');
  stream.close(constants.NGHTTP2_CANCEL);
  await gone;
});

test('a client of the mesh that is no proxy gets HTTP/2 by ALPN', async (t) => {
  const mesh = await startMesh(t, [await startHttp2App(t, echo)]);
  const web = identityOf('web');
  const client = connect(`https://127.0.0.1:${mesh.inboundPort}`, {
    ca: testAuthority().rootPem,
    cert: web.certPem,
    key: web.keyPem,
    servername: sniOf('api'),
    checkServerIdentity: () => undefined,
  });
  t.after(() => client.destroy());
  const answer = await ask(client, { ':path': '/x', ':method': 'POST' }, 'hello');
  assert.deepEqual(
    [answer.headers['x-path'], answer.body, answer.trailers['x-last']],
    ['/x', 'hello', 'yes'],
  );
});

test('a data plane that goes lets requests of HTTP/2 finish', async (t) => {
  const waiting: ServerHttp2Stream[] = [];
  let bothWait: () => void = () => {};
  const both = new Promise<void>((resolve) => {
    bothWait = resolve;
  });
  const app = await startHttp2App(t, (stream) => {
    if (waiting.push(stream) === 2) bothWait();
  });
  const mesh = await startMesh(t, [app]);
  const client = startClient(t, mesh.port);
  const answers = [ask(client, { ':path': '/1' }), ask(client, { ':path': '/2' })];
  await both;
  const away = once(client, 'goaway');
  const closed = mesh.caller.close(10_000);
  await away;
  for (const stream of waiting) {
    stream.respond({ ':status': 200 });
    stream.end('late');
  }
  assert.deepEqual(
    (await Promise.all(answers)).map(({ body }) => body),
    ['late', 'late'],
  );
  await closed;
});

test('curl speaks HTTP/2 with prior knowledge, and uploads', async (t) => {
  const mesh = await startMesh(t, [await startHttp2App(t, echo)]);
  const url = `http://127.0.0.1:${mesh.port}/up`;
  const { stdout } = await run('curl', [
    '-s',
    '--http2-prior-knowledge',
    '-d',
    'data',
    '-w',
    ' %{http_version} %{http_code}',
    url,
  ]);
  assert.equal(stdout, 'data 2 201');
});

test('a client that reads late gets everything, on all of its streams', async (t) => {
  const size = 512 * 1024;
  const streams = 40;
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(Buffer.alloc(size, 'x'));
  });
  const mesh = await startMesh(t, [app]);
  const socket = openSocket(mesh.port, '127.0.0.1').pause();
  t.after(() => socket.destroy());
  // Windows without end: only the connection itself holds the answers back.
  socket.write(Buffer.concat([preface, settings([Setting.initialWindowSize, maxWindow])]));
  socket.write(frame(FrameType.windowUpdate, 0, 0, u32(maxWindow - 65_535)));
  const requests = Array.from({ length: streams }, (_, i) => headers(2 * i + 1, getFields, true));
  await new Promise((resolve) => socket.write(Buffer.concat(requests), resolve));
  const log = new FrameLog();
  const bytes = new Map<number, number>();
  let ended = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on('close', () => reject(new Error('closed early')));
    socket.on('data', (chunk: Buffer) => {
      for (const { type, flags, streamId, payload } of log.frames(chunk)) {
        if (type !== FrameType.data) continue;
        bytes.set(streamId, (bytes.get(streamId) ?? 0) + payload.length);
        if ((flags & Flag.endStream) !== 0 && ++ended === streams) resolve();
      }
    });
    socket.resume();
  });
  assert.deepEqual([...bytes.values()], new Array(streams).fill(size));
});

test('streams opened and taken back in a flood end the connection, and the next client is served', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  const problems: unknown[] = [];
  const log = (_level: string, event: string, fields: object): void => {
    if (event === 'http2-broken') problems.push(fields);
  };
  const mesh = await startMesh(t, [app], { caller: { log } });
  const socket = openSocket(mesh.port, '127.0.0.1').resume();
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(Buffer.concat([preface, settings()]));
  for (let id = 1; id < 4000; id += 2)
    socket.write(Buffer.concat([headers(id, getFields, true), frame(FrameType.reset, 0, id, u32(8))]));
  await closed;
  assert.equal(problems.length, 1);
  assert.equal(mesh.caller.stats().violations?.['http2-broken'], 1);
  assert.equal((await ask(startClient(t, mesh.port), { ':path': '/' })).body, 'ok');
});

test('the outbound port finds the service by the authority, for each request by itself', async (t) => {
  const mesh = await startMesh(t, [await startHttp2App(t, echo)]);
  await mesh.caller.apply({ ...mesh.callerConfig, outbound: [listener('web', null)] });
  const client = startClient(t, portOf(mesh.caller, 'outbound'));
  const authorities = ['api.mesh', 'api.service.mesh:80', 'nobody.mesh', 'example.com', 'api.mesh'];
  const answers = await Promise.all(
    authorities.map((authority) => ask(client, { ':path': '/', ':authority': authority })),
  );
  assert.deepEqual(
    answers.map(({ headers }) => headers[':status']),
    [201, 201, 404, 404, 201],
  );
  // The same port takes HTTP/1.1, and what has begun like a preface and is none.
  const socket = openSocket(portOf(mesh.caller, 'outbound'), '127.0.0.1');
  socket.write('PRI');
  socket.end('VET / HTTP/1.1\r\nHost: nobody.mesh\r\nConnection: close\r\n\r\n');
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  assert.match(Buffer.concat(parts).toString('latin1'), /^HTTP\/1\.1 404 /);
});
