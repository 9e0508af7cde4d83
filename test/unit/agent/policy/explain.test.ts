import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intentionsOf } from '../../../../src/agent/entries/service-intentions.ts';
import { policyViewOf } from '../../../../src/agent/entries/view.ts';
import { type Explanation, explain, withCircuits } from '../../../../src/agent/policy/explain.ts';
import { changesThatAllow } from '../../../../src/agent/policy/why-not.ts';
import { compile } from '../../../../src/proxy/compile/compile.ts';
import { resolversPassed } from '../../../../src/proxy/compile/passed.ts';
import { type Call, type CallTrace, traceCall } from '../../../../src/proxy/explain.ts';
import type { MeshView } from '../../../../src/proxy/view.ts';
import { checkOf, definitionOf, hostValue, MemoryAgent } from '../../../support/agent.ts';
import { storeOf } from '../../../support/policy.ts';
import { instanceView, meshView, serviceView } from '../../proxy/views.ts';

function viewOf(entries: readonly object[], fields: Partial<MeshView> = {}): MeshView {
  const store = storeOf(...entries);
  const api = [
    instanceView('b', { id: 'api-1', meta: { version: '1' } }),
    instanceView('c', { id: 'api-2', meta: { version: '2' } }),
  ];
  return meshView({
    services: [
      serviceView('api', api),
      serviceView('legacy', [instanceView('d', { id: 'old' })]),
      serviceView('web', [instanceView('a', { id: 'web' })]),
    ],
    policy: policyViewOf(store),
    intentions: intentionsOf(store.list('service-intentions')),
    ...fields,
  });
}

function call(fields: Partial<Call> = {}): Call {
  return { source: 'web', destination: 'api', method: 'GET', path: '/', headers: [], ...fields };
}

function trace(view: MeshView, fields: Partial<Call> = {}): CallTrace {
  return traceCall(compile(view), view, call(fields));
}

const http = { Kind: 'service-defaults', Name: 'api', Protocol: 'http' };
const allowWeb = { Kind: 'service-intentions', Name: 'api', Sources: [{ Name: 'web', Action: 'allow' }] };
const subsets = {
  Kind: 'service-resolver',
  Name: 'api',
  DefaultSubset: 'v1',
  Subsets: {
    v1: { Filter: 'Service.Meta.version == "1"' },
    v2: { Filter: 'Service.Meta.version == "2"' },
  },
};

test('a call without policy takes the default route to every endpoint, and the default decides', () => {
  const view = viewOf([]);
  const denied = trace(view);
  assert.equal(denied.verdict, 'denied');
  assert.match(denied.why, /web -> api: denied by default/);
  const [target] = denied.targets;
  assert.deepEqual(
    target!.cluster!.endpoints.map(({ id }) => id),
    ['b', 'c'],
  );
  assert.equal(target!.authorization.rule, null);
  assert.equal(denied.caller.spiffeId, 'spiffe://example.test/ns/default/dc/dc1/svc/web');
  assert.equal(trace({ ...view, defaultIntention: 'allow' }).verdict, 'forwarded');
});

