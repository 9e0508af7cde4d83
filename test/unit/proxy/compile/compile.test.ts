import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trustedShare } from '../../../../src/proxy/compile/clusters.ts';
import { Compiler, compile } from '../../../../src/proxy/compile/compile.ts';
import { configEquals } from '../../../../src/proxy/compile/equal.ts';
import type { CallerRule } from '../../../../src/proxy/config.ts';
import type { InstanceView, LocalInstance } from '../../../../src/proxy/view.ts';
import { instanceView, localInstance, meshView, serviceView, upstreamView } from '../views.ts';

function weights(instances: InstanceView[]): { [host: string]: number } {
  const { clusters } = compile(meshView({ services: [serviceView('api', instances)] }));
  return Object.fromEntries(clusters[0]!.endpoints.map(({ id, weight }) => [id, weight]));
}

function outboundCaller(local: LocalInstance[]): CallerRule {
  return compile(meshView({ local })).outbound.find((listener) => listener.id === 'outbound')!.caller;
}

test('instances on one host are one endpoint with the sum of their weights', () => {
  const instances = [
    instanceView('b', { id: 'api-1', weight: 2 }),
    instanceView('b', { id: 'api-2', weight: 3, health: 'warning' }),
    instanceView('c', { id: 'api-1', weight: 7 }),
  ];
  assert.deepEqual(weights(instances), { b: 5, c: 7 });
});

test('critical instances and those of weight 0 are counted but not called', () => {
  const instances = [
    instanceView('b', { health: 'critical' }),
    instanceView('c', { health: 'warning', weight: 0 }),
    instanceView('d'),
  ];
  const { clusters } = compile(meshView({ services: [serviceView('api', instances)] }));
  assert.deepEqual(
    clusters[0]!.endpoints.map(({ id }) => id),
    ['d'],
  );
  assert.equal(clusters[0]!.outOfRotation, 2);
});

test('a suspected host gets a tenth of its share while others are there', () => {
  assert.deepEqual(
    weights([instanceView('b', { suspect: true, weight: 3 }), instanceView('c', { weight: 3 })]),
    {
      b: 3,
      c: 3 * trustedShare,
    },
  );
});

test('where every host is suspected the shares are what they were', () => {
  assert.deepEqual(
    weights([instanceView('b', { suspect: true }), instanceView('c', { suspect: true, weight: 4 })]),
    { b: 1, c: 4 },
  );
});

test("another datacenter's instances are not in the cluster, which proves this datacenter's identity", () => {
  const instances = [instanceView('b', { datacenter: 'dc2' }), instanceView('c')];
  const [cluster] = compile(meshView({ services: [serviceView('api', instances)] })).clusters;
  assert.deepEqual(
    cluster!.endpoints.map(({ id }) => id),
    ['c'],
  );
  assert.equal(cluster!.sni, 'api.default.dc1.internal.example.test');
  assert.equal(cluster!.spiffeId, 'spiffe://example.test/ns/default/dc/dc1/svc/api');
});

test('an instance of this very host is called through its inbound listener like any other', () => {
  const view = meshView({ services: [serviceView('api', [instanceView('a', { address: '10.0.0.1' })])] });
  const [endpoint] = compile(view).clusters[0]!.endpoints;
  assert.deepEqual([endpoint!.id, endpoint!.address, endpoint!.port], ['a', '10.0.0.1', 21000]);
});

test('an upstream to a service that nobody runs has a listener and an empty cluster', () => {
  const local = [localInstance('web', { upstreams: [upstreamView('api', 9001)] })];
  const config = compile(meshView({ local }));
  assert.deepEqual(
    config.outbound.map(({ id, destination }) => [id, destination]),
    [
      ['outbound', null],
      ['upstream/web-1/api', 'api'],
    ],
  );
  assert.deepEqual(
    config.clusters.map(({ service, endpoints, outOfRotation }) => [service, endpoints, outOfRotation]),
    [['api', [], 0]],
  );
});

test('an upstream listener speaks for the service that declared it', () => {
  const upstreams = [upstreamView('api', 9001)];
  const { outbound } = compile(meshView({ local: [localInstance('web', { upstreams, uid: 7 })] }));
  assert.deepEqual(outbound[1]!.caller, { type: 'service', service: 'web' });
});

