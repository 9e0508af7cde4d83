import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { RevokedToken, TokenStatus } from '../../../../src/agent/port.ts';
import { definitionOf, selfId } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';
import { asStranger, strangersApi, strangerUid } from '../../../support/stranger.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.server.close());

const put = (path: string, body?: unknown, operator = false) =>
  api.call('PUT', path, body === undefined ? { operator } : { body, operator });

test('a registered service is in the catalog with its checks, and gone when deregistered', async () => {
  const body = { Name: 'web', Port: 8080, Tags: ['v1'], Check: { TTL: '10s', Status: 'passing' } };
  assert.equal((await put('/v1/agent/service/register', body)).status, 200);
  const services = (await api.call('GET', '/v1/agent/services')).json<{ [id: string]: { Port: number } }>();
  assert.equal(services.web?.Port, 8080);
  const checks = (await api.call('GET', '/v1/agent/checks')).json<{
    [id: string]: { ServiceName: string };
  }>();
  assert.equal(checks['service:web']?.ServiceName, 'web');
  assert.equal((await api.call('GET', '/v1/health/service/web?passing')).json<unknown[]>().length, 1);
  assert.equal((await put('/v1/agent/service/deregister/web')).status, 200);
  assert.deepEqual((await api.call('GET', '/v1/agent/services')).json(), {});
  assert.equal((await put('/v1/agent/service/deregister/web')).status, 404);
});

test('what is wrong with a definition is refused with its field, and nothing changes', async () => {
  const cases: readonly (readonly [body: unknown, expected: RegExp])[] = [
    ['{"Name": ', /JSON/i],
    ['', /empty/],
    [{ Name: 'web', Prot: 80 }, /Prot/],
    [{ Name: 'web', Port: 70000 }, /Port/],
    [{ Port: 80 }, /Name/],
    [{ Name: 'web', Port: 80, User: 'no-such-user-here' }, /User/],
    [{ Name: 'web', Port: 80, Check: { Args: ['/bin/true'], Interval: '1s' } }, /Args/],
  ];
  for (const [body, expected] of cases) {
    const reply = await put('/v1/agent/service/register', body);
    assert.equal(reply.status, 400, JSON.stringify(body));
    assert.match(reply.text, expected);
    assert.match(String(reply.headers['content-type']), /^text\/plain/);
  }
  assert.equal(api.agent.commands.length, 0);
});

test('a body over the limit is refused', async () => {
  const reply = await put('/v1/agent/service/register', { Name: 'web', Meta: { a: 'x'.repeat(1 << 20) } });
  assert.equal(reply.status, 413);
});

test('applications report their TTL checks in every way that Consul has', async () => {
  await put('/v1/agent/service/register', { Name: 'web', Port: 80, Check: { CheckID: 'beat', TTL: '10s' } });
  const status = async () =>
    (await api.call('GET', '/v1/agent/checks')).json<{ beat: { Status: string; Output: string } }>().beat;
  await put('/v1/agent/check/pass/beat?note=all%20well');
  assert.deepEqual([(await status()).Status, (await status()).Output], ['passing', 'all well']);
  await put('/v1/agent/check/warn/beat');
  assert.equal((await status()).Status, 'warning');
  await put('/v1/agent/check/fail/beat');
  assert.equal((await status()).Status, 'critical');
  await put('/v1/agent/check/update/beat', { Status: 'passing', Output: 'fine' });
  assert.deepEqual([(await status()).Status, (await status()).Output], ['passing', 'fine']);
  assert.equal((await put('/v1/agent/check/update/beat', { Status: 'great' })).status, 400);
  assert.equal((await put('/v1/agent/check/pass/absent')).status, 404);
});