test('the route, the split and the rewritten path are those of the records', () => {
  const router = {
    Kind: 'service-router',
    Name: 'api',
    Routes: [
      {
        Match: { HTTP: { PathPrefix: '/v2/', Header: [{ Name: 'x-beta', Exact: '1' }] } },
        Destination: { ServiceSubset: 'v2', PrefixRewrite: '/' },
      },
    ],
  };
  const splitter = {
    Kind: 'service-splitter',
    Name: 'api',
    Splits: [
      { Weight: 90, ServiceSubset: 'v1' },
      { Weight: 10, ServiceSubset: 'v2' },
    ],
  };
  const view = viewOf([http, allowWeb, subsets, router, splitter]);
  const beta = trace(view, { path: '/v2/items?x=1', headers: [{ name: 'x-beta', value: '1' }] });
  assert.equal(beta.verdict, 'forwarded');
  assert.match(beta.route!.route.rule, /^service-router\/api#0$/);
  assert.equal(beta.route!.forwardedPath, '/items?x=1');
  assert.deepEqual(
    beta.targets.map(({ cluster }) => cluster!.id),
    ['v2.api'],
  );
  const plain = trace(view, { path: '/v2/items' });
  assert.deepEqual(
    plain.targets.map(({ share, cluster }) => [share, cluster!.id]),
    [
      [0.9, 'v1.api'],
      [0.1, 'v2.api'],
    ],
  );
  assert.equal(trace(view, { path: '/a%2fb' }).verdict, 'refused');
});

test('a redirect leads to the other service, whose intentions decide', () => {
  const view = viewOf([
    http,
    allowWeb,
    { Kind: 'service-resolver', Name: 'api', Redirect: { Service: 'legacy' } },
  ]);
  const denied = trace(view);
  assert.equal(denied.targets[0]!.cluster!.service, 'legacy');
  assert.equal(denied.verdict, 'denied');
  assert.match(denied.why, /^web -> legacy: denied by default/);
  const [change] = changesThatAllow(view, call(), denied);
  assert.equal(change!.command, 'starling intention create web legacy --allow');
  assert.equal(change!.then, 'forwarded');
});

test('every resolver that a share passes is named, redirects first', () => {
  const view = viewOf([
    http,
    subsets,
    { Kind: 'service-resolver', Name: 'shop', Redirect: { Service: 'api' } },
    { Kind: 'service-defaults', Name: 'shop', Protocol: 'http' },
    {
      Kind: 'service-router',
      Name: 'shop',
      Routes: [{ Match: { HTTP: { PathPrefix: '/old' } }, Destination: { Service: 'legacy' } }],
    },
  ]);
  assert.deepEqual(resolversPassed(view, 'shop', 0), [[]]);
  assert.deepEqual(resolversPassed(view, 'shop', 1), [['service-resolver/shop', 'service-resolver/api']]);
  assert.deepEqual(resolversPassed(view, 'api', 0), [['service-resolver/api']]);
  for (const { service, routes } of compile(view).destinations)
    routes.forEach((route, i) => {
      assert.equal(resolversPassed(view, service, i).length, route.split.length);
    });
});

test('a fault that answers requests itself is part of the verdict, and what would undo it is said', () => {
  const faulty = (abort: object): MeshView =>
    viewOf([
      http,
      allowWeb,
      {
        Kind: 'service-router',
        Name: 'api',
        Routes: [{ Match: { HTTP: { PathPrefix: '/f' } }, Destination: { Fault: { Abort: abort } } }],
      },
    ]);
  const always = faulty({ Status: 503 });
  const refused = trace(always, { path: '/f' });
  assert.equal(refused.verdict, 'refused');
  assert.match(refused.why, /service-router\/api#0 has every request answered 503/);
  const [change] = changesThatAllow(always, call({ path: '/f' }), refused);
  assert.equal(change!.change, 'take Routes[0].Destination.Fault.Abort out of service-router/api');
  assert.equal(change!.command, 'starling config read service-router api');
  assert.equal(trace(always, { path: '/' }).verdict, 'forwarded');
  const sometimes = trace(faulty({ Status: 503, Percent: 25 }), { path: '/f' });
  assert.equal(sometimes.verdict, 'partly-forwarded');
  assert.match(sometimes.why, /^75 % of web -> api is forwarded/);
});

test('where nobody can be asked, that is the outcome, and a denial and its pair are told beside it', () => {
  const route = { Match: { HTTP: { PathPrefix: '/r' } }, Destination: { Service: 'nosuch' } };
  const router = { Kind: 'service-router', Name: 'api', Routes: [route] };
  const speaking = { Kind: 'service-defaults', Name: 'nosuch', Protocol: 'http' };
  const routed = viewOf([http, speaking, allowWeb, router]);
  const lost = trace(routed, { path: '/r' });
  assert.equal(lost.verdict, 'refused');
  assert.equal(
    lost.why,
    '503 no-healthy-upstream: nosuch has no endpoint in rotation; it would be denied as well: ' +
      'web -> nosuch: denied by default: no intention speaks of this pair',
  );
  assert.deepEqual(
    changesThatAllow(routed, call({ path: '/r' }), lost).map(({ command, then }) => [command, then]),
    [
      [null, null],
      ['starling intention create web nosuch --allow', 'refused'],
    ],
  );
  const denyWeb = { ...allowWeb, Sources: [{ Name: 'web', Action: 'deny' }] };
  const view = viewOf([http, denyWeb]);
  const critical = view.services.map((service) => ({
    ...service,
    instances: service.instances.map((one) => ({ ...one, health: 'critical' as const })),
  }));
  const resting = { ...view, services: critical };
  const rested = trace(resting);
  assert.equal(rested.verdict, 'refused');
  assert.equal(
    rested.why,
    '503 no-healthy-upstream: api has no endpoint in rotation, 2 out of rotation; it would be denied as well: ' +
      'web -> api: denied by service-intentions/api',
  );
  assert.deepEqual(
    changesThatAllow(resting, call(), rested).map(({ change }) => change.split(' ')[0]),
    ['bring', 'allow'],
  );
  const stream = { ...resting, policy: policyViewOf(storeOf({ ...http, Protocol: 'tcp' })) };
  assert.match(trace(stream).why, /^no-healthy-upstream: api has no endpoint/);
});

test('an abort of every request is the outcome, whether or not the request would be let in', () => {
  const route = {
    Match: { HTTP: { PathPrefix: '/f' } },
    Destination: { Fault: { Abort: { Status: 418 } } },
  };
  const view = viewOf([http, { Kind: 'service-router', Name: 'api', Routes: [route] }]);
  const aborted = trace(view, { path: '/f' });
  assert.equal(aborted.verdict, 'refused');
  assert.match(aborted.why, /answered 418 .*; it would be denied as well: web -> api: denied by default/);
  assert.deepEqual(
    changesThatAllow(view, call({ path: '/f' }), aborted).map(({ command }) => command),
    ['starling config read service-router api', 'starling intention create web api --allow'],
  );
});

test('an open circuit keeps back what policy lets through', () => {
  const view = viewOf([http, allowWeb]);
  const policy = trace(view);
  const { authorization } = policy.targets[0]!;
  const to = (cluster: string, breaker: 'open' | 'half-open' | null) => ({ cluster, authorization, breaker });
  assert.equal(withCircuits(policy, [to('api', 'half-open')]).verdict, 'forwarded');
  const refused = withCircuits(policy, [to('api', 'open')]);
  assert.equal(refused.verdict, 'refused');
  assert.match(refused.why, /circuit to api is open/);
  const partly = withCircuits(policy, [to('v1.api', 'open'), to('v2.api', null)]);
  assert.equal(partly.verdict, 'partly-forwarded');
  assert.match(partly.why, /circuit to v1\.api is open/);
  const denied = trace(viewOf([http]));
  assert.equal(withCircuits(denied, [to('api', 'open')]).verdict, 'denied');
});

test('what is out of rotation is told of the subset that it belongs to, with the records behind it', () => {
  const limited = { ...http, RateLimits: { InstanceLevel: { RequestsPerSecond: 5 } } };
  const strict = { ...subsets, Subsets: { ...subsets.Subsets, v3: { OnlyPassing: true } } };
  const route = { Match: { HTTP: { PathPrefix: '/3' } }, Destination: { ServiceSubset: 'v3' } };
  const router = { Kind: 'service-router', Name: 'api', Routes: [route] };
  const entries = [limited, allowWeb, strict, router];
  const agent = new MemoryAgent();
  const checks = { b: 'critical', c: 'warning' } as const;
  const instances = Object.entries(checks).map(([host, health], i) => {
    agent.addHost(host, hostValue(`host-${host}`, `10.0.0.${i}`));
    const meta = { version: String(i + 1) };
    const check = checkOf({ id: 'ttl', initialStatus: health });
    agent.addService(host, definitionOf({ name: 'api', meta, checks: [check] }));
    return instanceView(host, { id: 'api', meta, health });
  });
  const view = viewOf(entries, { services: [serviceView('api', instances)] });
  const { self, catalog } = agent;
  const nothing = { dataPlane: () => null, estimateMs: () => null };
  const ask = (path: string) =>
    explain(
      { self, catalog, policy: storeOf(...entries), view: () => view, ...nothing },
      call({ path }),
      true,
    );
  const { targets, records, changes } = ask('/');
  assert.deepEqual(targets[0]!.absent, [{ host: 'host-b', instance: 'api', why: 'critical: check ttl' }]);
  assert.deepEqual(targets[0]!.resolvers, ['service-resolver/api']);
  assert.equal(targets[0]!.limits!.instance!.requestsPerSecond, 5);
  assert.deepEqual(Object.keys(records).sort(), [
    'service-defaults/api',
    'service-intentions/api',
    'service-resolver/api',
  ]);
  assert.match(changes![0]!.change, /^bring the instance of v1\.api that is out of rotation back/);
  assert.deepEqual(
    ask('/3').targets[0]!.absent.map(({ host, why }) => [host, why]),
    [
      ['host-b', 'critical: check ttl'],
      ['host-c', 'warning, and v3.api takes only those that pass'],
    ],
  );
});

/** What an agent answers whose mesh is `view` and whose policy is `entries`. */
function answer(entries: readonly object[], view: MeshView, fields: Partial<Call>): Explanation {
  const { self, catalog } = new MemoryAgent();
  const nothing = { dataPlane: () => null, estimateMs: () => null };
  const sources = { self, catalog, policy: storeOf(...entries), view: () => view, ...nothing };
  return explain(sources, call(fields), false);
}

test('of the limits of the callee those are told that hold for the caller and for the path that it sees', () => {
  const rate = (RequestsPerSecond: number) => ({ RequestsPerSecond });
  const defaults = {
    ...{ Kind: 'service-defaults', Name: 'api', Protocol: 'http', MaxInboundConnections: 7 },
    RateLimits: {
      InstanceLevel: {
        ...rate(100),
        Routes: [
          { PathPrefix: '/slow/', ...rate(2) },
          { PathPrefix: '/', ...rate(50) },
        ],
      },
      Callers: [
        { Name: '*', ...rate(5) },
        { Name: 'web', ...rate(9) },
      ],
    },
  };
  const router = {
    ...{ Kind: 'service-router', Name: 'api' },
    Routes: [{ Match: { HTTP: { PathPrefix: '/v2/' } }, Destination: { PrefixRewrite: '/' } }],
  };
  const entries = [defaults, allowWeb, router];
  const limitsFor = (fields: Partial<Call>) => answer(entries, viewOf(entries), fields).targets[0]!.limits!;
  const { maxInboundConnections, instance, caller, routes } = limitsFor({ path: '/v2/./slow/x?y=1' });
  assert.deepEqual(
    [maxInboundConnections, instance!.requestsPerSecond, caller!.requestsPerSecond],
    [7, 100, 9],
  );
  assert.deepEqual(
    routes.map(({ path, holds }) => [path.value, holds]),
    [
      ['/slow/', true],
      ['/', false],
    ],
  );
  const other = limitsFor({ source: 'legacy', path: '/v2/quick' });
  assert.deepEqual([other.caller!.source, other.routes.map(({ holds }) => holds)], ['*', [false, true]]);
  const few = [{ ...http, MaxInboundConnections: 3 }];
  const [target] = answer(few, viewOf(few), {}).targets;
  const none = { instance: null, caller: null, routes: [] };
  assert.deepEqual(target!.limits, { maxInboundConnections: 3, ...none });
});

test('the protocol is by the record that says it, which may be that of the mesh', () => {
  const global = { Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'http' } };
  const bare = { Kind: 'service-defaults', Name: 'api', MaxInboundConnections: 3 };
  for (const [entries, rule] of [
    [[global], 'proxy-defaults/global'],
    [[global, bare], 'proxy-defaults/global'],
    [[global, { ...bare, Protocol: 'grpc' }], 'service-defaults/api'],
    [[bare], null],
  ] as const) {
    const { protocolRule, records } = answer(entries, viewOf(entries), {});
    assert.equal(protocolRule, rule);
    assert.equal(Object.hasOwn(records, 'proxy-defaults/global'), rule === 'proxy-defaults/global');
  }
});

test('a service of another datacenter is explained on hosts none of whose services asks for it', () => {
  const there = instanceView('e', { datacenter: 'dc2' });
  const view = viewOf([allowWeb], { services: [serviceView('api', [instanceView('b'), there])] });
  const { verdict, why, targets } = answer([allowWeb], view, { datacenter: 'dc2' });
  assert.deepEqual([verdict, why], ['forwarded', 'web -> api@dc2 is forwarded']);
  const [target] = targets;
  assert.deepEqual(
    [target!.cluster, target!.spiffeId, target!.endpoints.map(({ host }) => host)],
    ['api@dc2', 'spiffe://example.test/ns/default/dc/dc2/svc/api', [there.hostName]],
  );
  assert.equal(answer([allowWeb], view, { datacenter: 'dc1' }).targets[0]!.cluster, 'api');
  assert.match(answer([allowWeb], view, { datacenter: 'dc9' }).why, /api@dc9 has no endpoint/);
});

test('it is said what stays in the zone and why, unless policy does not want zones to be looked at', () => {
  const agent = new MemoryAgent();
  for (const [host, zone] of Object.entries({ a: 'z1', b: 'z1', c: 'z2' })) {
    agent.addHost(host, hostValue(`host-${host}`, '10.0.0.1', { zone }));
    agent.addService(host, definitionOf({ name: 'web', inMesh: false }));
  }
  const api = ['z1', 'z2', 'z3', 'z3'].map((zone, i) => instanceView(`h${i}`, { zone }));
  const zonesFor = (LoadBalancer: object) => {
    const entries = [allowWeb, { Kind: 'service-resolver', Name: 'api', LoadBalancer }];
    const view = viewOf(entries, { services: [serviceView('api', api)] });
    const { self, catalog } = agent;
    const nothing = { dataPlane: () => null, estimateMs: () => null };
    const sources = { self, catalog, policy: storeOf(...entries), view: () => view, ...nothing };
    return explain(sources, call(), false).targets[0]!.zones;
  };
  const { capacityShare, callerShare, staying, spilling } = zonesFor({ Policy: 'round_robin' })!;
  const near = (got: number, due: number) => assert.ok(Math.abs(got - due) < 1e-9, `${got}`);
  near(capacityShare, 1 / 4);
  near(callerShare, 2 / 3);
  near(staying, 3 / 8);
  // A fourth of all for a third of the callers: z2 has nothing to spare.
  assert.deepEqual(spilling, [{ zone: 'z3', share: 1 - staying }]);
  assert.notEqual(zonesFor({ ZoneMinClusterSize: 4 }), null);
  assert.equal(zonesFor({ ZoneMinClusterSize: 5 }), null);
  assert.equal(zonesFor({ ZoneAware: false }), null);
});

test('failover is taken where the first cluster has nobody', () => {
  const resolver = { Kind: 'service-resolver', Name: 'api', Failover: { '*': { Service: 'legacy' } } };
  const view = viewOf([http, resolver], { defaultIntention: 'allow' });
  const dead = view.services.map((service) =>
    service.name === 'api'
      ? { ...service, instances: service.instances.map((one) => ({ ...one, health: 'critical' as const })) }
      : service,
  );
  const { targets, verdict } = trace({ ...view, services: dead });
  assert.equal(verdict, 'forwarded');
  assert.equal(targets[0]!.cluster!.id, 'legacy');
  assert.deepEqual(
    targets[0]!.clusters.map(({ id }) => id),
    ['api', 'legacy'],
  );
});

test('permissions decide by what the callee sees, and the change proposed is tried out', () => {
  const view = viewOf([
    http,
    {
      Kind: 'service-intentions',
      Name: 'api',
      Sources: [
        {
          Name: 'web',
          Permissions: [
            { Action: 'deny', HTTP: { PathPrefix: '/admin' } },
            { Action: 'allow', HTTP: { PathPrefix: '/', Methods: ['GET'] } },
          ],
        },
      ],
    },
  ]);
  assert.equal(trace(view, { path: '/x' }).verdict, 'forwarded');
  const admin = trace(view, { path: '/x/../admin/users' });
  assert.equal(admin.verdict, 'denied');
  assert.equal(admin.targets[0]!.authorization.permission, 0);
  const post = trace(view, { method: 'POST', path: '/x' });
  assert.equal(post.targets[0]!.authorization.permission, null);
  const [change] = changesThatAllow(view, call({ method: 'POST', path: '/x' }), post);
  assert.match(change!.change, /lets web POST \/x, before the others/);
  assert.equal(change!.then, 'forwarded');
  assert.deepEqual(changesThatAllow(view, call({ path: '/x' }), trace(view, { path: '/x' })), []);
});

test('what is unknown, malformed or has no instance is said in a sentence', () => {
  const view = viewOf([allowWeb]);
  const unknown = trace(view, { destination: 'apis' });
  assert.match(unknown.why, /no service apis/);
  assert.match(changesThatAllow(view, call({ destination: 'apis' }), unknown)[0]!.change, /or call api/);
  assert.match(trace(view, { method: 'G T' }).why, /refuses/);
  const nobody = { ...view, services: view.services.map((one) => ({ ...one, instances: [] })) };
  const { verdict, why } = trace(nobody);
  assert.equal(verdict, 'refused');
  assert.match(why, /api has no endpoint/);
});

test('a name that is nearly one of the mesh is told from one that is not', () => {
  const view = viewOf([]);
  const changeFor = (destination: string) => {
    const asked = call({ destination });
    return changesThatAllow(view, asked, traceCall(compile(view), view, asked))[0]!.change;
  };
  assert.equal(changeFor('legcay'), 'register an instance of legcay, or call legacy');
  assert.equal(changeFor('printer'), 'register an instance of printer');
});