test('an upstream of another datacenter is a destination of its own beside the one here', () => {
  const here = upstreamView('api', 9001);
  const there = upstreamView('api', 9002, { datacenter: 'dc2' });
  const services = [serviceView('api', [instanceView('b'), instanceView('c', { datacenter: 'dc2' })])];
  const viewOf = (...upstreams: (typeof here)[]) =>
    meshView({ services, local: [localInstance('web', { upstreams })] });
  const compiler = new Compiler();
  const before = compiler.compile(viewOf(here));
  const { outbound, destinations, clusters } = compiler.compile(viewOf(here, there));
  assert.deepEqual(
    outbound.slice(1).map(({ id, port, destination }) => [id, port, destination]),
    [
      ['upstream/web-1/api', 9001, 'api'],
      ['upstream/web-1/api@dc2', 9002, 'api@dc2'],
    ],
  );
  assert.deepEqual(
    destinations.map(({ id, service, routes }) => [id, service, routes[0]!.split[0]!.cluster]),
    [
      ['api', 'api', 'api'],
      ['api@dc2', 'api', 'api@dc2'],
    ],
  );
  assert.deepEqual(
    clusters.map(({ id, endpoints }) => [id, endpoints.map((each) => each.id)]),
    [
      ['api', ['b']],
      ['api@dc2', ['c']],
    ],
  );
  assert.equal(clusters[1]!.sni, 'api.default.dc2.internal.example.test');
  assert.equal(clusters[1]!.spiffeId, 'spiffe://example.test/ns/default/dc/dc2/svc/api');
  assert.deepEqual(compiler.compile(viewOf(here)), before);
});

test('the only service of a host speaks for every uid, also when it runs twice', () => {
  assert.deepEqual(outboundCaller([localInstance('web'), localInstance('web', { id: 'web-2', uid: 33 })]), {
    type: 'socket-owner',
    byUid: { 33: 'web' },
    otherwise: 'web',
    services: [{ name: 'web', uids: [33] }],
  });
});

test('among several services only a uid that is named speaks, and never for two of them', () => {
  const local = [
    localInstance('web', { uid: 33 }),
    localInstance('api', { uid: 34 }),
    localInstance('job', { uid: 34 }),
  ];
  assert.deepEqual(outboundCaller(local), {
    type: 'socket-owner',
    byUid: { 33: 'web' },
    otherwise: null,
    services: [
      { name: 'api', uids: [34] },
      { name: 'job', uids: [34] },
      { name: 'web', uids: [33] },
    ],
  });
  assert.deepEqual(outboundCaller([]), { type: 'socket-owner', byUid: {}, otherwise: null, services: [] });
});

test('a local service outside the mesh calls but is not called', () => {
  const config = compile(meshView({ local: [localInstance('job', { inMesh: false })] }));
  assert.deepEqual(config.inbound.services, []);
  assert.deepEqual(config.outbound[0]!.caller, {
    type: 'socket-owner',
    byUid: {},
    otherwise: 'job',
    services: [{ name: 'job', uids: [] }],
  });
});

test('the inbound listener knows which local instances are out of rotation', () => {
  const local = [localInstance('api'), localInstance('api', { id: 'api-2', health: 'critical' })];
  const [service] = compile(meshView({ local })).inbound.services;
  assert.deepEqual(service!.endpoints, [{ id: 'api-1', address: '127.0.0.1', port: 8080, weight: 1 }]);
  assert.equal(service!.outOfRotation, 1);
});

test('of listeners on one port the first by id stays and the others are reported', () => {
  const upstream = (bindAddress: string, bindPort: number, destination: string) =>
    upstreamView(destination, bindPort, { bindAddress });
  const local = [
    localInstance('job', { upstreams: [upstream('127.0.0.1', 9001, 'api')] }),
    localInstance('web', {
      upstreams: [
        upstream('127.0.0.1', 9001, 'api'),
        upstream('127.0.0.2', 9001, 'db'),
        upstream('0.0.0.0', 15001, 'cache'),
        upstream('10.0.0.1', 21000, 'log'),
        upstream('127.0.0.1', 9002, 'db'),
      ],
    }),
  ];
  const config = compile(meshView({ local }));
  assert.deepEqual(
    config.outbound.map(({ id }) => id),
    ['outbound', 'upstream/job-1/api', 'upstream/web-1/db'],
  );
  assert.deepEqual(config.conflicts, [
    { id: 'upstream/web-1/api', address: '127.0.0.1', port: 9001, takenBy: 'upstream/job-1/api' },
    { id: 'upstream/web-1/cache', address: '0.0.0.0', port: 15001, takenBy: 'outbound' },
    { id: 'upstream/web-1/db', address: '127.0.0.2', port: 9001, takenBy: 'upstream/web-1/db' },
    { id: 'upstream/web-1/log', address: '10.0.0.1', port: 21000, takenBy: 'inbound' },
  ]);
});

test('configurations are equal exactly when the data plane has nothing to do', () => {
  const view = meshView({ services: [serviceView('api', [instanceView('b')])] });
  assert.equal(configEquals(compile(view), compile(structuredClone(view))), true);
  const heavier = meshView({ services: [serviceView('api', [instanceView('b', { weight: 2 })])] });
  assert.equal(configEquals(compile(view), compile(heavier)), false);
});