test('checks are added to a service and to the host, and taken back', async () => {
  await put('/v1/agent/service/register', { Name: 'web', Port: 80 });
  const added = await put('/v1/agent/check/register', { Name: 'disk', TTL: '30s', ServiceID: 'web' });
  assert.equal(added.status, 200, added.text);
  assert.equal((await put('/v1/agent/check/register', { Name: 'load', TTL: '30s' })).status, 200);
  assert.equal(
    (await put('/v1/agent/check/register', { Name: 'x', TTL: '30s', ServiceID: 'none' })).status,
    404,
  );
  assert.deepEqual(Object.keys((await api.call('GET', '/v1/agent/checks')).json<object>()).sort(), [
    'disk',
    'load',
  ]);
  assert.equal((await put('/v1/agent/check/deregister/disk')).status, 200);
  assert.deepEqual(Object.keys((await api.call('GET', '/v1/agent/checks')).json<object>()), ['load']);
});

test('a registration replaces the checks registered beside it only where it says so', async () => {
  const web = { Name: 'web', Port: 80, Check: { CheckID: 'own', TTL: '10s' } };
  const checks = async () => Object.keys((await api.call('GET', '/v1/agent/checks')).json<object>()).sort();
  await put('/v1/agent/service/register', web);
  await put('/v1/agent/check/register', { ID: 'beside', Name: 'beside', ServiceID: 'web', TTL: '10s' });
  await put('/v1/agent/check/register', { ID: 'host', Name: 'host', TTL: '10s' });
  await put('/v1/agent/service/maintenance/web?enable=true');
  await put('/v1/agent/service/register', { ...web, Tags: ['v2'] });
  assert.deepEqual(await checks(), ['_service_maintenance:web', 'beside', 'host', 'own']);
  await put('/v1/agent/service/register?replace-existing-checks=true', { ...web, Tags: ['v3'] });
  assert.deepEqual(await checks(), ['_service_maintenance:web', 'host', 'own']);
});

test('the health of a service on this host is told by status code', async () => {
  await put('/v1/agent/service/register', { Name: 'web', Port: 80, Check: { CheckID: 'beat', TTL: '10s' } });
  const ask = async (path: string) => (await api.call('GET', `/v1/agent/health/service/${path}`)).status;
  assert.equal(await ask('name/web'), 503);
  await put('/v1/agent/check/warn/beat');
  assert.equal(await ask('id/web'), 429);
  await put('/v1/agent/check/pass/beat');
  assert.equal(await ask('name/web'), 200);
  assert.equal(await ask('name/none'), 404);
  assert.equal((await api.call('GET', '/v1/agent/health/service/name/web?format=text')).text, 'passing');
});

test('maintenance takes a service or the whole host out of rotation and puts it back', async () => {
  await put('/v1/agent/service/register', { Name: 'web', Port: 80 });
  const passing = async () =>
    (await api.call('GET', '/v1/health/service/web?passing')).json<unknown[]>().length;
  await put('/v1/agent/service/maintenance/web?enable=true&reason=upgrade');
  assert.equal(await passing(), 0);
  await put('/v1/agent/service/maintenance/web?enable=false');
  assert.equal(await passing(), 1);
  await put('/v1/agent/maintenance?enable=true');
  assert.equal(await passing(), 0);
  await put('/v1/agent/maintenance?enable=false');
  assert.equal(await passing(), 1);
  assert.equal((await put('/v1/agent/maintenance')).status, 400);
  assert.equal((await put('/v1/agent/service/maintenance/none?enable=true')).status, 404);
});

test('joining a member of this mesh changes nothing, joining anybody else is refused', async () => {
  assert.equal((await put('/v1/agent/join/127.0.0.1')).status, 200);
  assert.equal((await put('/v1/agent/join/127.0.0.1:7946')).status, 200);
  const other = await put('/v1/agent/join/10.9.9.9');
  assert.equal(other.status, 409);
  assert.match(other.text, /--join/);
});

