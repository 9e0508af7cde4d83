/** HTTP/1.1 from one application to another through both data planes, over real sockets and TLS. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  exchange,
  identityOf,
  listener,
  plainRoute,
  portOf,
  startHttpApp,
  startMesh,
  startTcpApp,
  trafficOf,
  withClusters,
} from '../../../support/mesh.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** On a connection of its own: a shared pool has those of earlier tests, to ports that may be used again. */
async function ask(
  port: number,
  options: RequestOptions = {},
  body: string | Buffer = '',
): Promise<{ response: IncomingMessage; text: string }> {
  const request = httpRequest({ host: '127.0.0.1', port, agent: false, ...options });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { response, text: Buffer.concat(chunks).toString() };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

test('a GET reaches the application and its answer comes back', async (t) => {
  const app = await startHttpApp(t, (request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ url: request.url, headers: request.headers }));
  });
  const mesh = await startMesh(t, [app]);
  const response = await fetch(`http://127.0.0.1:${mesh.port}/hello?x=1`);
  assert.equal(response.status, 200);
  const seen = (await response.json()) as { url: string; headers: { [name: string]: string } };
  assert.equal(seen.url, '/hello?x=1');
  assert.match(seen.headers['x-request-id'] ?? '', /^[0-9a-f]{32}$/);
  assert.equal(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://test.mesh/ns/default/dc/dc1/svc/web');
  assert.equal(trafficOf(mesh.caller, 'source').byClass[2], 1);
  assert.equal(trafficOf(mesh.callee, 'destination').byClass[2], 1);
});

test('a client cannot say who it is, nor have that removed', async (t) => {
  const app = await startHttpApp(t, (request, response) =>
    response.end(
      JSON.stringify([request.headers['x-forwarded-client-cert'], request.headers['x-starling-source']]),
    ),
  );
  const mesh = await startMesh(t, [app]);
  const headers = {
    'x-forwarded-client-cert': 'URI=spiffe://test.mesh/ns/default/dc/dc1/svc/admin',
    'x-starling-source': 'admin',
    connection: 'x-forwarded-client-cert, keep-alive',
  };
  const { text } = await ask(mesh.port, { headers });
  assert.deepEqual(JSON.parse(text), ['URI=spiffe://test.mesh/ns/default/dc/dc1/svc/web', null]);
});

