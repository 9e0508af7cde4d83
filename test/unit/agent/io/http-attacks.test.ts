/** What somebody who means harm sends to the local API: refused, without cost, and the next request is answered. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { maxBodyBytes } from '../../../../src/agent/io/http/bodies.ts';
import { ClientRates } from '../../../../src/agent/io/http/client-rates.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

let api: TestApi;
const failures: string[] = [];
beforeEach(async () => {
  failures.length = 0;
  api = await startApi({
    maxHeldBytes: 4 * maxBodyBytes,
    rates: new ClientRates({ reads: { burst: 50, perSecond: 1, maxRequesters: 4 } }),
    agentUid: -1,
    onError: ({ method, path, error }) => failures.push(`${method} ${path} ${error}`),
  });
});
afterEach(() => api.server.close());

/** Everything that is written to, with a body that would do something. */
const writes = [
  ['PUT', '/v1/agent/service/register'],
  ['PUT', '/v1/agent/check/register'],
  ['PUT', '/v1/agent/check/update/none'],
  ['PUT', '/v1/config'],
  ['PUT', '/v1/connect/intentions/exact?source=a&destination=b'],
  ['POST', '/v1/mesh/tokens'],
  ['POST', '/v1/mesh/ca/deny'],
  ['POST', '/v1/agent/connect/authorize'],
] as const;

async function untouched(): Promise<void> {
  assert.deepEqual(api.agent.commands, []);
  assert.deepEqual(failures, [], 'nothing that a client sends is our failure');
  assert.equal((await api.call('GET', '/v1/agent/services')).text, '{}');
}

const foreign: readonly { readonly [name: string]: string }[] = [
  { origin: 'https://evil.example' },
  { origin: 'null' },
  { host: 'evil.example' },
  { host: '127.0.0.1.evil.example:8500' },
];

test('a page of another site changes nothing, whatever form it sends', async () => {
  const body = '{"Name":"evil","Port":80}';
  const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', ''];
  for (const type of types)
    for (const [method, path] of writes)
      for (const headers of foreign) {
        const { status } = await api.call(method, path, {
          body,
          headers: { ...headers, 'content-type': type },
          operator: true,
        });
        assert.ok(status === 403, `${method} ${path} ${type} ${JSON.stringify(headers)}: ${status}`);
      }
  const form = { 'content-type': 'text/plain' };
  assert.equal((await api.call('POST', '/v1/agent/service/register', { body, headers: form })).status, 405);
  await untouched();
});

