import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Server as GrpcServer, type handleUnaryCall, ServerCredentials } from '@grpc/grpc-js';
import { type CheckResult, CheckRunner, maxConcurrentRuns } from '../../../../src/agent/io/checks.ts';
import type { CheckDefinition } from '../../../../src/agent/kinds.ts';
import { checkOf } from '../../../support/agent.ts';
import { inCrowdedProcess } from '../../../support/crowded.ts';

function check(fields: Partial<CheckDefinition>): CheckDefinition {
  const http = { type: 'http', method: 'GET', intervalMs: 10_000, timeoutMs: 10_000, ttlMs: 0 } as const;
  return checkOf({ id: 'c', name: 'check', ...http, ...fields });
}

const script = (...args: string[]) => check({ type: 'script', args });

/** Runs one check to its end. */
async function run(context: TestContext, definition: CheckDefinition): Promise<CheckResult> {
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const runner = new CheckRunner(resolve);
  context.after(() => runner.close());
  runner.run(definition);
  return promise;
}

async function listen(context: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function serve(context: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  context.after(() => server.closeAllConnections());
  return `http://127.0.0.1:${await listen(context, server)}`;
}

test('HTTP: 2xx passes, 429 warns, everything else is critical', async (context) => {
  const url = await serve(context, (request, response) => {
    response.statusCode = Number(request.url!.slice(1));
    response.end('body');
  });
  for (const [code, status] of [
    [200, 'passing'],
    [204, 'passing'],
    [429, 'warning'],
    [404, 'critical'],
    [500, 'critical'],
  ] as const) {
    const result = await run(context, check({ target: `${url}/${code}` }));
    assert.equal(result.status, status, `${code}`);
  }
  const { checkId, output } = await run(context, check({ id: 'x', target: `${url}/503` }));
  assert.deepEqual([checkId, output], ['x', `HTTP GET ${url}/503: 503 Service Unavailable Output: body`]);
});

test('HTTP: method, headers and body are sent as the definition says', async (context) => {
  const seen: { request: IncomingMessage; body: string }[] = [];
  const url = await serve(context, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      seen.push({ request, body });
      response.end();
    });
  });
  const header = { Host: ['app.internal'], 'X-Probe': ['1', '2'], Accept: ['text/x'] };
  await run(context, check({ target: url, method: 'PUT', header, body: 'ping' }));
  const [{ request, body }] = seen as [(typeof seen)[0]];
  assert.deepEqual(
    [request.method, request.headers.host, request.headers['x-probe'], request.headers.accept, body],
    ['PUT', 'app.internal', '1, 2', 'text/x', 'ping'],
  );
  assert.equal(request.headers['user-agent'], 'Starling Health Check');
  assert.equal(request.headers.connection, 'close');
});

test('HTTP: redirects are followed, but not for ever', async (context) => {
  const url = await serve(context, (request, response) => {
    if (request.url === '/ready') return response.end('ready');
    return response.writeHead(302, { location: request.url === '/' ? '/ready' : '/loop' }).end();
  });
  assert.equal((await run(context, check({ target: `${url}/` }))).status, 'passing');
  assert.equal((await run(context, check({ target: `${url}/loop` }))).status, 'critical');
});

test('HTTP: a redirect keeps what it may: the body as its status says, credentials at one origin only', async (context) => {
  const seen: string[] = [];
  const listener =
    (elsewhere: string): RequestListener =>
    (request, response) => {
      const { authorization, 'content-length': length } = request.headers;
      seen.push(`${request.method} ${request.url} ${length ?? '-'} ${authorization ?? '-'}`);
      const location = { '/307': '/here', '/303': `${elsewhere}/there` }[request.url ?? ''];
      if (location === undefined) response.end();
      else response.writeHead(Number(request.url!.slice(1)), { location }).end();
    };
  const other = await serve(context, listener(''));
  const url = await serve(context, listener(other));
  const header = { Authorization: ['secret'] };
  await run(context, check({ target: `${url}/307`, method: 'POST', header, body: 'ping' }));
  await run(context, check({ target: `${url}/303`, method: 'POST', header, body: 'ping' }));
  await run(context, check({ target: `${url}/`, header, body: 'ping' }));
  assert.deepEqual(seen, [
    'POST /307 4 secret',
    'POST /here 4 secret',
    'POST /303 4 secret',
    'GET /there - -',
    'GET / 4 secret',
  ]);
});

