/** Clients and servers that people really use, through two real agents: each sees what it would see without them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Agent, request as undiciRequest } from 'undici';
import { WebSocketServer, WebSocket as WsClient } from 'ws';
import { parseH2load } from '../../bench/proxy/h2load-report.ts';
import { parseWrk } from '../../bench/proxy/wrk-output.ts';
import { command, Program, until } from '../../demo/flock.ts';
import { curl } from './mesh.ts';
import { type Application, type Pair, startHttp, startPair } from './proxy-pair.ts';

const far = '127.0.1.54';
const redisPort = 6399;
let app: Application;
let sockets: WebSocketServer;
let redis: Program;
const redisFolder = mkdtempSync(join(tmpdir(), 'starling-redis-'));
let pair: Pair;
let url: string;

before(async () => {
  app = await startHttp(far, (incoming, outgoing) => {
    if (incoming.url === '/slow') setTimeout(() => outgoing.end('slow'), 300);
    else if (incoming.url === '/echo') incoming.pipe(outgoing);
    else if (incoming.method === 'HEAD') outgoing.writeHead(200, { 'content-length': 5 }).end();
    else outgoing.end('hello');
  });
  sockets = new WebSocketServer({ host: far, port: 0 });
  await once(sockets, 'listening');
  sockets.on('connection', (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
  redis = new Program('redis-server', [
    ...['--bind', far, '--port', String(redisPort), '--dir', redisFolder],
    ...['--save', '', '--appendonly', 'no'],
  ]);
  await until('redis accepts', 10_000, () =>
    Promise.resolve(redis.stdout.includes('Ready to accept connections')),
  );
  pair = await startPair(53, [
    { name: 'api', port: app.port },
    { name: 'chat', port: (sockets.address() as AddressInfo).port },
    { name: 'cache', port: redisPort, protocol: 'tcp' },
    { name: 'plain', port: app.port, protocol: 'http' },
  ]);
  url = `http://${pair.address}:${pair.port}`;
});
after(async () => {
  await pair?.stop();
  for (const client of sockets.clients) client.terminate();
  sockets.close();
  await redis?.stop();
  rmSync(redisFolder, { recursive: true, force: true });
  await app?.stop();
});

test('curl: GET, HEAD, a range of methods, uploads that expect to continue, and keep-alive', async () => {
  assert.deepEqual(await answer(), [200, 'hello']);
  assert.match((await curl('-I', url)).body, /^HTTP\/1\.1 200 OK\r\n[\s\S]*content-length: 5\r\n/i);
  for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND'])
    assert.deepEqual(await answer('-X', method), [200, 'hello'], method);
  const upload = 'x'.repeat(2 << 20);
  const file = join(pair.flock.directory, 'upload');
  await command('sh', ['-c', `head -c ${upload.length} /dev/zero | tr '\\0' x > ${file}`]);
  const echoed = await curl('-T', file, '-H', 'Expect: 100-continue', `${url}/echo`);
  assert.equal(echoed.body, upload);
  const twice = await command('curl', ['-sv', url, url]);
  assert.match(twice.stderr, /Re-using existing connection/);

  async function answer(...flags: string[]): Promise<[number, string]> {
    const { status, body } = await curl(...flags, url);
    return [status, body];
  }
});

test('wrk and h2load see no error', async () => {
  const wrk = parseWrk((await command('wrk', ['-t', '1', '-c', '16', '-d', '1s', url])).stdout);
  assert.deepEqual([wrk.failed, wrk.requests >= 16], [0, true]);
  const loaded = await command('h2load', ['--h1', '-c', '8', '-n', '2000', url]);
  assert.deepEqual(parseH2load(loaded.stdout).failed, 0);
  assert.match(loaded.stdout, /2000 succeeded/);
});

test('curl and h2load speak HTTP/2 to an application that does not', async () => {
  const plain = `http://${pair.address}:${pair.port + 3}`;
  const answer = await curl('--http2-prior-knowledge', '-i', plain);
  assert.match(answer.body, /^HTTP\/2 200 [\s\S]*hello$/);
  const upload = 'x'.repeat(100_000);
  const echoed = await curl('--http2-prior-knowledge', '-d', upload, `${plain}/echo`);
  assert.deepEqual([echoed.status, echoed.body], [200, upload]);
  const loaded = await command('h2load', ['-c', '4', '-m', '10', '-n', '4000', plain]);
  assert.equal(parseH2load(loaded.stdout).failed, 0);
  assert.match(loaded.stdout, /4000 succeeded/);
});

test('undici keeps its one connection, and pipelines on it', async (t) => {
  const agent = new Agent({ connections: 1, pipelining: 1 });
  t.after(() => agent.close());
  let opened = 0;
  agent.on('connect', () => opened++);
  for (let index = 0; index < 50; index++) {
    const { statusCode, body } = await undiciRequest(url, { dispatcher: agent });
    assert.deepEqual([statusCode, await body.text()], [200, 'hello']);
  }
  assert.equal(opened, 1);
  const pipelining = new Agent({ connections: 1, pipelining: 10 });
  t.after(() => pipelining.close());
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const path = index % 10 === 0 ? '/slow' : '/';
      const { body } = await undiciRequest(url + path, { dispatcher: pipelining });
      return [path, await body.text()];
    }),
  );
  for (const [path, text] of answers) assert.equal(text, path === '/slow' ? 'slow' : 'hello');
});

test('a WebSocket of ws and the one of Node speak through, both ways and large', async () => {
  const chat = `ws://${pair.address}:${pair.port + 1}`;
  const ws = new WsClient(chat);
  await once(ws, 'open');
  for (const message of ['small', Buffer.alloc(3 << 20, 'w')]) {
    ws.send(message);
    const [echoed] = (await once(ws, 'message')) as [Buffer];
    assert.ok(echoed.equals(Buffer.from(message)));
  }
  ws.ping('are you there');
  assert.equal(String(((await once(ws, 'pong')) as [Buffer])[0]), 'are you there');
  ws.close(4000, 'enough');
  assert.equal(((await once(ws, 'close')) as [number])[0], 4000);

  const own = new WebSocket(chat);
  const told = <T extends Event>(event: string): Promise<T> =>
    new Promise((done) => own.addEventListener(event, (it) => done(it as T), { once: true }));
  await told('open');
  own.send('hello');
  assert.equal((await told<MessageEvent>('message')).data, 'hello');
  own.close();
  assert.equal((await told<CloseEvent>('close')).wasClean, true);
});

test('redis-cli talks to redis-server, which speaks a protocol of its own', async () => {
  const cli = async (...args: string[]): Promise<string> => {
    const result = await command('redis-cli', ['-h', pair.address, '-p', String(pair.port + 2), ...args]);
    assert.equal(result.code, 0, result.stderr);
    return result.stdout.trim();
  };
  assert.equal(await cli('ping'), 'PONG');
  assert.equal(await cli('set', 'flock', 'starlings'), 'OK');
  assert.equal(await cli('get', 'flock'), 'starlings');
  assert.equal((await cli('eval', `return string.rep('s', ${4 << 20})`, '0')).length, 4 << 20);
  assert.match(await cli('-r', '3', 'incr', 'count'), /1\n2\n3$/);
  const transaction = await command('sh', [
    '-c',
    `printf 'multi\nset a 1\nincr a\nexec\n' | redis-cli -h ${pair.address} -p ${pair.port + 2}`,
  ]);
  assert.match(transaction.stdout, /OK\nQUEUED\nQUEUED\nOK\n2\n$/);
});
