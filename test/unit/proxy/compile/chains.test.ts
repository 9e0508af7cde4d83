import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../../../src/proxy/compile/compile.ts';
import { combined, shares } from '../../../../src/proxy/compile/splitter.ts';
import type { Cluster, ProxyConfig, Route } from '../../../../src/proxy/config.ts';
import type { HeaderEdits, PolicyView } from '../../../../src/proxy/policy.ts';
import { noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import type { ServiceView } from '../../../../src/proxy/view.ts';
import {
  pathPrefix,
  policyView,
  resolver,
  route,
  router,
  serviceDefaults,
  splitter,
  target,
  version,
} from '../policies.ts';
import { instanceView, localInstance, meshView, serviceView, upstreamView } from '../views.ts';

function compiled(policy: Partial<PolicyView>, services: ServiceView[] = []): ProxyConfig {
  return compile(meshView({ policy: policyView(policy), services }));
}

function routesOf(config: ProxyConfig, service: string): readonly Route[] {
  return config.destinations.find((each) => each.service === service)!.routes;
}

/** Such as `90.00 v1.api, 10.00 v2.api`. */
function splitOf({ split }: Route): string {
  return split.map(({ weight, cluster }) => `${(weight / 100).toFixed(2)} ${cluster}`).join(', ');
}

function lastSplit(policy: Partial<PolicyView>, service: string): string {
  return splitOf(routesOf(compiled(policy), service).at(-1)!);
}

function clusterNamed(config: ProxyConfig, id: string): Cluster {
  const found = config.clusters.find((each) => each.id === id);
  return found ?? assert.fail(`no cluster ${id} among ${config.clusters.map((each) => each.id)}`);
}

function hostsOf(config: ProxyConfig, id: string): string[] {
  return clusterNamed(config, id).endpoints.map((endpoint) => endpoint.id);
}

const versioned = serviceView('api', [
  instanceView('b', { meta: { version: 'v1' } }),
  instanceView('c', { meta: { version: 'v2' } }),
  instanceView('d', { meta: { version: 'v2' }, health: 'warning' }),
  instanceView('e', { meta: { version: 'v2' }, health: 'critical' }),
  instanceView('f', { meta: { version: 'v1' }, datacenter: 'dc2' }),
]);
const versions = resolver('api', {
  subsets: [version('v1'), version('v2', { onlyPassing: true }), version('all', { filter: '' })],
});

test('a subset is the instances that its filter takes; OnlyPassing leaves out those that warn', () => {
  const config = compiled(
    {
      resolvers: [versions],
      splitters: [
        splitter(
          'api',
          { percent: 50, subset: 'v1' },
          { percent: 30, subset: 'v2' },
          { percent: 20, subset: 'all' },
        ),
      ],
    },
    [versioned],
  );
  assert.deepEqual(hostsOf(config, 'v1.api'), ['b']);
  assert.deepEqual(hostsOf(config, 'v2.api'), ['c']);
  assert.equal(clusterNamed(config, 'v2.api').outOfRotation, 2);
  assert.deepEqual(hostsOf(config, 'all.api'), ['b', 'c', 'd']);
  const { sni, spiffeId, subset } = clusterNamed(config, 'v1.api');
  assert.deepEqual(
    [subset, sni, spiffeId],
    ['v1', 'v1.api.default.dc1.internal.example.test', 'spiffe://example.test/ns/default/dc/dc1/svc/api'],
  );
  assert.equal(
    config.clusters.some(({ id }) => id === 'api'),
    false,
  );
});

test('a service of another datacenter keeps its router and its splitter, and every share ends there', () => {
  const upstreams = [upstreamView('api', 9001, { datacenter: 'dc2' })];
  const config = compile(
    meshView({
      local: [localInstance('web', { upstreams })],
      services: [versioned],
      policy: policyView({
        resolvers: [
          { ...versions, failover: [{ subset: '*', targets: [target('', '', 'dc1')] }] },
          resolver('old', { redirect: target('api', 'v2') }),
          resolver('fixed', { redirect: target('api', '', 'dc3') }),
        ],
        routers: [
          router(
            'api',
            route({ service: 'old', mirror: { service: '', subset: 'v1', percent: 5 } }, pathPrefix('/old/')),
            route({ service: 'fixed' }, pathPrefix('/fixed/')),
          ),
        ],
        splitters: [splitter('api', { percent: 60, subset: 'v1' }, { percent: 40, subset: 'v2' })],
      }),
    }),
  );
  const { service, routes } = config.destinations.find(({ id }) => id === 'api@dc2')!;
  assert.equal(service, 'api');
  assert.deepEqual(routes.map(splitOf), [
    '100.00 v2.api@dc2',
    '100.00 api@dc3',
    '60.00 v1.api@dc2, 40.00 v2.api@dc2',
  ]);
  assert.deepEqual(routes[0]!.mirror, { cluster: 'v1.api@dc2', percent: 5 });
  assert.deepEqual(hostsOf(config, 'v1.api@dc2'), ['f']);
  assert.deepEqual(clusterNamed(config, 'v1.api@dc2').failover, ['v1.api']);
  const own = config.destinations.find(({ id }) => id === 'api')!;
  assert.equal(splitOf(own.routes.at(-1)!), '60.00 v1.api, 40.00 v2.api');
});

test('routes come in the order written, then one for everything else', () => {
  const config = compiled({
    resolvers: [versions],
    routers: [
      router(
        'api',
        route({ subset: 'v2', prefixRewrite: '/' }, pathPrefix('/v2/')),
        route({ service: 'web', mirror: { service: '', subset: 'v1', percent: 5 } }, pathPrefix('/web/')),
      ),
    ],
    splitters: [splitter('web', { percent: 90 }, { percent: 10, service: 'beta' })],
  });
  const routes = routesOf(config, 'api');
  assert.deepEqual(
    routes.map((each) => [each.rule, each.match?.path?.value, splitOf(each), each.prefixRewrite]),
    [
      ['service-router/api#0', '/v2/', '100.00 v2.api', '/'],
      ['service-router/api#1', '/web/', '90.00 web, 10.00 beta', null],
      ['', undefined, '100.00 api', null],
    ],
  );
  assert.deepEqual(routes[1]!.mirror, { cluster: 'v1.api', percent: 5 });
  clusterNamed(config, 'v1.api');
});

test('weights of splitters within splitters are multiplied, and what is for a subset is not split again', () => {
  const split = {
    resolvers: [versions],
    splitters: [
      splitter('web', { percent: 50, service: 'api' }, { percent: 50, service: 'api', subset: 'v1' }),
      splitter('api', { percent: 25 }, { percent: 75, service: 'next' }),
      splitter('next', { percent: 33.33, subset: '' }, { percent: 66.67, service: 'end' }),
    ],
  };
  assert.equal(lastSplit(split, 'web'), '12.50 api, 12.50 next, 25.00 end, 50.00 v1.api');
  const rules = routesOf(compiled(split), 'web')[0]!.split.map(({ rule }) => rule);
  assert.deepEqual(rules, [
    'service-splitter/api',
    'service-splitter/next',
    'service-splitter/next',
    'service-splitter/web',
  ]);
});

test('shares are whole, add up, and give what is left to the largest remainders', () => {
  assert.deepEqual(shares(10_000, [1, 1, 1]), [3334, 3333, 3333]);
  assert.deepEqual(shares(100, [3333, 3333, 3334]), [33, 33, 34]);
  assert.deepEqual(shares(1, [5000, 5000]), [1, 0]);
  assert.deepEqual(shares(7, [0, 10_000]), [0, 7]);
});

test('a splitter that comes round to itself is entered once, and the problem is stated', () => {
  const round = {
    splitters: [
      splitter('a', { percent: 50 }, { percent: 50, service: 'b' }),
      splitter('b', { percent: 100, service: 'a' }),
    ],
  };
  assert.equal(lastSplit(round, 'a'), '50.00 a, 50.00 a');
  assert.equal(compiled(round).problems.length, 2);
});

test('redirects are followed to their end, with the subset and the datacenter that they name', () => {
  const resolvers = [
    versions,
    resolver('old', { redirect: target('older') }),
    resolver('older', { redirect: target('api', 'v1', 'dc2') }),
    resolver('far', { redirect: target('', '', 'dc2') }),
  ];
  const config = compiled({ resolvers }, [versioned]);
  assert.equal(lastSplit({ resolvers }, 'old'), '100.00 v1.api@dc2');
  assert.deepEqual(hostsOf(config, 'v1.api@dc2'), ['f']);
  const { sni, spiffeId } = clusterNamed(config, 'v1.api@dc2');
  assert.equal(sni, 'v1.api.default.dc2.internal.example.test');
  assert.equal(spiffeId, 'spiffe://example.test/ns/default/dc/dc2/svc/api');
  assert.equal(splitOf(routesOf(config, 'far')[0]!), '100.00 far@dc2');
});

test('a name without instances is listened for and leads where policy says', () => {
  const moved = serviceView('old', [], { vip: '127.64.0.9', vipPort: 8000 });
  const config = compiled({ resolvers: [resolver('old', { redirect: target('api') })] }, [versioned, moved]);
  const listener = config.outbound.find(({ destination }) => destination === 'old');
  assert.deepEqual([listener?.address, listener?.port], ['127.64.0.9', 8000]);
  assert.equal(splitOf(routesOf(config, 'old')[0]!), '100.00 api');
  assert.equal(
    config.clusters.some(({ id }) => id === 'old'),
    false,
  );
});

test('what redirects in a circle, or to a subset that is not there, is a cluster without endpoints', () => {
  const config = compiled(
    {
      resolvers: [
        resolver('api', { redirect: target('web') }),
        resolver('web', { redirect: target('api') }),
        resolver('db', { defaultSubset: 'gone', failover: [{ subset: '*', targets: [target('api')] }] }),
        resolver('bad', {
          defaultSubset: 'v1',
          subsets: [version('v1', { filter: 'Service.Nothing == 1' })],
        }),
      ],
    },
    ['api', 'web', 'db', 'bad'].map((name) => serviceView(name, [instanceView('b')])),
  );
  for (const id of ['api', 'web', 'gone.db', 'v1.bad']) {
    assert.deepEqual(hostsOf(config, id), []);
    assert.deepEqual(clusterNamed(config, id).failover, []);
  }
  assert.deepEqual(
    config.problems.map(({ rule, field }) => `${rule} ${field}`),
    [
      'service-resolver/api Redirect',
      'service-resolver/bad Subsets.v1.Filter',
      'service-resolver/db DefaultSubset',
      'service-resolver/web Redirect',
    ],
  );
});

test('the default subset stands for the service, and failover is for the subset or for all others', () => {
  const config = compiled(
    {
      resolvers: [
        {
          ...versions,
          defaultSubset: 'v2',
          failover: [
            { subset: '*', targets: [target('', '', 'dc2'), target('backup')] },
            { subset: 'v2', targets: [target('', 'v1'), target('old'), target('', 'v2'), target('', 'v1')] },
          ],
        },
        resolver('old', { redirect: target('api', 'v1', 'dc2') }),
        resolver('backup', { failover: [{ subset: '', targets: [target('api')] }] }),
      ],
      routers: [router('web', route({ service: 'api', subset: 'v1' }))],
    },
    [versioned],
  );
  assert.equal(splitOf(routesOf(config, 'api')[0]!), '100.00 v2.api');
  assert.deepEqual(clusterNamed(config, 'v2.api').failover, ['v1.api', 'v1.api@dc2']);
  assert.deepEqual(clusterNamed(config, 'v1.api').failover, ['v1.api@dc2', 'backup']);
  assert.deepEqual(clusterNamed(config, 'backup').failover, ['v2.api']);
});

test('timeouts, balancing and connect timeouts come from the resolver of the service that is reached', () => {
  const balance = { ...clusterNamed(compiled({}, [versioned]), 'api').balance, method: 'maglev' as const };
  const config = compiled({
    resolvers: [
      resolver('old', { redirect: target('api'), requestTimeoutMs: 1, connectTimeoutMs: 1 }),
      resolver('api', { requestTimeoutMs: 700, connectTimeoutMs: 70, balance }),
      resolver('db', { requestTimeoutMs: 900 }),
    ],
    routers: [
      router(
        'web',
        route({ service: 'old', timeouts: { ...noTimeouts, requestMs: 5, idleMs: 6, perTryMs: 7 } }),
      ),
    ],
    splitters: [splitter('web', { percent: 50, service: 'api' }, { percent: 50, service: 'db' })],
  });
  const { connectTimeoutMs, balance: found } = clusterNamed(config, 'api');
  assert.deepEqual([connectTimeoutMs, found], [70, balance]);
  const requestMs = (service: string) => routesOf(config, service).map(({ timeouts }) => timeouts.requestMs);
  assert.deepEqual(requestMs('old'), [700]);
  assert.deepEqual(requestMs('web'), [5, 900]);
  assert.deepEqual(routesOf(config, 'web')[0]!.timeouts, { requestMs: 5, idleMs: 6, perTryMs: 7 });
});

test('callers learn how long the proxies of a service wait for its instances', () => {
  const config = compiled({
    defaults: [serviceDefaults('api', { localConnectTimeoutMs: 8000 })],
    resolvers: [resolver('old', { redirect: target('api') }), resolver('db', {})],
  });
  const waits = ['api', 'db'].map((id) => clusterNamed(config, id).localConnectTimeoutMs);
  assert.deepEqual(waits, [8000, 1000]);
});

test('protocols come from service-defaults, then the service, then proxy-defaults', () => {
  const config = compiled(
    {
      proxyDefaults: {
        rule: 'proxy-defaults/global',
        protocol: 'http',
        accessLog: { sample: 0.5 },
        tracing: null,
      },
      defaults: [serviceDefaults('api', { protocol: 'grpc' }), serviceDefaults('db')],
      resolvers: [resolver('old', { redirect: target('api') })],
    },
    [
      serviceView('api', [], { protocol: 'tcp' }),
      serviceView('db', [], { protocol: 'tcp' }),
      serviceView('web', []),
    ],
  );
  assert.deepEqual(
    config.destinations.map(({ service, protocol }) => `${service} ${protocol}`),
    ['api grpc', 'db tcp', 'old http', 'web http'],
  );
  assert.equal(clusterNamed(config, 'db').protocol, 'tcp');
  assert.deepEqual(config.accessLog, { sample: 0.5 });
});

test('a name that only stands for a service of byte streams carries byte streams', () => {
  const config = compiled({
    defaults: [serviceDefaults('db', { protocol: 'tcp' })],
    resolvers: [resolver('old', { redirect: target('db') })],
  });
  assert.equal(config.destinations.find(({ service }) => service === 'old')!.protocol, 'tcp');
});

test('neither router nor splitter acts on byte streams', () => {
  const config = compiled({
    defaults: [serviceDefaults('db', { protocol: 'tcp' })],
    routers: [router('db', route({ service: 'x' }))],
    splitters: [splitter('db', { percent: 100, service: 'y' })],
  });
  assert.deepEqual(routesOf(config, 'db').map(splitOf), ['100.00 db']);
  assert.equal(config.problems.length, 2);
});

test('the inbound listener has an entry for every subset, with what service-defaults says of the callee', () => {
  const rateLimits = { instance: { requestsPerSecond: 10, burst: 20 }, routes: [], callers: [] };
  const { inbound, callers } = compile(
    meshView({
      services: [
        serviceView('api', [
          instanceView('a', { id: 'api-1', meta: { version: 'v1' } }),
          instanceView('a', { id: 'api-2', meta: { version: 'v2' }, health: 'warning' }),
          instanceView('b', { id: 'api-3', meta: { version: 'v1' } }),
        ]),
      ],
      local: [
        localInstance('api', { id: 'api-1' }),
        localInstance('api', { id: 'api-2', health: 'warning' }),
      ],
      policy: policyView({
        defaults: [
          serviceDefaults('api', {
            protocol: 'http',
            maxInboundConnections: 9,
            localConnectTimeoutMs: 8,
            localRequestTimeoutMs: 7,
            rateLimits,
            outbound: { ...noTimeouts, idleMs: 6 },
          }),
        ],
        resolvers: [versions],
      }),
    }),
  );
  assert.deepEqual(
    inbound.services.map(({ sni, subset, endpoints, outOfRotation }) => [
      sni.split('.').slice(0, 2).join('.'),
      subset,
      endpoints.map(({ id }) => id).join(' '),
      outOfRotation,
    ]),
    [
      ['all.api', 'all', 'api-1 api-2', 0],
      ['api.default', '', 'api-1 api-2', 0],
      ['v1.api', 'v1', 'api-1', 0],
      ['v2.api', 'v2', '', 1],
    ],
  );
  for (const entry of inbound.services) {
    const { protocol, maxConnections, connectTimeoutMs, requestTimeoutMs } = entry;
    assert.deepEqual([protocol, maxConnections, connectTimeoutMs, requestTimeoutMs], ['http', 9, 8, 7]);
    assert.deepEqual(entry.rateLimits, rateLimits);
    assert.equal(entry.spiffeId, 'spiffe://example.test/ns/default/dc/dc1/svc/api');
  }
  assert.equal(callers[0]!.outbound.idleMs, 6);
});

test('edits of headers by splitters within each other come to what one after the other would', () => {
  const edits = (fields: Partial<HeaderEdits>): HeaderEdits => ({ remove: [], set: [], add: [], ...fields });
  const header = (name: string, value: string) => ({ name, value });
  assert.equal(combined(null, null), null);
  assert.deepEqual(
    combined(
      edits({
        remove: ['a'],
        set: [header('b', '1'), header('c', '1')],
        add: [header('d', '1'), header('e', '1')],
      }),
      edits({ remove: ['b', 'e'], set: [header('c', '2'), header('a', '2')], add: [header('d', '2')] }),
    ),
    {
      remove: ['a', 'b', 'e'],
      set: [header('c', '2'), header('a', '2')],
      add: [header('d', '1'), header('d', '2')],
    },
  );
});