test('HTTP: a redirect to another host, or to what is no URL, is an answer and no direction', async (context) => {
  let asked = 0;
  const other = await serve(context, (_request, response) => {
    asked++;
    response.end();
  });
  const elsewhere = other.replace('127.0.0.1', '127.0.0.2');
  for (const location of [elsewhere, `//127.0.0.2:${new URL(other).port}/`, 'ftp://127.0.0.1/', 'http://[']) {
    const url = await serve(context, (_request, response) => response.writeHead(307, { location }).end());
    const { status, output } = await run(context, check({ target: url, method: 'PUT' }));
    assert.equal(status, 'critical', location);
    assert.match(output, /: 307 Temporary Redirect/);
  }
  assert.equal(asked, 0);
});

for (const [what, target] of [
  ['the metadata address', 'http://169.254.169.254/latest/meta-data/iam'],
  ['it as one number', 'http://2852039166/'],
  ['it in hexadecimal', 'http://0xa9fea9fe/'],
  ['it as an IPv6 address', 'http://[::ffff:169.254.169.254]/'],
  ['a link-local address of IPv6', 'http://[fe80::1]/'],
  ['the metadata address of IPv6', 'http://[fd00:ec2::254]/'],
] as const)
  test(`a check of ${what} is refused before anything is sent`, async (context) => {
    const { status, output } = await run(context, check({ target, timeoutMs: 5000 }));
    assert.equal(status, 'critical');
    assert.match(output, /refused: \S+ is a link-local address/);
    const address = new URL(target).hostname;
    const tcp = await run(context, check({ type: 'tcp', target: `${address}:80`, timeoutMs: 5000 }));
    assert.match(tcp.output, /refused/);
  });

test('no check speaks to the agent’s own API, by whatever name of this host', async (context) => {
  let asked = 0;
  const url = await serve(context, (_request, response) => {
    asked++;
    response.end();
  });
  const { port } = new URL(url);
  const hosts = [
    '127.0.0.1',
    'localhost',
    '127.9.9.9',
    '0.0.0.0',
    '[::]',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '2130706433',
  ];
  for (const host of hosts) {
    const { promise, resolve } = Promise.withResolvers<CheckResult>();
    const runner = new CheckRunner(resolve);
    runner.reach.apiPort = Number(port);
    runner.run(check({ target: `http://${host}:${port}/v1/agent/leave`, method: 'PUT' }));
    assert.match((await promise).output, /refused: .*is this agent's own API/, host);
    await runner.close();
  }
  assert.equal(asked, 0);
  assert.equal(
    (await run(context, check({ target: url.replace('127.0.0.1', 'localhost') }))).status,
    'passing',
  );
});

test('HTTP: an endless body is cut, and its connection closed', async (context) => {
  const closed = Promise.withResolvers<void>();
  const url = await serve(context, (request, response) => {
    request.socket.once('close', () => closed.resolve());
    const pump = (): void => {
      while (response.write('x'.repeat(1024)));
    };
    response.on('drain', pump);
    pump();
  });
  const { status, output } = await run(context, check({ target: url }));
  assert.equal(status, 'passing');
  assert.equal(output.length, `HTTP GET ${url}: 200 OK Output: `.length + 4096);
  await closed.promise;
});

test('HTTP: silence is critical after the timeout, before and after the head', async (context) => {
  const url = await serve(context, (request, response) => {
    if (request.url === '/head') response.writeHead(200).flushHeaders();
  });
  for (const path of ['/', '/head']) {
    const { status, output } = await run(context, check({ target: url + path, timeoutMs: 100 }));
    assert.deepEqual([status, output], ['critical', `HTTP GET ${url}${path}: timed out after 100ms`]);
  }
});

test('HTTP: a closed port is critical and says why', async (context) => {
  const server = createTcpServer();
  const port = await listen(context, server);
  server.close();
  await once(server, 'close');
  const { status, output } = await run(context, check({ target: `http://127.0.0.1:${port}/` }));
  assert.equal(status, 'critical');
  assert.match(output, /ECONNREFUSED/);
});

test('HTTPS: a certificate nobody vouches for fails unless the check skips verification', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'starling-checks-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', [...request, '-subj', '/CN=x', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const server = createTlsServer(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (_request, response) => {
      response.end('secret');
    },
  );
  const target = `https://127.0.0.1:${await listen(context, server)}/`;
  context.after(() => server.closeAllConnections());
  assert.equal((await run(context, check({ target }))).status, 'critical');
  assert.equal((await run(context, check({ target, tlsSkipVerify: true }))).status, 'passing');
});

/** A server of `Check` that answers by the service asked for; resolves with its port. */
async function serveGrpc(context: TestContext): Promise<number> {
  const server = new GrpcServer();
  context.after(() => server.forceShutdown());
  const raw = (bytes: Buffer): Buffer => bytes;
  const path = '/grpc.health.v1.Health/Check';
  const method = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: raw,
    requestDeserialize: raw,
  };
  const answers: { readonly [service: string]: Buffer } = {
    '': Buffer.from([8, 1]),
    [`a.${'b'.repeat(150)}`]: Buffer.from([8, 1]),
    ill: Buffer.from([8, 2]),
    unset: Buffer.alloc(0),
    odd: Buffer.from([8, 99]),
    huge: Buffer.alloc(1 << 20),
  };
  const Check: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    const named = call.request.subarray(call.request.length > 129 ? 3 : 2).toString();
    const answer = answers[named];
    done(answer === undefined ? { code: 5, details: `no ${named}` } : null, answer);
  };
  server.addService({ Check: { ...method, responseSerialize: raw, responseDeserialize: raw } }, { Check });
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    ),
  );
}