test('policy is written with an operator token and refused without, with Consul paths and shapes', async () => {
  const entry = { Kind: 'service-intentions', Name: 'api', Sources: [{ Name: 'web', Action: 'allow' }] };
  assert.equal((await put('/v1/config', entry)).status, 403);
  const wrong = await api.call('PUT', '/v1/config', {
    body: entry,
    headers: { 'x-consul-token': 'nonsense' },
  });
  assert.equal(wrong.status, 403);
  assert.match(wrong.text, /not an operator token/);
  assert.ok(!wrong.text.includes('nonsense'), 'a token is never repeated');
  const bearer = { authorization: `Bearer ${operatorToken}` };
  assert.equal((await api.call('PUT', '/v1/config', { body: entry, headers: bearer })).text, 'true');
  const read = (await api.call('GET', '/v1/config/service-intentions/api')).json<{ ModifyIndex: number }>();
  assert.ok(read.ModifyIndex > 1);
  assert.equal((await api.call('GET', '/v1/config/service-intentions')).json<unknown[]>().length, 1);
  assert.equal((await api.call('GET', '/v1/config/service-intentions/none')).status, 404);
  assert.equal((await api.call('GET', '/v1/config/bird-feeder')).status, 400);
  assert.equal((await put('/v1/config?cas=x', entry, true)).status, 400);
  assert.equal((await put('/v1/config', { ...entry, Surces: [] }, true)).status, 400);
  assert.equal((await api.call('DELETE', '/v1/config/service-intentions/api')).status, 403);
  assert.equal(
    (await api.call('DELETE', '/v1/config/service-intentions/api', { operator: true })).status,
    200,
  );
  assert.equal((await api.call('GET', '/v1/config/service-intentions/api')).status, 404);
});

test('intentions are written, matched, checked and deleted one pair at a time', async () => {
  const exact = (source: string) => `/v1/connect/intentions/exact?source=${source}&destination=api`;
  await Promise.all([
    put(exact('web'), { Action: 'allow' }, true),
    put(exact('default/batch'), { Action: 'deny' }, true),
    put(exact('*'), { Action: 'deny' }, true),
  ]);
  const list = (await api.call('GET', '/v1/connect/intentions')).json<{ SourceName: string }[]>();
  assert.deepEqual(
    list.map(({ SourceName }) => SourceName),
    ['batch', 'web', '*'],
  );
  const check = async (source: string) =>
    (await api.call('GET', `/v1/connect/intentions/check?source=${source}&destination=api`)).json<{
      Allowed: boolean;
    }>().Allowed;
  assert.equal(await check('web'), true);
  assert.equal(await check('stranger'), false);
  const matched = (await api.call('GET', '/v1/connect/intentions/match?by=destination&name=api')).json<{
    api: { SourceName: string }[];
  }>();
  assert.equal(matched.api.length, 3);
  assert.equal((await api.call('GET', exact('web'))).status, 200);
  assert.equal((await api.call('DELETE', exact('web'), { operator: true })).status, 200);
  assert.equal((await api.call('GET', exact('web'))).status, 404);
  const again = await api.call('DELETE', exact('web'), { operator: true });
  assert.deepEqual([again.status, again.text], [200, 'true'], 'as in Consul, deletions are idempotent');
  assert.equal((await put(exact('web'), { Action: 'perhaps' }, true)).status, 400);
  assert.equal((await put(exact('web'), { Action: 'allow' })).status, 403);
});

test('tokens are made for operators only, and a bad request names its field in JSON', async () => {
  assert.equal((await api.call('POST', '/v1/mesh/tokens', { body: {} })).status, 403);
  const made = await api.call('POST', '/v1/mesh/tokens', {
    body: { services: ['api'], ttl: '30m' },
    operator: true,
  });
  assert.equal(made.status, 200, made.text);
  assert.equal(made.json<{ expiresAt: number }>().expiresAt, api.agent.now() + 30 * 60_000);
  assert.equal(made.headers['cache-control'], 'no-store');
  const bad = await api.call('POST', '/v1/mesh/tokens', { body: { uses: 0 }, operator: true });
  assert.equal(bad.status, 400);
  assert.equal(bad.json<{ field: string }>().field, 'uses');
  for (const body of [
    { use: 1 },
    { uses: 10_001 },
    { roles: ['king'] },
    { services: ['a b'] },
    { ttl: '1y' },
    { ttl: '721h' },
    { ttl: '1ms' },
  ]) {
    const { status } = await api.call('POST', '/v1/mesh/tokens', { body, operator: true });
    assert.equal(status, 400, JSON.stringify(body));
  }
});

