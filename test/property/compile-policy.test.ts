import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findProblems } from '../../src/proxy/compile/check.ts';
import { Compiler, compile } from '../../src/proxy/compile/compile.ts';
import { configEquals } from '../../src/proxy/compile/equal.ts';
import type { PolicyView, ResolverPolicy, RouterPolicy, SplitterPolicy } from '../../src/proxy/policy.ts';
import type { MeshView, ServiceView } from '../../src/proxy/view.ts';
import {
  policyView,
  resolver,
  route,
  router,
  serviceDefaults,
  splitter,
  version,
} from '../unit/proxy/policies.ts';
import { instanceView, localInstance, meshView, serviceView } from '../unit/proxy/views.ts';

const names = ['a', 'b', 'c', 'd'];
const name = fc.constantFrom(...names);
const subset = fc.constantFrom('', '', 'v1', 'v2', 'gone');
const protocol = fc.constantFrom('auto' as const, 'auto' as const, 'tcp' as const, 'http' as const);
const target = fc.record({
  service: fc.constantFrom('', ...names),
  subset,
  datacenter: fc.constantFrom('', '', 'dc1', 'dc2'),
});

/** Bad references and circles are likely: what is stored is not always what was checked. */
const resolvers: fc.Arbitrary<ResolverPolicy> = fc
  .record({
    service: name,
    defaultSubset: subset,
    subsets: fc.subarray([version('v1'), version('v2', { onlyPassing: true })]),
    redirect: fc.option(target, { freq: 2 }),
    failover: fc.uniqueArray(
      fc.record({ subset: fc.constantFrom('*', '', 'v1'), targets: fc.array(target, { maxLength: 3 }) }),
      { maxLength: 2, selector: (section) => section.subset },
    ),
    requestTimeoutMs: fc.constantFrom(null, 0, 100),
  })
  .map(({ service, ...fields }) => resolver(service, fields));

const splitters: fc.Arbitrary<SplitterPolicy> = fc
  .tuple(
    name,
    fc.array(
      fc.record({ percent: fc.integer({ min: 0, max: 90 }), service: fc.constantFrom('', ...names), subset }),
      {
        maxLength: 3,
      },
    ),
  )
  .map(([service, splits]) => splitter(service, ...splits));

const routers: fc.Arbitrary<RouterPolicy> = fc
  .tuple(
    name,
    fc.array(
      fc.record({
        service: fc.constantFrom('', ...names),
        subset,
        mirror: fc.option(
          fc.record({ service: fc.constantFrom('', ...names), subset, percent: fc.constant(1) }),
        ),
      }),
      { maxLength: 2 },
    ),
  )
  .map(([service, destinations]) => router(service, ...destinations.map((each) => route(each))));

function oneEach<T extends { readonly service: string }>(entry: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.uniqueArray(entry, { maxLength: 4, selector: ({ service }) => service });
}

const policy: fc.Arbitrary<PolicyView> = fc
  .record({
    defaults: oneEach(
      fc.tuple(name, protocol).map(([service, spoken]) => serviceDefaults(service, { protocol: spoken })),
    ),
    routers: oneEach(routers),
    splitters: oneEach(splitters),
    resolvers: oneEach(resolvers),
  })
  .map(policyView);

const service: fc.Arbitrary<ServiceView> = fc
  .record({
    name,
    protocol,
    vip: fc.constantFrom(null, '127.64.0.1'),
    instances: fc.uniqueArray(
      fc.record({
        host: fc.constantFrom('a', 'b', 'c'),
        id: fc.constantFrom('i1', 'i2'),
        health: fc.constantFrom('passing' as const, 'warning' as const, 'critical' as const),
        datacenter: fc.constantFrom('dc1', 'dc2'),
        meta: fc.constantFrom<{ version: string }[]>({ version: '' }, { version: 'v1' }, { version: 'v2' }),
      }),
      { maxLength: 4, selector: ({ host, id }) => `${host}/${id}` },
    ),
  })
  .map(({ name: called, instances, ...fields }) =>
    serviceView(
      called,
      instances.map(({ host, ...rest }) => instanceView(host, rest)),
      { ...fields, vipPort: 80 },
    ),
  );

const local = fc
  .uniqueArray(
    fc.record({
      id: fc.constantFrom('i1', 'i2'),
      service: name,
      upstreams: fc.uniqueArray(
        fc.record({
          destination: fc.constantFrom(...names, 'nobody'),
          datacenter: fc.constantFrom('dc1', 'dc2', 'dc3'),
          bindAddress: fc.constant('127.0.0.1'),
          bindPort: fc.constantFrom(1, 2),
        }),
        { maxLength: 2, selector: ({ destination }) => destination },
      ),
    }),
    { maxLength: 2, selector: ({ id }) => id },
  )
  .map((drawn) => drawn.map(({ service: called, ...fields }) => localInstance(called, fields)));

const callers = fc.uniqueArray(
  fc.record({
    service: name,
    zones: fc.uniqueArray(
      fc.record({ zone: fc.constantFrom('', 'z1', 'z2'), instances: fc.constantFrom(1, 2) }),
      { selector: ({ zone }) => zone, maxLength: 2 },
    ),
  }),
  { selector: ({ service: called }) => called, maxLength: 2 },
);

const parts = fc.record({
  policy,
  callers,
  services: fc.uniqueArray(service, { maxLength: 4, selector: (each) => each.name }),
  local,
});
const view: fc.Arbitrary<MeshView> = parts.map(meshView);