test('gRPC: SERVING passes, everything else is critical and says why', async (context) => {
  const port = await serveGrpc(context);
  const plain = new URL(await serve(context, (_request, response) => response.end('no gRPC')));
  for (const [target, status, output] of [
    [`127.0.0.1:${port}`, 'passing', /: SERVING$/],
    [`localhost:${port}/a.${'b'.repeat(150)}`, 'passing', /: SERVING$/],
    [`127.0.0.1:${port}/ill`, 'critical', /: NOT_SERVING$/],
    [`127.0.0.1:${port}/unset`, 'critical', /: UNKNOWN$/],
    [`127.0.0.1:${port}/odd`, 'critical', /not one of grpc\.health\.v1/],
    [`127.0.0.1:${port}/huge`, 'critical', /longer than 4096 bytes/],
    [`127.0.0.1:${port}/other`, 'critical', /gRPC status 5 no other/],
    [`127.0.0.1:${plain.port}`, 'critical', /./],
    ['127.0.0.1:1', 'critical', /ECONNREFUSED/],
    ['169.254.169.254:80', 'critical', /refused: .*link-local/],
    [`https://127.0.0.1:${port}`, 'critical', /./],
  ] as const) {
    const result = await run(context, check({ type: 'grpc', target }));
    assert.equal(result.status, status, `${target}: ${result.output}`);
    assert.match(result.output, output);
  }
});

test('gRPC: silence is critical after the timeout', async (context) => {
  const port = await listen(
    context,
    createTcpServer((socket) => context.after(() => socket.destroy())),
  );
  const { status, output } = await run(
    context,
    check({ type: 'grpc', target: `127.0.0.1:${port}`, timeoutMs: 50 }),
  );
  assert.equal(status, 'critical');
  assert.match(output, /timed out after 50ms$/);
});

test('TCP: an open port passes, a closed one is critical', async (context) => {
  const server = createTcpServer((socket) => socket.destroy());
  const port = await listen(context, server);
  const target = `127.0.0.1:${port}`;
  const open = await run(context, check({ type: 'tcp', target }));
  assert.deepEqual([open.status, open.output], ['passing', `TCP connect ${target}: Success`]);
  server.close();
  await once(server, 'close');
  const closed = await run(context, check({ type: 'tcp', target }));
  assert.equal(closed.status, 'critical');
  assert.match(closed.output, /ECONNREFUSED/);
});

test('TCP: an address in brackets is IPv6', async (context) => {
  const { output } = await run(context, check({ type: 'tcp', target: '[::1]:1' }));
  assert.match(output, /^TCP connect \[::1\]:1: .*(ECONNREFUSED|EADDRNOTAVAIL|EAFNOSUPPORT).*::1/);
});