test('bodies go through with a length and in chunks, and HEAD has none', async (t) => {
  const app = await startHttpApp(t, async (request, response) => {
    const text = await textOf(request);
    if (request.method === 'HEAD') response.setHeader('content-length', 1000);
    else if (request.url === '/chunked') response.flushHeaders();
    response.end(request.method === 'HEAD' ? '' : text);
  });
  const mesh = await startMesh(t, [app]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  for (const path of ['/length', '/chunked']) {
    const sized = await ask(
      mesh.port,
      { agent, path, method: 'POST', headers: { 'content-length': 5 } },
      'hello',
    );
    assert.equal(sized.text, 'hello');
    const chunked = await ask(
      mesh.port,
      { agent, path, method: 'PUT', headers: { 'transfer-encoding': 'chunked' } },
      'again',
    );
    assert.equal(chunked.text, 'again');
    assert.equal(chunked.response.headers['transfer-encoding'], path === '/chunked' ? 'chunked' : undefined);
  }
  const head = await ask(mesh.port, { agent, method: 'HEAD' });
  assert.equal(head.response.headers['content-length'], '1000');
  assert.equal(head.text, '');
});

test('several requests in one write are answered in order on one connection', async (t) => {
  const app = await startHttpApp(t, (request, response) => response.end(`answer to ${request.url}`));
  const mesh = await startMesh(t, [app]);
  const requests = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: api\r\n\r\n`);
  const last = 'GET /4 HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n';
  const { text, cut } = await exchange(mesh.port, requests.join('') + last);
  assert.equal(cut, false);
  assert.deepEqual(text.match(/answer to \/\d/g), [
    'answer to /1',
    'answer to /2',
    'answer to /3',
    'answer to /4',
  ]);
});

test('a client that ends its side after its request still gets the answer', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('answer'));
  const mesh = await startMesh(t, [app]);
  const { text, cut } = await exchange(mesh.port, 'GET / HTTP/1.1\r\nHost: api\r\n\r\n', true);
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*answer$/);
  assert.equal(cut, false);
});

test('HTTP/1.0 is served as such, with and without keep-alive', async (t) => {
  const app = await startHttpApp(t, (_request, response) =>
    response.setHeader('content-length', 6).end('answer'),
  );
  const mesh = await startMesh(t, [app]);
  const once = await exchange(mesh.port, 'GET / HTTP/1.0\r\n\r\n');
  assert.match(once.text, /\r\nconnection: close\r\n[\s\S]*answer$/);
  const twice = await exchange(
    mesh.port,
    'GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.0\r\n\r\n',
  );
  assert.equal((twice.text.match(/answer/g) ?? []).length, 2);
  assert.match(twice.text, /^[\s\S]*\r\nconnection: keep-alive\r\n[\s\S]*\r\nconnection: close\r\n/);
});

test('100 Continue comes before the body is sent', async (t) => {
  const app = await startHttpApp(t, async (request, response) => response.end(await textOf(request)));
  const mesh = await startMesh(t, [app]);
  const request = httpRequest({
    host: '127.0.0.1',
    port: mesh.port,
    agent: false,
    method: 'POST',
    headers: { expect: '100-continue', 'content-length': 4 },
  });
  request.flushHeaders();
  await once(request, 'continue');
  request.end('body');
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  assert.equal(await textOf(response), 'body');
});

test('a request arrives whole wherever it is cut in two', async (t) => {
  const app = await startHttpApp(t, async (request, response) =>
    response.end(`${request.url} ${await textOf(request)}`),
  );
  const mesh = await startMesh(t, [app]);
  const bytes = Buffer.from(
    'POST /x HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n',
  );
  const socket = connect(mesh.port, '127.0.0.1').setNoDelay(true);
  t.after(() => socket.destroy());
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString();
  });
  for (let cut = 1; cut < bytes.length; cut++) {
    received = '';
    socket.write(bytes.subarray(0, cut));
    await new Promise(setImmediate);
    socket.write(bytes.subarray(cut));
    while (!received.endsWith('0\r\n\r\n') && !received.endsWith('/x abc')) await once(socket, 'data');
    assert.match(received, /\/x abc/, `cut at ${cut}`);
  }
});

/** Bytes of buffers that are still referenced. */
function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

test('bodies of 50 MB go both ways without being held in memory', async (t) => {
  const megabytes = 50;
  const app = await startHttpApp(t, (request, response) => {
    // Read slowly enough that everything in between has to wait.
    pipeline(request, response).catch(() => response.destroy());
  });
  const mesh = await startMesh(t, [app]);
  const request = httpRequest({ host: '127.0.0.1', port: mesh.port, agent: false, method: 'POST' });
  const sent = createHash('sha256');
  const received = createHash('sha256');
  const answered = once(request, 'response') as Promise<[IncomingMessage]>;
  const reading = answered.then(async ([response]) => {
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      received.update(chunk as Buffer);
    }
    return bytes;
  });
  const held: number[] = [];
  const before = heldBytes();
  for (let i = 0; i < megabytes * 16; i++) {
    const block = Buffer.alloc(65536, i % 251);
    sent.update(block);
    if (!request.write(block)) await once(request, 'drain');
    if (i % 64 === 0) held.push(heldBytes() - before);
  }
  request.end();
  assert.equal(await reading, megabytes * 1024 * 1024);
  assert.equal(received.digest('hex'), sent.digest('hex'));
  // Freed buffers are swept in the background, so a single reading may still show some of them.
  const median = held.sort((a, b) => a - b)[held.length >> 1]!;
  assert.ok(median < 12 * 1024 * 1024, `${Math.round(median / 1048576)} MB of buffers were held`);
});

test('an application that reads nothing stops its caller', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.pause());
  const mesh = await startMesh(t, [app]);
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000000\r\n\r\n');
  const block = Buffer.alloc(1024 * 1024);
  // Kernel buffers on three hops take a few megabytes each; far less than 100 of them.
  let written = 0;
  while (written < 100 && socket.writableLength < 8 * block.length) {
    socket.write(block);
    written++;
    await new Promise(setImmediate);
  }
  assert.ok(socket.writableLength >= 8 * block.length, 'the caller was never held up');
});

test('a server that dies in the middle of its answer is seen as a cut, never as an end', async (t) => {
  const answers = [
    'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    'HTTP/1.1 200 OK\r\n\r\nhalf',
  ];
  for (const answer of answers) {
    const app = await startTcpApp(t, (socket) => {
      socket.once('data', () => socket.write(answer, () => setImmediate(() => socket.resetAndDestroy())));
    });
    const mesh = await startMesh(t, [app]);
    const { text, cut } = await exchange(mesh.port, 'GET / HTTP/1.1\r\nHost: api\r\n\r\n');
    assert.equal(cut, true, JSON.stringify({ answer, text }));
    assert.doesNotMatch(text, /0\r\n\r\n$/);
  }
});

test('an answer that ends before its length is a cut; one without a length ends in order', async (t) => {
  const app = await startTcpApp(t, (socket) => {
    socket.once('data', (request) => {
      const isShort = request.toString().startsWith('GET /short ');
      socket.end(
        isShort ? 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf' : 'HTTP/1.1 200 OK\r\n\r\nwhole',
      );
    });
  });
  const mesh = await startMesh(t, [app]);
  const short = await exchange(mesh.port, 'GET /short HTTP/1.1\r\nHost: api\r\n\r\n');
  assert.equal(short.cut, true);
  const whole = await exchange(mesh.port, 'GET / HTTP/1.1\r\nHost: api\r\n\r\n');
  assert.equal(whole.cut, false);
  assert.match(whole.text, /connection: close\r\n\r\nwhole$/);
});

test('answers that break the rules become 502 and their connection is not used again', async (t) => {
  const broken = [
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'HTTP/1.1 101 Switching\r\n\r\n',
    'nonsense, and more of it than a status line has\r\n\r\n',
  ];
  for (const answer of broken) {
    const app = await startTcpApp(t, (socket) => socket.once('data', () => socket.write(answer)));
    const mesh = await startMesh(t, [app]);
    const { response, text } = await ask(mesh.port);
    assert.equal(response.statusCode, 502);
    assert.equal(response.headers['x-starling-reason'], 'bad-response');
    assert.match(text, /^starling: bad-response: /);
  }
});

test('malformed requests are refused at the door, and the connection is closed', async (t) => {
  let requests = 0;
  const app = await startHttpApp(t, (_request, response) => {
    requests++;
    response.end();
  });
  const mesh = await startMesh(t, [app]);
  const smuggled = 'GET /admin HTTP/1.1\r\nHost: api\r\n\r\n';
  const attempts: [string, string][] = [
    [
      `POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      '400',
    ],
    [`GET / HTTP/1.1\r\nHost: api\r\nX: 1\n${smuggled}`, '400'],
    [
      `POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n${smuggled}`,
      '400',
    ],
    [`CONNECT api:80 HTTP/1.1\r\nHost: api:80\r\n\r\n${smuggled}`, '405'],
    [`GET / HTTP/1.1\r\nHost: api\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, '431'],
  ];
  for (const [bytes, status] of attempts) {
    const { text } = await exchange(mesh.port, bytes);
    assert.ok(text.startsWith(`HTTP/1.1 ${status} `), `${bytes.slice(0, 60)}: ${text.slice(0, 60)}`);
    assert.equal((text.match(/HTTP\/1\.1/g) ?? []).length, 1);
  }
  assert.equal(requests, 0);
});

test('a WebSocket upgrade becomes a tunnel both ways', async (t) => {
  const upgraded = await startTcpApp(t, (socket) => {
    socket.once('data', (request) => {
      assert.match(request.toString(), /\r\nUpgrade: websocket\r\n[\s\S]*\r\nconnection: upgrade\r\n/i);
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst',
      );
      socket.pipe(socket);
    });
  });
  const mesh = await startMesh(t, [upgraded]);
  const request = httpRequest({
    host: '127.0.0.1',
    port: mesh.port,
    agent: false,
    headers: { connection: 'Upgrade', upgrade: 'websocket' },
  });
  request.end();
  const [response, socket, first] = (await once(request, 'upgrade')) as [
    IncomingMessage,
    import('node:net').Socket,
    Buffer,
  ];
  assert.equal(response.statusCode, 101);
  let received = first.toString();
  socket.write('echo');
  while (received !== 'firstecho') received += ((await once(socket, 'data')) as [Buffer])[0].toString();
  socket.end();
  await once(socket, 'close');
});

test('the outbound port routes by Host, and says why it does not', async (t) => {
  const app = await startHttpApp(t, (request, response) => response.end(`api got ${request.url}`));
  const mesh = await startMesh(t, [app], { cluster: { outOfRotation: 2 } });
  const [api] = mesh.callerConfig.clusters;
  const empty = { ...api!, id: 'empty', service: 'empty', endpoints: [] };
  await mesh.caller.apply({
    ...withClusters(mesh.callerConfig, [api!, empty]),
    outbound: [listener('web', null)],
  });
  const port = portOf(mesh.caller, 'outbound');
  for (const host of ['api.mesh', 'API.mesh:80', 'api.service.mesh'])
    assert.equal((await ask(port, { headers: { host }, path: '/x' })).text, 'api got /x');
  const absolute = await exchange(
    port,
    'GET http://api.mesh/y?z HTTP/1.1\r\nHost: api.mesh\r\nConnection: close\r\n\r\n',
  );
  assert.match(absolute.text, /api got \/y\?z/);
  const bare = await exchange(
    port,
    'GET http://api.mesh HTTP/1.1\r\nHost: api.mesh\r\nConnection: close\r\n\r\n',
  );
  assert.match(bare.text, /api got \/\r?\n?/);
  for (const host of ['other.mesh', 'api.example', 'a.b.mesh', 'mesh', '']) {
    const { response } = await ask(port, { headers: { host } });
    assert.equal(response.statusCode, 404, host);
    assert.equal(response.headers['x-starling-reason'], 'no-route');
  }
  const { response, text } = await ask(port, { headers: { host: 'empty.mesh' } });
  assert.equal(response.statusCode, 503);
  assert.equal(
    text,
    'starling: no-healthy-upstream: empty has no instance in rotation (2 out of rotation)\n',
  );
});

test('a service without a certificate yet cannot call, and is told so', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end());
  const mesh = await startMesh(t, [app]);
  await mesh.caller.apply({ ...mesh.callerConfig, identities: [] });
  const { response } = await ask(mesh.port);
  assert.equal(response.statusCode, 503);
  assert.equal(response.headers['x-starling-reason'], 'no-identity');
  await mesh.caller.apply({ ...mesh.callerConfig, identities: [identityOf('web')] });
  assert.equal((await ask(mesh.port)).response.statusCode, 200);
});

test('more requests at once than one session carries go over a second one', async (t) => {
  const count = 1100;
  const waiting: import('node:http').ServerResponse[] = [];
  const app = await startHttpApp(t, (_request, response) => {
    waiting.push(response);
    if (waiting.length === count) for (const each of waiting) each.end('ok');
  });
  const mesh = await startMesh(t, [app]);
  const agent = new Agent();
  t.after(() => agent.destroy());
  const answers = await Promise.all(Array.from({ length: count }, () => ask(mesh.port, { agent })));
  assert.ok(answers.every(({ response }) => response.statusCode === 200));
  assert.equal(mesh.callee.stats().activeConnections, 2);
});

test('what is asked of another datacenter goes there, and is counted for the service', async (t) => {
  const app = await startHttpApp(t, (_, response) => response.end('far'));
  const mesh = await startMesh(t, [app]);
  const [api] = mesh.callerConfig.clusters;
  const [far] = mesh.callerConfig.destinations;
  await mesh.caller.apply({
    ...mesh.callerConfig,
    outbound: [listener('web', 'api'), listener('web', 'api@dc2'), listener('web', null)],
    clusters: [
      { ...api!, endpoints: [] },
      { ...api!, id: 'api@dc2' },
    ],
    destinations: [far!, { ...far!, id: 'api@dc2', routes: [plainRoute('api@dc2')] }],
  });
  const here = await ask(portOf(mesh.caller, 'upstream/web/api'));
  assert.equal(here.response.statusCode, 503);
  assert.equal((await ask(portOf(mesh.caller, 'upstream/web/api@dc2'))).text, 'far');
  const named = await ask(portOf(mesh.caller, 'outbound'), { headers: { host: 'api@dc2.mesh' } });
  assert.equal(named.response.statusCode, 400, 'no Host header names a datacenter');
  const rows = mesh.caller.stats().traffic.filter(({ destination }) => destination !== 'unknown');
  assert.deepEqual([...new Set(rows.map(({ destination }) => destination))], ['api']);
});