test('tokens are listed without secrets, a list waits for the next change, and a revoked one is told apart', async () => {
  const made = await api.call('POST', '/v1/mesh/tokens', { body: { uses: 2 }, operator: true });
  const { id } = made.json<{ id: string }>();
  const before = await api.call('GET', '/v1/mesh/tokens');
  assert.doesNotMatch(before.text, /st1|seed|publicKey/i);
  const [newest] = before.json<TokenStatus[]>();
  assert.deepEqual([newest?.id, newest?.uses, newest?.used, newest?.revokedAt], [id, 2, 0, null]);
  const changed = api.call('GET', `/v1/mesh/tokens?index=${before.headers['x-consul-index']}&wait=20s`);
  assert.equal((await api.call('DELETE', `/v1/mesh/tokens/${id}`)).status, 403);
  const revoked = await api.call('DELETE', `/v1/mesh/tokens/${id}`, { operator: true });
  assert.deepEqual([revoked.status, revoked.json<RevokedToken>().changed], [200, true]);
  assert.equal((await changed).json<TokenStatus[]>()[0]?.revokedAt, api.agent.now());
  const again = await api.call('DELETE', `/v1/mesh/tokens/${id}`, { operator: true });
  assert.deepEqual([again.status, again.json<RevokedToken>().changed], [200, false]);
  const unknown = await api.call('DELETE', '/v1/mesh/tokens/none', { operator: true });
  assert.deepEqual([unknown.status, unknown.json<{ code: string }>().code], [404, 'unknown-token']);
});

test('another user of this host reads, and changes only the service that names it', async () => {
  const shared = await strangersApi();
  shared.agent.addService(selfId, definitionOf({ name: 'mine', user: 'me', uid: strangerUid }));
  shared.agent.addService(selfId, definitionOf({ name: 'theirs', user: 'root', uid: 0 }));
  const ask = (method: string, path: string, body?: string) => asStranger(shared, method, path, body);
  assert.equal(await ask('GET', '/v1/agent/services'), 200);
  assert.equal(await ask('PUT', '/v1/agent/service/register', '{"Name": "new", "Port": 80}'), 403);
  assert.equal(await ask('PUT', '/v1/agent/service/deregister/theirs'), 403);
  assert.equal(await ask('PUT', '/v1/agent/maintenance?enable=true'), 403);
  assert.equal(await ask('PUT', '/v1/agent/leave'), 403);
  assert.equal(await ask('PUT', '/v1/agent/check/register', '{"Name": "host", "TTL": "9s"}'), 403);
  assert.equal(
    await ask('PUT', '/v1/agent/check/register', '{"Name": "own", "TTL": "9s", "ServiceID": "mine"}'),
    200,
  );
  assert.equal(await ask('PUT', '/v1/agent/check/pass/own'), 200);
  const body = (name: string) =>
    JSON.stringify({ ID: 'mine', Name: name, Port: 81, User: String(strangerUid) });
  assert.equal(await ask('PUT', '/v1/agent/service/register', body('mine')), 200);
  assert.equal(await ask('PUT', '/v1/agent/service/register', body('payments')), 403);
  assert.equal(await ask('PUT', '/v1/agent/service/deregister/mine'), 200);
  assert.equal(await asStranger(shared, 'PUT', '/v1/agent/maintenance?enable=false', '', operatorToken), 200);
  await shared.server.close();
});

test('the unix socket belongs to its file mode, and a stale one makes way', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'starling-api-'));
  const path = join(folder, 'api.sock');
  const first = await startApi({ listen: { path } });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const registered = await first.call('PUT', '/v1/agent/service/register', {
    body: { Name: 'web', Port: 80 },
  });
  assert.equal(registered.status, 200, registered.text);
  assert.equal((await first.call('GET', '/v1/agent/self', { headers: { host: 'anything' } })).status, 200);
  await assert.rejects(startApi({ listen: { path } }), { code: 'address-in-use' });
  await first.server.close();
  const file = join(folder, 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(startApi({ listen: { path: file } }), { code: 'address-in-use' });
  rmSync(folder, { recursive: true });
});

test('an address that is taken is refused in words', async () => {
  const [address, port] = api.address.split(':');
  const listen = { address: address!, port: Number(port) };
  await assert.rejects(startApi({ listen }), { code: 'address-in-use', field: 'http' });
});