test('scripts: exit 0 passes, 1 warns, everything else is critical, with what was printed', async (context) => {
  for (const [code, status] of [
    [0, 'passing'],
    [1, 'warning'],
    [2, 'critical'],
  ] as const) {
    const result = await run(context, script('/bin/sh', '-c', `echo out; echo err >&2; exit ${code}`));
    assert.equal(result.status, status);
    assert.deepEqual(result.output.split('\n').sort(), ['', 'err', 'out']);
  }
});

test('scripts: arguments are passed as they are, without a shell', async (context) => {
  const { output } = await run(context, script('/bin/echo', '$HOME', '; exit 2'));
  assert.equal(output, '$HOME ; exit 2\n');
});

test('scripts: a program that is not there is critical', async (context) => {
  const { status, output } = await run(context, script('/nowhere/program'));
  assert.equal(status, 'critical');
  assert.match(output, /ENOENT/);
});

test('scripts: where no file descriptor is left the check is critical, and nothing else happens', async () => {
  const outcome = await inCrowdedProcess<{ status: string; output: string }>(`
    import { runScript } from ${JSON.stringify(import.meta.resolve('../../../../src/agent/io/check-script.ts'))};
    crowd();
    const check = { id: 'c', args: ['/bin/true'], timeoutMs: 1000 };
    const outcome = await runScript(check, new AbortController().signal);
    uncrowd();
    console.log(JSON.stringify(outcome));
  `);
  assert.equal(outcome.status, 'critical');
  assert.match(outcome.output, /EMFILE/);
});

test('scripts: the end of a long output is kept', async (context) => {
  const { output } = await run(context, script('/bin/sh', '-c', 'seq 1 5000; echo last'));
  assert.match(output, /^Captured 4096 of 23898 bytes\n\.\.\.\n/);
  assert.ok(output.endsWith('\n5000\nlast\n'));
});

test("scripts: the agent's settings are not in the environment", async (context) => {
  process.env.STARLING_TOKEN = 'join-me';
  context.after(() => delete process.env.STARLING_TOKEN);
  const { output } = await run(context, script('/usr/bin/env'));
  assert.match(output, /^PATH=/m);
  assert.doesNotMatch(output, /STARLING/);
});

test('scripts: at the timeout everything that was started is killed', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'starling-checks-'));
  context.after(() => rmSync(folder, { recursive: true }));
  // The pipe stays open as long as any of the children lives: its end shows that all are gone.
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const gone = once(createReadStream(pipe).resume(), 'end');
  const definition = script('/bin/sh', '-c', `exec 3>${pipe}; echo begun; sleep 600 & sleep 600`);
  const { status, output } = await run(context, { ...definition, timeoutMs: 200 });
  assert.equal(status, 'critical');
  assert.equal(output, 'Timed out (200ms) running check\n\nbegun\n');
  await gone;
});

test('never more than a few runs at once, and every run is answered', async (context) => {
  let [now, most] = [0, 0];
  const held: (() => void)[] = [];
  const url = await serve(context, (_request, response) => {
    most = Math.max(most, ++now);
    held.push(() => {
      now--;
      response.end();
    });
    // The first answers go out once the limit is reached: a runner without one would go past it.
    if (held.length >= maxConcurrentRuns) for (const release of held.splice(0)) release();
  });
  const total = maxConcurrentRuns * 3;
  let answered = 0;
  const done = Promise.withResolvers<void>();
  const runner = new CheckRunner(({ status }) => {
    assert.equal(status, 'passing');
    if (++answered === total) done.resolve();
  });
  context.after(() => runner.close());
  for (let i = 0; i < total; i++) runner.run(check({ id: `c${i}`, target: url }));
  await done.promise;
  assert.equal(most, maxConcurrentRuns);
});

test('closing cuts what runs, and no result comes any more', async (context) => {
  const arrived = Promise.withResolvers<void>();
  const url = await serve(context, () => arrived.resolve());
  const results: CheckResult[] = [];
  const runner = new CheckRunner((result) => results.push(result));
  runner.run(check({ target: url }));
  runner.run(script('/bin/sleep', '600'));
  runner.run(check({ type: 'tcp', target: '127.0.0.1:9' }));
  await arrived.promise;
  await runner.close();
  runner.run(check({ target: url }));
  assert.deepEqual(
    results.filter(({ output }) => !output.includes('127.0.0.1:9')),
    [],
  );
});
