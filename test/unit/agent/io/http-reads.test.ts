import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { allRoutes } from '../../../../src/agent/io/http/server.ts';
import { definitionOf, hostValue, selfId } from '../../../support/agent.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

let api: TestApi;
const two = 'b'.repeat(64);
const far = 'c'.repeat(64);
before(async () => {
  api = await startApi();
  const { agent } = api;
  agent.addHost(two, hostValue('two', '127.0.0.2', { zone: 'z2' }));
  agent.addHost(far, hostValue('far', '127.0.0.3', { datacenter: 'dc2' }));
  agent.addService(selfId, definitionOf({ name: 'api', tags: ['v1', 'Primary'], port: 9001 }));
  agent.addService(two, definitionOf({ name: 'api', tags: ['v2'], port: 9001, meta: { shard: '7' } }));
  agent.addService(far, definitionOf({ name: 'api' }));
  agent.addService(two, definitionOf({ name: 'batch', inMesh: false }));
});
after(() => api.server.close());

async function read<T>(path: string): Promise<T> {
  const reply = await api.call('GET', path);
  assert.equal(reply.status, 200, `${path}: ${reply.text}`);
  return reply.json<T>();
}

interface HealthRow {
  readonly Node: { readonly Node: string; readonly ID: string };
  readonly Service: { readonly ID: string; readonly Port: number; readonly Kind: string };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}

test('every read carries the headers without which the Go client stops parsing', async () => {
  for (const path of [
    '/v1/catalog/services',
    '/v1/agent/self',
    '/v1/health/state/any',
    '/v1/agent/members',
  ]) {
    const { headers } = await api.call('GET', path);
    assert.match(String(headers['x-consul-index']), /^[1-9]\d*$/, path);
    assert.equal(headers['x-consul-knownleader'], 'true');
    assert.equal(headers['x-consul-lastcontact'], '0');
    assert.equal(headers['x-consul-default-acl-policy'], 'deny');
    assert.match(String(headers['content-type']), /^application\/json/);
  }
  assert.equal((await api.call('GET', '/v1/catalog/nodes?cached')).headers['x-cache'], 'HIT');
});

test('the agent tells the fields of itself that clients need', async () => {
  const self = await read<{ Config: { AdvertiseAddr: string; Datacenter: string } }>('/v1/agent/self');
  assert.equal(self.Config.AdvertiseAddr, '127.0.0.1');
  assert.equal(self.Config.Datacenter, 'dc1');
  assert.equal((await read<{ HumanVersion: string }>('/v1/agent/version')).HumanVersion, '0.1.0');
});