test('deep, huge, broken and poisoned JSON is refused everywhere', async () => {
  const bodies = [
    '['.repeat(100_000),
    `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    `${'{"Name":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
    `{"Name":"web","Meta":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`,
    `{"Name":"web","Port":${'9'.repeat(100_000)}}`,
    '{"Name":"web","Port":1e999}',
    '{"__proto__":{"Name":"web","Port":80,"polluted":true}}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    '{"Name":"web","Port":80,"__proto__":null}',
    '{"Name":"web\\u0000","Port":80}',
    '\u0000',
    '"',
    'null',
    '[]',
    '\ufeff{}',
  ];
  for (const body of bodies)
    for (const [method, path] of writes) {
      const { status } = await api.call(method, path, { body, operator: true });
      assert.ok(status >= 400 && status < 500, `${method} ${path} ${body.slice(0, 40)}: ${status}`);
    }
  assert.equal((Object.prototype as { polluted?: boolean }).polluted, undefined);
  await untouched();
});

test('nobody registers for another host, here or through the catalog', async () => {
  const service = { Name: 'web', Port: 80 };
  for (const [path, body, status] of [
    [
      '/v1/catalog/register',
      { Node: 'two', Address: '10.0.0.2', Service: { Service: 'web', Port: 80 } },
      501,
    ],
    ['/v1/catalog/deregister', { Node: 'two', ServiceID: 'api' }, 501],
    ['/v1/agent/service/register', { ...service, Node: 'two' }, 400],
    ['/v1/agent/service/register', { ...service, Datacenter: 'dc9' }, 400],
    ['/v1/agent/service/deregister/two%2Fapi', {}, 404],
    ['/v1/agent/check/pass/..%2f..%2fleave', {}, 404],
  ] as const)
    assert.equal((await api.call('PUT', path, { body, operator: true })).status, status, path);
  await untouched();
});

test('expressions and paths that are bombs cost nothing', async () => {
  const filters = [
    '('.repeat(500),
    `${'not '.repeat(500)}Node==a`,
    `${'Node==a or '.repeat(400)}Node==a`,
    `Node matches "${'(a+'.repeat(100)}"`,
    'Node matches "(a|a|a|a){1000}{1000}"',
    `"${'x'.repeat(4000)}`,
  ];
  for (const filter of filters) {
    const { status } = await api.call('GET', `/v1/catalog/nodes?filter=${encodeURIComponent(filter)}`);
    assert.ok(status === 400 || status === 200, `${filter.slice(0, 30)}: ${status}`);
  }
  for (const path of [
    `/v1/health/service/${'a'.repeat(600)}`,
    '/v1/%zz',
    '/v1/agent/service/%0d%0aX:1',
    '//v1/agent/self',
  ]) {
    const { status, headers } = await api.call('GET', path);
    assert.ok(status >= 400 && status < 500, `${path.slice(0, 40)}: ${status}`);
    assert.equal(headers.x, undefined);
  }
  await untouched();
});

/** Sends raw bytes; resolves with everything that came until the connection ended. */
function raw(): { readonly socket: Socket; readonly answer: Promise<string> } {
  const [host, port] = api.address.split(':');
  const socket = connect(Number(port), host);
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  return { socket, answer: new Promise((done) => socket.on('close', () => done(received))) };
}

test('a body without a length is cut at the limit', async () => {
  const { socket, answer } = raw();
  socket.write(
    'PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n',
  );
  const chunk = `10000\r\n${' '.repeat(0x10000)}\r\n`;
  for (let i = 0; i < 20; i++) socket.write(chunk);
  assert.match(await answer, /^HTTP\/1\.1 413 /);
  await untouched();
});

test('many large bodies at once are taken in up to a bound, and small ones go past them', async () => {
  const head = `PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${maxBodyBytes}\r\n\r\n`;
  const slow = Array.from({ length: 8 }, raw);
  for (const { socket } of slow) socket.write(head + ' '.repeat(maxBodyBytes - 1));
  const refused = await Promise.race(slow.map(({ answer }) => answer));
  assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*too many large requests/);
  const small = await api.call('PUT', '/v1/agent/service/register', {
    body: { Name: 'web', Port: 80 },
    operator: true,
  });
  assert.equal(small.status, 200);
  const over = slow.map(({ answer }) => answer);
  for (const { socket } of slow) socket.destroy();
  await Promise.all(over);
  const large = { Name: 'big', Port: 80, Meta: { a: 'x'.repeat(500_000) } };
  const after = await api.call('PUT', '/v1/agent/service/register', { body: large, operator: true });
  assert.equal(after.status, 400, 'what they held is free again: it is read, and its field refused');
});

