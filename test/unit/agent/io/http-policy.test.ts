/** Config entries over HTTP as Consul's clients write them, and what Starling adds: conditions, history, outlook. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { DryRun } from '../../../../src/agent/entries/dry-run.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api.server.close());

const put = (path: string, body?: object) => api.call('PUT', path, { body, operator: true });
const get = async <T>(path: string) => (await api.call('GET', path)).json<T>();
const resolver = (ConnectTimeout: string) => ({ Kind: 'service-resolver', Name: 'cas', ConnectTimeout });

test('a conditional write counts only if the entry is as its writer saw it', async () => {
  assert.equal((await put('/v1/config?cas=0', resolver('1s'))).text, 'true');
  assert.equal((await put('/v1/config?cas=0', resolver('2s'))).text, 'false');
  const { ModifyIndex } = await get<{ ModifyIndex: number }>('/v1/config/service-resolver/cas');
  const writes = ['3s', '4s'].map((timeout) => put(`/v1/config?cas=${ModifyIndex}`, resolver(timeout)));
  assert.deepEqual((await Promise.all(writes)).map(({ text }) => text).sort(), ['false', 'true']);
  const path = '/v1/config/service-resolver/cas';
  const remove = async (query: string) => (await api.call('DELETE', path + query, { operator: true })).text;
  assert.equal(await remove(`?cas=${ModifyIndex}`), 'false');
  const now = await get<{ ModifyIndex: number }>(path);
  assert.equal(await remove(`?cas=${now.ModifyIndex}`), 'true');
  assert.equal(await remove(''), '{}');
});

test('every kind is written in snake_case and read back in Consul’s spelling', async () => {
  const entries = [
    { kind: 'mesh', tls: { incoming: { tls_min_version: 'TLSv1_3' } } },
    { kind: 'proxy-defaults', name: 'global', access_logs: { enabled: true } },
    { kind: 'service-defaults', name: 'api', protocol: 'http', max_inbound_connections: 5 },
    { kind: 'service-resolver', name: 'api', subsets: { v1: { only_passing: true } } },
    { kind: 'service-splitter', name: 'api', splits: [{ weight: 100, service_subset: 'v1' }] },
    {
      kind: 'service-router',
      name: 'api',
      routes: [{ destination: { num_retries: 2, request_timeout: '90s' } }],
    },
    { kind: 'service-intentions', name: 'api', sources: [{ name: 'web', action: 'allow' }] },
  ];
  for (const entry of entries) assert.equal((await put('/v1/config', entry)).text, 'true', entry.kind);
  const [router] = await get<{ Routes: object[]; ModifyIndex: number }[]>('/v1/config/service-router');
  assert.deepEqual(router?.Routes, [{ Destination: { NumRetries: 2, RequestTimeout: '1m30s' } }]);
  assert.equal((await put('/v1/config', { ...router })).text, 'true');
  const { Name } = await get<{ Name: string }>('/v1/config/mesh/mesh');
  assert.equal(Name, 'mesh');
});

test('a refusal is 400 with the path of the field in the spelling of its writer', async () => {
  const refused = await put('/v1/config', {
    kind: 'service-router',
    name: 'x',
    routes: [{ destinaton: {} }],
  });
  assert.equal(refused.status, 400);
  assert.equal(refused.text, 'routes[0].destinaton: is not a field; did you mean "destination"?');
});

test('what is too large or too deep is refused before it costs anything', async () => {
  const large = await put('/v1/config', {
    Kind: 'service-defaults',
    Name: 'x',
    Meta: { a: 'x'.repeat(200_000) },
  });
  assert.equal(large.status, 400);
  const body = `{"Kind": "service-defaults", "Name": "x", "Meta": ${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
  for (const [method, path] of [
    ['PUT', '/v1/config'],
    ['POST', '/v1/mesh/dry-run'],
  ] as const) {
    const deep = await api.call(method, path, { body, operator: true });
    assert.equal(deep.status, 400, deep.text.slice(0, 200));
  }
});

test('a list of entries waits for its kind only', async () => {
  const index = (await api.call('GET', '/v1/config/service-splitter')).headers['x-consul-index'];
  const waiting = api.call('GET', `/v1/config/service-splitter?index=${index}&wait=30s`);
  await put('/v1/config', { Kind: 'service-defaults', Name: 'else', Protocol: 'tcp' });
  await put('/v1/config', {
    Kind: 'service-splitter',
    Name: 'new',
    Splits: [{ Weight: 100, Service: 'api' }],
  });
  assert.deepEqual(
    (await waiting).json<{ Name: string }[]>().map(({ Name }) => Name),
    ['api', 'new'],
  );
});

test('a list is filtered by what its kind may say, and what an entry does not say is empty', async () => {
  const entries = [
    { Kind: 'service-defaults', Name: 'sift-a', Protocol: 'http', MaxInboundConnections: 9 },
    { Kind: 'service-defaults', Name: 'sift-b', Protocol: 'tcp', Meta: { team: 'red' } },
    { Kind: 'service-router', Name: 'sift-a', Routes: [{ Destination: { Service: 'sift-c' } }] },
  ];
  for (const entry of entries) assert.equal((await put('/v1/config', entry)).text, 'true');
  const names = async (kind: string, filter: string) => {
    const { status, text } = await api.call('GET', `/v1/config/${kind}?filter=${encodeURIComponent(filter)}`);
    assert.equal(status, 200, text);
    return (JSON.parse(text) as { Name: string }[]).map(({ Name }) => Name);
  };
  const defaults = (filter: string) => names('service-defaults', `Name matches "^sift" and ${filter}`);
  assert.deepEqual(await defaults('Protocol == tcp'), ['sift-b']);
  assert.deepEqual(await defaults('MaxInboundConnections == 0'), ['sift-b']);
  assert.deepEqual(await defaults('Meta.team == red or MaxInboundConnections == 9'), ['sift-a', 'sift-b']);
  assert.deepEqual(await defaults('Outbound.RequestTimeout == ""'), ['sift-a', 'sift-b']);
  assert.deepEqual(await names('service-router', 'Routes is not empty and Name == "sift-a"'), ['sift-a']);
  for (const [kind, filter] of [
    ['service-defaults', 'Routes is empty'],
    ['service-router', 'Protocol == tcp'],
    ['service-defaults', 'MaxInboundConnections == many'],
  ]) {
    const path = `/v1/config/${kind}?filter=${encodeURIComponent(filter!)}`;
    assert.equal((await api.call('GET', path)).status, 400, filter);
  }
  assert.equal((await api.call('GET', '/v1/config/smoke?filter=Name==a')).status, 400);
});

test('permissions are written by either API, and a check asks them about one request', async () => {
  const exact = '/v1/connect/intentions/exact?source=batch&destination=api';
  const Permissions = [
    {
      Action: 'deny',
      HTTP: { PathPrefix: '/admin', Header: [{ Name: 'X-Role', Exact: 'root', Invert: true }] },
    },
    { Action: 'allow', HTTP: { PathPrefix: '/', Methods: ['GET'] } },
  ];
  assert.equal((await put(exact, { Permissions })).text, 'true');
  const entry = await get<{ Sources: { Name: string; Permissions?: object[] }[] }>(
    '/v1/config/service-intentions/api',
  );
  assert.equal(entry.Sources.find(({ Name }) => Name === 'batch')?.Permissions?.length, 2);
  const check = async (more: string) => {
    const answer = await get<{ Allowed: boolean; ByRequest: boolean }>(
      `/v1/connect/intentions/check?source=batch&destination=api${more}`,
    );
    assert.equal(answer.ByRequest, true);
    return answer.Allowed;
  };
  assert.equal(await check(''), false, 'as Consul answers where it depends');
  assert.equal(await check('&path=/a'), true);
  assert.equal(await check('&path=/a&method=post'), false);
  assert.equal(await check('&path=/admin/x'), false);
  assert.equal(await check('&path=/x/%2e%2e/admin'), false, 'as the proxy reads it');
  assert.equal(await check('&path=/admin/x&header=x-role:root'), true);
  assert.equal(
    (await api.call('GET', '/v1/connect/intentions/check?source=batch&destination=api&path=x')).status,
    400,
  );
});

test('history tells every version, deletions included, and which one is in force', async () => {
  const entry = (Protocol: string) => ({ Kind: 'service-defaults', Name: 'past', Protocol });
  await put('/v1/config', entry('http'));
  await put('/v1/config', entry('tcp'));
  await api.call('DELETE', '/v1/config/service-defaults/past', { operator: true });
  await put('/v1/config', entry('grpc'));
  type History = {
    versions: { revision: string; inForce: boolean; entry: { Protocol: string } | null; at: string }[];
  };
  const { versions } = await get<History>('/v1/mesh/history/service-defaults/past');
  assert.deepEqual(
    versions.map((one) => [one.entry?.Protocol ?? 'deleted', one.inForce]),
    [
      ['grpc', true],
      ['deleted', false],
      ['tcp', false],
      ['http', false],
    ],
  );
  assert.equal(new Set(versions.map(({ revision }) => revision)).size, 4);
  assert.equal((await api.call('GET', '/v1/mesh/history/service-defaults/never')).status, 404);
  assert.equal((await api.call('GET', '/v1/mesh/history/service-weather/x')).status, 400);
});

test('a dry run says what would change and changes nothing, or refuses as the write would', async () => {
  const before = api.agent.commands.length;
  const body = { Kind: 'service-defaults', Name: 'past', Protocol: 'http' };
  const outlook = (await api.call('POST', '/v1/mesh/dry-run', { body: [body] })).json<DryRun>();
  assert.deepEqual(outlook.entries, [
    {
      kind: 'service-defaults',
      name: 'past',
      differences: [{ path: 'Protocol', before: 'grpc', after: 'http' }],
    },
  ]);
  const dangling = {
    Kind: 'service-router',
    Name: 'past',
    Routes: [{ Destination: { ServiceSubset: 'v9' } }],
  };
  const refused = await api.call('POST', '/v1/mesh/dry-run', { body: dangling });
  assert.equal(refused.status, 400);
  assert.equal(refused.json<{ field: string }>().field, 'Routes[0].Destination.ServiceSubset');
  assert.equal(api.agent.commands.length, before);
});

test('a list is written as a whole, and a fault in it names the entry by its place', async () => {
  const post = (body: unknown) => api.call('POST', '/v1/mesh/config', { body, operator: true });
  const resolver = { kind: 'service-resolver', name: 'list', subsets: { v1: {} } };
  const router = (subset: string) => ({
    kind: 'service-router',
    name: 'list',
    routes: [{ destination: { service_subset: subset } }],
  });
  assert.deepEqual((await post([router('v1'), resolver])).json(), {
    written: [
      { kind: 'service-router', name: 'list' },
      { kind: 'service-resolver', name: 'list' },
    ],
  });
  assert.equal((await api.call('POST', '/v1/mesh/config', { body: resolver })).status, 403);
  for (const [body, field] of [
    [[resolver, { ...router('v1'), routs: [] }], '[1].routs'],
    [[resolver, resolver], '[1]'],
    [{ ...resolver, sets: 1 }, 'sets'],
  ] as const) {
    const refused = await post(body);
    assert.deepEqual([refused.status, refused.json<{ field: string }>().field], [400, field], refused.text);
  }
  const outlook = await api.call('POST', '/v1/mesh/dry-run', { body: [resolver, router('v9')] });
  assert.equal(outlook.json<{ field: string }>().field, '[1].routes[0].destination.service_subset');
});