test('the catalog and the health endpoint list the same instances in the same order', async () => {
  const catalog = await read<{ Node: string; ServiceID: string }[]>('/v1/catalog/service/api');
  const health = await read<HealthRow[]>('/v1/health/service/api');
  assert.deepEqual(
    catalog.map((row) => [row.Node, row.ServiceID]),
    health.map((row) => [row.Node.Node, row.Service.ID]),
  );
  assert.deepEqual(
    health.map((row) => row.Node.Node),
    ['one', 'two'],
  );
  assert.match(health[0]!.Node.ID, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.equal(health[0]!.Checks[0]!.CheckID, 'serfHealth');
});

test('tags, node metadata and datacenter narrow the rows', async () => {
  const nodes = async (query: string) =>
    (await read<HealthRow[]>(`/v1/health/service/api?${query}`)).map((row) => row.Node.Node);
  assert.deepEqual(await nodes('tag=primary&tag=v1'), ['one']);
  assert.deepEqual(await nodes('tag=v1&tag=v2'), []);
  assert.deepEqual(await nodes('node-meta=zone:z2'), ['two']);
  assert.deepEqual(await nodes('dc=dc2'), ['far']);
  assert.deepEqual(await read('/v1/catalog/datacenters'), ['dc1', 'dc2']);
  const unknown = await api.call('GET', '/v1/health/service/api?dc=atlantis');
  assert.equal(unknown.status, 500);
  assert.equal(unknown.text, 'No path to datacenter');
});

test('near sorts by round trip, this host first', async () => {
  api.agent.member(two, 'alive', 3);
  const rows = await read<HealthRow[]>('/v1/health/service/api?near=_agent');
  assert.deepEqual(
    rows.map((row) => row.Node.Node),
    ['one', 'two'],
  );
});

test('filters let through the rows that match, in lists and in maps', async () => {
  const namesOf = async (path: string, filter: string): Promise<unknown> => {
    const body = await read<unknown>(`${path}?filter=${encodeURIComponent(filter)}`);
    if (!Array.isArray(body)) return Object.keys(body as object);
    return body.map(({ Node }: { Node: string | { Node: string } }) =>
      typeof Node === 'string' ? Node : Node.Node,
    );
  };
  assert.deepEqual(await namesOf('/v1/health/service/api', 'Service.Meta.shard == "7"'), ['two']);
  assert.deepEqual(await namesOf('/v1/health/connect/api', 'Node.Meta.zone != z2'), ['one']);
  assert.deepEqual(await namesOf('/v1/catalog/service/api', '"v1" in ServiceTags'), ['one']);
  assert.deepEqual(await namesOf('/v1/catalog/nodes', 'Meta.zone == z2 or Node matches "^on"'), [
    'one',
    'two',
  ]);
  assert.deepEqual(await namesOf('/v1/health/state/any', 'CheckID != serfHealth'), []);
  assert.deepEqual(await namesOf('/v1/agent/services', 'Port == 9001'), ['api']);
  assert.deepEqual(await namesOf('/v1/agent/services', 'Tags is empty'), []);
  assert.deepEqual(await namesOf('/v1/catalog/services', 'Node == two and ServiceName != api'), ['batch']);
  const node = await read<{ Services: object }>('/v1/catalog/node/two?filter=Service==batch');
  assert.deepEqual(Object.keys(node.Services), ['batch']);
  assert.equal(await read('/v1/catalog/node/nobody?filter=Service==batch'), null);
});

test('a filter that means nothing is refused, never ignored', async () => {
  for (const [path, problem] of [
    ['/v1/health/service/api?filter=Service.Mete.shard==7', /Selector "Service.Mete.shard" is not valid/],
    ['/v1/health/service/api?filter=Service.Port+matches+x', /Service.Port/],
    ['/v1/catalog/nodes?filter=Node+==', /./],
    ['/v1/catalog/datacenters?filter=Node==one', /takes no filter/],
    ['/v1/catalog/services?filter=Nodes==one', /Selector "Nodes" is not valid/],
    ['/v1/connect/intentions?filter=Verdict==allow', /Selector "Verdict" is not valid/],
    ['/v1/health/state/any?index=1&filter=((((', /./],
  ] as const) {
    const { status, text } = await api.call('GET', path);
    assert.equal(status, 400, path);
    assert.match(text, problem);
  }
});

test('passing leaves out instances on a host that is down', async () => {
  api.agent.member(two, 'down');
  assert.equal((await read<HealthRow[]>('/v1/health/service/api?passing')).length, 1);
  assert.equal((await read<HealthRow[]>('/v1/health/service/api?passing=1')).length, 1);
  const all = await read<HealthRow[]>('/v1/health/service/api');
  assert.equal(all[1]!.Checks[0]!.Status, 'critical');
  const critical = await read<{ Node: string }[]>('/v1/health/state/critical');
  assert.deepEqual(
    critical.map((check) => check.Node),
    ['two'],
  );
  api.agent.member(two, 'alive');
});

test('connect endpoints say where a client with an SVID dials', async () => {
  const rows = await read<HealthRow[]>('/v1/health/connect/api');
  assert.deepEqual(
    rows.map((row) => [row.Service.Kind, row.Service.Port]),
    [
      ['connect-proxy', 21000],
      ['connect-proxy', 21000],
    ],
  );
  assert.deepEqual(await read('/v1/catalog/connect/batch'), []);
});

test('Prometheus finds its targets, labelled as by its discovery through Consul', async () => {
  interface Group {
    readonly targets: readonly string[];
    readonly labels: { readonly [name: string]: string };
  }
  const groups = await read<Group[]>('/v1/mesh/targets/api');
  assert.deepEqual(
    groups.map(({ targets }) => targets),
    [['127.0.0.1:9001'], ['127.0.0.2:9001']],
  );
  const { labels } = groups[1]!;
  assert.equal(labels.__meta_consul_service, 'api');
  assert.equal(labels.__meta_consul_node, 'two');
  assert.equal(labels.__meta_consul_tags, ',v2,');
  assert.equal(labels.__meta_consul_service_metadata_shard, '7');
  assert.equal(labels.__meta_consul_metadata_starling_id, two);
  for (const name of Object.keys(labels)) assert.match(name, /^[a-z_][a-z0-9_]*$/i);
  const all = await read<Group[]>('/v1/mesh/targets?tag=v1');
  assert.deepEqual(
    all.flatMap(({ targets }) => targets),
    ['127.0.0.1:9001'],
  );
});

test('hosts and their services are found by name and by id', async () => {
  const byName = await read<{ Services: object }>('/v1/catalog/node/two');
  assert.deepEqual(Object.keys(byName.Services), ['api', 'batch']);
  assert.deepEqual(await read('/v1/catalog/node/nobody'), null);
  const byId = await read<{ Services: unknown[] }>(`/v1/catalog/node-services/${two}`);
  assert.equal(byId.Services.length, 2);
  assert.equal((await read<unknown[]>('/v1/health/node/two')).length, 1);
});

test('paths of Consul that are not offered say so in one sentence, unknown paths are 404', async () => {
  for (const path of ['/v1/kv/a/b', '/v1/session/create', '/v1/txn', '/v1/connect/ca/configuration']) {
    const reply = await api.call('PUT', path, { body: {} });
    assert.equal(reply.status, 501, path);
    assert.match(reply.text, /^[A-Z][^\n]*\.$/);
  }
  assert.equal((await api.call('GET', '/v1/acl/tokens')).status, 401);
  assert.equal((await api.call('GET', '/v1/nonsense')).status, 404);
});

test('a read for a write is refused with the method that is meant', async () => {
  const reply = await api.call('GET', '/v1/agent/service/register');
  assert.equal(reply.status, 405);
  assert.equal(reply.headers.allow, 'PUT');
  assert.equal((await api.call('PUT', '/v1/agent/members')).status, 405);
});

test('what is refused is text on paths that could be Consul’s, and a code and a message on Starling’s', async () => {
  for (const [method, rest, status, code] of [
    ['GET', 'nowhere', 404, 'not-found'],
    ['DELETE', 'members', 405, 'wrong-method'],
    ['GET', 'history/%zz/x', 400, 'transport'],
    ['GET', `history/${'a'.repeat(600)}/x`, 414, 'transport'],
  ] as const) {
    const own = await api.call(method, `/v1/mesh/${rest}`);
    assert.deepEqual(
      [own.status, own.headers['content-type']],
      [status, 'application/json; charset=utf-8'],
      rest,
    );
    const refusal = own.json<{ code: string; message: string }>();
    assert.equal(refusal.code, code);
    assert.match(refusal.message, /^\S[^\n]+$/);
    const consuls = await api.call(method, `/v1/meshes/${rest}?near=/v1/mesh/`);
    assert.equal(consuls.headers['content-type'], 'text/plain; charset=utf-8', rest);
  }
  assert.equal(
    (await api.call('GET', '/v1/mesh')).headers['content-type'],
    'application/json; charset=utf-8',
  );
});

test('health and readiness answer for load balancers', async () => {
  assert.equal((await api.call('GET', '/healthz')).status, 200);
  assert.equal((await api.call('GET', '/readyz')).status, 200);
  api.agent.readiness = { ready: false, reason: 'no listener' };
  const reply = await api.call('GET', '/readyz');
  assert.equal(reply.status, 503);
  assert.match(reply.text, /no listener/);
});

test('metrics come as Prometheus text and as the JSON of Consul', async () => {
  assert.match((await api.call('GET', '/metrics')).text, /starling_requests_total/);
  assert.match((await api.call('GET', '/v1/agent/metrics?format=prometheus')).text, /# TYPE/);
  const metrics = await read<{ Counters: { Name: string; Labels: object }[]; Gauges: { Name: string }[] }>(
    '/v1/agent/metrics',
  );
  assert.deepEqual(metrics.Counters[0]!.Labels, { source: 'web' });
  assert.equal(metrics.Gauges[0]!.Name, 'up');
});

test('the document describes every route that there is', async () => {
  const document = await read<{ paths: { [path: string]: { [method: string]: unknown } } }>('/openapi.json');
  for (const route of allRoutes) {
    const path = route.path.replace(/:([A-Za-z]+)/g, '{$1}');
    assert.ok(document.paths[path]?.[route.method.toLowerCase()], `${route.method} ${path}`);
  }
});

test('a request from a page of another site or by a rebound name is refused', async () => {
  const status = async (headers: { [name: string]: string }) =>
    (await api.call('GET', '/v1/agent/self', { headers })).status;
  for (const host of ['evil.example', 'evil.example:8500', 'localhost.evil.example', 'a@localhost'])
    assert.equal(await status({ host }), 403, host);
  for (const host of [
    api.address,
    'localhost:8500',
    'LOCALHOST',
    'agent.localhost',
    '[::1]:8500',
    '10.1.2.3',
  ])
    assert.equal(await status({ host }), 200, host);
  for (const origin of ['http://evil.example', 'null', 'http://localhost:1', 'https://10.0.0.1'])
    assert.equal(await status({ origin }), 403, origin);
  assert.equal(await status({ origin: `http://${api.address}` }), 200);
});

test('contradicting read modes are refused as by Consul, and each alone is taken', async () => {
  for (const query of ['stale&consistent', 'consistent&cached'])
    assert.equal((await api.call('GET', `/v1/catalog/nodes?${query}`)).status, 400, query);
  for (const query of ['stale', 'consistent', 'cached', 'stale&cached']) {
    const { status, headers } = await api.call('GET', `/v1/catalog/nodes?${query}`);
    assert.deepEqual([status, headers['x-consul-effective-consistency']], [200, 'stale'], query);
  }
});

test('switches are read in every spelling that Go knows, and nothing else passes for one', async () => {
  const count = async (query: string) => (await read<unknown[]>(`/v1/health/service/api?${query}`)).length;
  api.agent.member(two, 'down');
  for (const on of ['passing', 'passing=', 'passing=True', 'passing=t']) assert.equal(await count(on), 1, on);
  for (const off of ['passing=False', 'passing=0', '']) assert.equal(await count(off), 2, off);
  assert.equal((await api.call('GET', '/v1/health/service/api?passing=maybe')).status, 400);
  api.agent.member(two, 'alive');
});
