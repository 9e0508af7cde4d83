import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { definitionOf, selfId } from '../../../support/agent.ts';
import { type Reply, startApi, type TestApi } from '../../../support/api.ts';

/** Resolves when that many requests wait; watches the server, not the clock. */
async function waiting(api: TestApi, count: number): Promise<void> {
  while (api.server.waiting() !== count) await new Promise((turn) => setImmediate(turn));
}

function indexOf(reply: Reply): number {
  return Number(reply.headers['x-consul-index']);
}

async function blockOn(api: TestApi, path: string): Promise<{ index: number; answer: Promise<Reply> }> {
  const index = indexOf(await api.call('GET', path));
  const before = api.server.waiting();
  const separator = path.includes('?') ? '&' : '?';
  const answer = api.call('GET', `${path}${separator}index=${index}&wait=60s`);
  await waiting(api, before + 1);
  return { index, answer };
}

test('a blocking query wakes when its service changes and not when another does', async () => {
  const api = await startApi();
  api.agent.addService(selfId, definitionOf({ name: 'api' }));
  const { index, answer } = await blockOn(api, '/v1/health/service/api');
  api.agent.addService(selfId, definitionOf({ name: 'web' }));
  assert.equal(api.server.waiting(), 1);
  api.agent.addService(selfId, definitionOf({ name: 'api', port: 9999 }));
  const reply = await answer;
  assert.ok(indexOf(reply) > index);
  assert.equal(reply.json<{ Service: { Port: number } }[]>()[0]!.Service.Port, 9999);
  await api.server.close();
});

test('a query for a service that nobody has yet wakes when the first instance comes', async () => {
  const api = await startApi();
  const { answer } = await blockOn(api, '/v1/health/service/later?passing');
  api.agent.addService(selfId, definitionOf({ name: 'later' }));
  assert.equal((await answer).json<unknown[]>().length, 1);
  await api.server.close();
});

test('a change of policy wakes those who wait for intentions', async () => {
  const api = await startApi();
  const { answer } = await blockOn(api, '/v1/connect/intentions');
  const body = { Kind: 'service-intentions', Name: 'api', Sources: [{ Name: 'web', Action: 'allow' }] };
  const written = await api.call('PUT', '/v1/config', { body, operator: true });
  assert.equal(written.status, 200, written.text);
  assert.equal((await answer).json<unknown[]>().length, 1);
  await api.server.close();
});

test('the index only grows, whatever happens', async () => {
  const api = await startApi();
  let last = 0;
  for (let i = 0; i < 5; i++) {
    api.agent.addService(selfId, definitionOf({ name: 'api', port: 9000 + i }));
    if (i === 3) await api.call('PUT', '/v1/agent/service/deregister/api');
    const index = indexOf(await api.call('GET', '/v1/health/service/api'));
    assert.ok(index > last, `${index} after ${last}`);
    last = index;
  }
  await api.server.close();
});

test('without a change the answer comes when the time is up, with the same index', async () => {
  const api = await startApi();
  const { headers } = await api.call('GET', '/v1/catalog/nodes');
  const reply = await api.call('GET', `/v1/catalog/nodes?index=${headers['x-consul-index']}&wait=20ms`);
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['x-consul-index'], headers['x-consul-index']);
  await api.server.close();
});

test('an index from before a restart is answered at once', async () => {
  const api = await startApi();
  const reply = await api.call('GET', '/v1/catalog/nodes?index=99999&wait=60s');
  assert.equal(reply.status, 200);
  assert.ok(indexOf(reply) < 99999);
  await api.server.close();
});

test('a malformed index or wait is refused', async () => {
  const api = await startApi();
  assert.equal((await api.call('GET', '/v1/catalog/nodes?index=x')).status, 400);
  assert.equal((await api.call('GET', '/v1/catalog/nodes?index=1&wait=soon')).status, 400);
  await api.server.close();
});

test('beyond the limit of waiting queries the answer is 429', async () => {
  const api = await startApi({ maxWaiting: 1 });
  const { index, answer } = await blockOn(api, '/v1/catalog/nodes');
  const refused = await api.call('GET', `/v1/catalog/nodes?index=${index}&wait=60s`);
  assert.equal(refused.status, 429);
  await api.server.close();
  assert.equal((await answer).status, 200, 'who waits is answered when the server stops');
});

test('a client that goes away stops waiting', async () => {
  const api = await startApi();
  const index = indexOf(await api.call('GET', '/v1/catalog/nodes'));
  const [host, port] = api.address.split(':');
  const socket = connect(Number(port), host);
  await once(socket, 'connect');
  socket.write(`GET /v1/catalog/nodes?index=${index}&wait=60s HTTP/1.1\r\nHost: ${api.address}\r\n\r\n`);
  await waiting(api, 1);
  socket.destroy();
  await waiting(api, 0);
  await api.server.close();
  assert.equal(api.agent.listenerCount, 0);
});

test('a service of this host blocks by the hash of its content', async () => {
  const api = await startApi();
  api.agent.addService(selfId, definitionOf({ name: 'api' }));
  const path = '/v1/agent/service/api';
  const hash = (await api.call('GET', path)).headers['x-consul-contenthash'];
  const answer = api.call('GET', `${path}?hash=${hash}&wait=60s`);
  await waiting(api, 1);
  api.agent.addService(selfId, definitionOf({ name: 'other' }));
  await waiting(api, 1);
  api.agent.addService(selfId, definitionOf({ name: 'api', port: 1 }));
  assert.notEqual((await answer).headers['x-consul-contenthash'], hash);
  await api.server.close();
});