test('every cluster that anything names is there, splits add up, and every destination can be asked for', () => {
  fc.assert(
    fc.property(view, (drawn) => {
      const { clusters, destinations, outbound } = compile(drawn);
      const ids = clusters.map(({ id }) => id);
      assert.deepEqual(ids, [...new Set(ids)].sort());
      const named = (id: string): void => assert.ok(ids.includes(id), `${id} is not among ${ids}`);
      for (const { routes } of destinations) {
        assert.equal(routes.at(-1)!.match, null);
        for (const { split, mirror } of routes) {
          assert.equal(
            split.reduce((sum, { weight }) => sum + weight, 0),
            10_000,
          );
          for (const { cluster, weight } of split) {
            named(cluster);
            assert.ok(weight > 0);
          }
          if (mirror !== null) named(mirror.cluster);
        }
      }
      for (const { id, failover } of clusters) {
        failover.forEach(named);
        assert.ok(!failover.includes(id) && new Set(failover).size === failover.length);
      }
      for (const { destination } of outbound)
        assert.ok(destination === null || destinations.some(({ id }) => id === destination));
    }),
    { numRuns: 200 },
  );
});

test('an endpoint is an instance of the service, the datacenter and the version that its cluster names', () => {
  fc.assert(
    fc.property(view, (drawn) => {
      for (const cluster of compile(drawn).clusters) {
        const instances = drawn.services.find((each) => each.name === cluster.service)?.instances ?? [];
        for (const { id } of cluster.endpoints)
          assert.ok(
            instances.some(
              ({ host, datacenter, meta, health }) =>
                host === id &&
                datacenter === cluster.datacenter &&
                (cluster.subset === '' || meta.version === cluster.subset) &&
                health !== 'critical',
            ),
          );
      }
    }),
    { numRuns: 200 },
  );
});

test('the order of entries means nothing', () => {
  const order = <T>(list: readonly T[]) => fc.shuffledSubarray([...list], { minLength: list.length });
  const shuffled = view.chain((drawn) =>
    fc
      .record({
        defaults: order(drawn.policy.defaults),
        routers: order(drawn.policy.routers),
        splitters: order(drawn.policy.splitters),
        resolvers: order(drawn.policy.resolvers),
      })
      .map((lists) => [drawn, { ...drawn, policy: policyView(lists) }] as const),
  );
  fc.assert(
    fc.property(shuffled, ([drawn, other]) => assert.deepEqual(compile(other), compile(drawn))),
    { numRuns: 100 },
  );
});

function replaced<T extends { readonly service: string }>(list: readonly T[], next: T): T[] {
  return [...list.filter(({ service }) => service !== next.service), next];
}

test('what a compiler makes of one view after the other is what compiling each from nothing makes', () => {
  type Change = Partial<MeshView>;
  const change: fc.Arbitrary<(before: MeshView) => Change> = fc.oneof(
    policy.map((next) => () => ({ policy: next })),
    // All other entries stay the very same objects, as they do when one is written.
    resolvers.map((next) => (before: MeshView) => ({
      policy: { ...before.policy, resolvers: replaced(before.policy.resolvers, next) },
    })),
    splitters.map((next) => (before: MeshView) => ({
      policy: { ...before.policy, splitters: replaced(before.policy.splitters, next) },
    })),
    fc.tuple(name, protocol).map(([service, spoken]) => (before: MeshView) => ({
      policy: {
        ...before.policy,
        defaults: replaced(before.policy.defaults, serviceDefaults(service, { protocol: spoken })),
      },
    })),
    local.map((next) => () => ({ local: next })),
    callers.map((next) => () => ({ callers: next })),
    service.map((next) => (before: MeshView) => ({
      services: [...before.services.filter((each) => each.name !== next.name), next],
    })),
    name.map((gone) => (before: MeshView) => ({
      services: before.services.filter((each) => each.name !== gone),
    })),
    fc.constantFrom('dc1', 'dc2').map((datacenter) => () => ({ datacenter })),
    fc.constantFrom('one.test', 'two.test').map((trustDomain) => () => ({ trustDomain })),
    fc.constantFrom(15001, 1).map((port) => () => ({ outbound: { address: '127.0.0.1', port } })),
    fc.constant(() => ({})),
  );
  fc.assert(
    fc.property(view, fc.array(change, { maxLength: 10 }), (first, changes) => {
      const compiler = new Compiler();
      let current = first;
      let before = compiler.compile(current);
      for (const make of [() => ({}), ...changes]) {
        current = { ...current, ...make(current) };
        const next = compiler.compile(current);
        const fresh = compile(current);
        assert.deepEqual(next, fresh);
        assert.equal(configEquals(before, next), JSON.stringify(before) === JSON.stringify(next));
        before = next;
      }
    }),
    { numRuns: 150 },
  );
});

/** The same policy without the entries that something is wrong with. */
function withoutProblems(drawn: PolicyView): PolicyView {
  const blamed = new Set(findProblems(drawn).map(({ rule }) => rule));
  if (blamed.size === 0) return drawn;
  const kept = <T extends { readonly rule: string }>(list: readonly T[]) =>
    list.filter(({ rule }) => !blamed.has(rule));
  return withoutProblems({
    ...drawn,
    routers: kept(drawn.routers),
    splitters: kept(drawn.splitters),
    resolvers: kept(drawn.resolvers),
  });
}

test('policy in which nothing is found wrong leads to no cluster that policy alone leaves empty', () => {
  fc.assert(
    fc.property(policy, (drawn) => {
      const sound = withoutProblems(drawn);
      const everywhere = ['dc1', 'dc2'].flatMap((datacenter) =>
        ['v1', 'v2'].map((called) =>
          instanceView(`${datacenter}-${called}`, { datacenter, meta: { version: called }, id: called }),
        ),
      );
      const services = names.map((each) => serviceView(each, everywhere));
      for (const { id, endpoints } of compile(meshView({ policy: sound, services })).clusters)
        assert.ok(endpoints.length > 0, id);
    }),
    { numRuns: 300 },
  );
});