test('a client that asks too often is told when to come back, and others are answered', async () => {
  const { socket, answer } = raw();
  socket.write('GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(51));
  socket.end('GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  const text = await answer;
  assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 50);
  assert.match(text, /HTTP\/1\.1 429 [\s\S]*retry-after: 1\r\n/i);
  assert.equal((await api.call('GET', '/v1/status/leader')).status, 200);
});

test('changes are counted by user, reads by connection or foreign address, and the owner of the host not at all', () => {
  const few = { burst: 2, perSecond: 1, maxRequesters: 16 };
  const rates = new ClientRates({ changes: few, reads: few });
  const from = (port: number, address = '127.0.0.1') =>
    ({ remoteAddress: address, remotePort: port }) as Socket;
  const authority = { agentUid: 5, operator: false };
  const spent = (
    caller: Parameters<ClientRates['refusalOf']>[0]['caller'],
    socket: Socket,
    isRead: boolean,
  ) =>
    Array.from({ length: 3 }, () => rates.refusalOf({ caller, authority }, socket, isRead, 0)).some(
      (one) => one !== null,
    );
  const user = (uid: number | null) => ({ type: 'local', uid }) as const;
  assert.equal(spent(user(7), from(1), false), true);
  assert.equal(rates.refusalOf({ caller: user(7), authority }, from(2), false, 0)?.retryAfterSeconds, 1);
  assert.equal(rates.refusalOf({ caller: user(8), authority }, from(2), false, 0), null);
  assert.equal(rates.refusalOf({ caller: user(7), authority }, from(2), false, 1000), null, 'a second later');
  assert.equal(spent(user(null), from(3), true), true);
  assert.equal(rates.refusalOf({ caller: user(null), authority }, from(4), true, 0), null);
  assert.equal(spent({ type: 'remote' }, from(5, '10.0.0.9'), true), true);
  assert.ok(
    rates.refusalOf({ caller: { type: 'remote' }, authority }, from(6, '10.0.0.9'), true, 0) !== null,
  );
  for (const owner of [user(0), user(5), { type: 'unix' } as const])
    assert.equal(spent(owner, from(7), false), false);
});

test('what is refused is quoted in one line, and cut', async () => {
  const evil = 'a\u001b[2J\nlevel=error msg="root logged in"';
  for (const [method, path, body] of [
    ['PUT', '/v1/agent/service/register', { Name: evil, Port: 80 }],
    ['PUT', '/v1/agent/service/register', { Name: 'web', Port: 80, [evil]: 1 }],
    ['PUT', `/v1/agent/service/maintenance/${encodeURIComponent(evil)}?enable=true`, {}],
    ['GET', `/v1/catalog/nodes?filter=${encodeURIComponent(evil)}`, undefined],
  ] as const) {
    const { status, text } = await api.call(method, path, { body, operator: true });
    assert.ok(status >= 400 && status < 500, path);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    assert.doesNotMatch(text, /[\x00-\x1f\x7f]/, path);
  }
  await untouched();
});

test('what may be asked of a path is told to its own site alone, and what cannot be read is refused in text', async () => {
  const asked = await api.call('OPTIONS', '/v1/config/service-defaults/api');
  assert.deepEqual([asked.status, asked.text, asked.headers.allow], [200, '', 'OPTIONS, GET, DELETE']);
  const wrong = await api.call('PUT', '/v1/config/service-defaults/api');
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'GET, DELETE']);
  assert.equal((await api.call('OPTIONS', '/v1/nowhere')).status, 404);
  for (const headers of foreign) {
    const preflight = { ...headers, 'access-control-request-method': 'PUT' };
    const answer = await api.call('OPTIONS', '/v1/config', { headers: preflight });
    assert.equal(answer.status, 403);
    assert.ok(!Object.keys(answer.headers).some((name) => name.startsWith('access-control')));
  }
  const large = await api.call('GET', '/v1/agent/self', { headers: { x: 'x'.repeat(20_000) } });
  assert.deepEqual(
    [large.status, large.headers['content-type'], large.text],
    [431, 'text/plain; charset=utf-8', '431 Request Header Fields Too Large'],
  );
  for (const [path, status] of [
    [`/v1/health/service/${'a'.repeat(600)}`, 414],
    ['/v1/health/service/%zz', 400],
  ] as const) {
    const refused = await api.call('GET', path);
    assert.deepEqual(
      [refused.status, refused.headers['content-type']],
      [status, 'text/plain; charset=utf-8'],
    );
    assert.doesNotMatch(refused.text, /[{}]/);
  }
  await untouched();
});

test('a large snapshot is taken of operators alone', async () => {
  const body = JSON.stringify({ entries: [], padding: 'x'.repeat(2 * maxBodyBytes) });
  assert.equal((await api.call('POST', '/v1/mesh/restore', { body })).status, 413);
  assert.equal((await api.call('POST', '/v1/mesh/restore', { body, operator: true })).status, 200);
  await untouched();
});
