import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from '../../src/proxy/compile/compile.ts';
import { configEquals } from '../../src/proxy/compile/equal.ts';
import { decide, precedence, rulesFor } from '../../src/proxy/intentions.ts';
import type {
  CallerView,
  IntentionView,
  LocalInstance,
  MeshView,
  ServiceView,
} from '../../src/proxy/view.ts';
import { instanceView, localInstance, meshView, serviceView } from '../unit/proxy/views.ts';

const names = ['api', 'db', 'job', 'web'];
const name = fc.constantFrom(...names);
const party = fc.constantFrom(...names, '*');
const health = fc.constantFrom('passing' as const, 'warning' as const, 'critical' as const);
const action = fc.constantFrom('allow' as const, 'deny' as const);

const intention: fc.Arbitrary<IntentionView> = fc
  .record({ source: party, destination: party, action })
  .map((drawn) => ({
    ...drawn,
    permissions: null,
    rule: `service-intentions/${drawn.destination}`,
  }));

const service: fc.Arbitrary<ServiceView> = fc
  .record({
    name,
    vipPort: fc.integer({ min: 9000, max: 9003 }),
    vip: fc.constantFrom(null, '127.64.0.1', '127.64.0.2'),
    instances: fc.uniqueArray(
      fc.record({
        host: fc.constantFrom('a', 'b', 'c', 'd'),
        id: fc.constantFrom('one', 'two', 'three'),
        weight: fc.integer({ min: 0, max: 5 }),
        health,
        datacenter: fc.constantFrom('dc1', 'dc1', 'dc2'),
      }),
      { maxLength: 8, selector: ({ host, id }) => `${host}/${id}` },
    ),
    suspects: fc.subarray(['a', 'b', 'c', 'd']),
  })
  .map(({ instances, suspects, name, ...rest }) =>
    serviceView(
      name,
      instances.map((fields) =>
        instanceView(fields.host, { ...fields, suspect: suspects.includes(fields.host) }),
      ),
      rest,
    ),
  );

const local: fc.Arbitrary<LocalInstance> = fc
  .record({
    id: fc.constantFrom('i1', 'i2', 'i3', 'i4'),
    service: name,
    health,
    weight: fc.integer({ min: 0, max: 3 }),
    inMesh: fc.boolean(),
    uid: fc.constantFrom(null, 1, 2),
    upstreams: fc.array(
      fc.record({
        destination: fc.constantFrom(...names, 'nobody'),
        datacenter: fc.constantFrom('dc1', 'dc2'),
        bindAddress: fc.constantFrom('127.0.0.1', '127.0.0.2', '0.0.0.0'),
        bindPort: fc.integer({ min: 9000, max: 9003 }),
      }),
      { maxLength: 4 },
    ),
  })
  .map(({ service, ...fields }) => localInstance(service, fields));

const caller: fc.Arbitrary<CallerView> = fc.record({
  service: name,
  zones: fc.uniqueArray(
    fc.record({ zone: fc.constantFrom('', 'z1', 'z2', 'z3'), instances: fc.integer({ min: 1, max: 3 }) }),
    { selector: ({ zone }) => zone },
  ),
});

const view: fc.Arbitrary<MeshView> = fc
  .record({
    services: fc.uniqueArray(service, { maxLength: 4, selector: ({ name }) => name }),
    local: fc.uniqueArray(local, { maxLength: 4, selector: ({ id }) => id }),
    callers: fc.uniqueArray(caller, { maxLength: 3, selector: ({ service: called }) => called }),
    intentions: fc.array(intention, { maxLength: 10 }),
    roots: fc.array(fc.constantFrom('root1', 'root2', 'root3'), { maxLength: 3 }),
    identities: fc
      .uniqueArray(name)
      .map((held) =>
        held.map((service) => ({ service, spiffeId: service, certPem: 'c', keyPem: 'k', notAfter: 1 })),
      ),
  })
  .map(meshView);

/** The same view with every list in another order. */
function shuffled(original: MeshView): fc.Arbitrary<MeshView> {
  const order = <T>(list: readonly T[]) => fc.shuffledSubarray([...list], { minLength: list.length });
  return fc
    .record({
      services: order(original.services).chain((services) =>
        fc.tuple(
          ...services.map((service) =>
            order(service.instances).map((instances) => ({ ...service, instances })),
          ),
        ),
      ),
      local: order(original.local).chain((local) =>
        fc.tuple(
          ...local.map((instance) =>
            order(instance.upstreams).map((upstreams) => ({ ...instance, upstreams })),
          ),
        ),
      ),
      callers: order(original.callers).chain((callers) =>
        fc.tuple(...callers.map((each) => order(each.zones).map((zones) => ({ ...each, zones })))),
      ),
      intentions: order(original.intentions),
      roots: order(original.roots),
      identities: order(original.identities),
    })
    .map((lists) => ({ ...original, ...lists }));
}

test('compile ignores the order of every list of its input', () => {
  fc.assert(
    fc.property(
      view.chain((original) => fc.tuple(fc.constant(original), shuffled(original))),
      ([original, other]) => {
        assert.deepEqual(compile(other), compile(original));
        assert.ok(configEquals(compile(other), compile(original)));
      },
    ),
    { numRuns: 300 },
  );
});

test('every listener leads to a cluster, every wanted listener is there or is reported, ids are unique', () => {
  fc.assert(
    fc.property(view, (drawn) => {
      const { outbound, clusters, conflicts } = compile(drawn);
      const wanted =
        1 +
        drawn.local.reduce((sum, { upstreams }) => sum + upstreams.length, 0) +
        drawn.services.filter(({ vip, vipPort }) => vip !== null && vipPort !== null).length;
      assert.equal(outbound.length + conflicts.length, wanted);
      assert.equal(new Set(outbound.map(({ id }) => id)).size, outbound.length);
      assert.equal(new Set(outbound.map(({ address, port }) => `${address}:${port}`)).size, outbound.length);
      for (const { destination } of outbound)
        assert.ok(destination === null || clusters.some(({ id }) => id === destination));
      for (const cluster of clusters) for (const { weight } of cluster.endpoints) assert.ok(weight >= 1);
    }),
    { numRuns: 300 },
  );
});

test('the first matching rule decides as the highest precedence over all intentions would', () => {
  fc.assert(
    fc.property(
      fc.array(intention, { maxLength: 12 }),
      name,
      name,
      action,
      (intentions, source, destination, otherwise) => {
        const matching = intentions
          .filter((one) => one.source === source || one.source === '*')
          .filter((one) => one.destination === destination || one.destination === '*');
        const highest = Math.max(...matching.map((one) => precedence(one.source, one.destination)));
        const deciding = matching.filter((one) => precedence(one.source, one.destination) === highest);
        const expected =
          deciding.length === 0
            ? otherwise
            : deciding.some((one) => one.action === 'deny')
              ? 'deny'
              : 'allow';
        assert.equal(decide(rulesFor(destination, intentions), otherwise, source).action, expected);
      },
    ),
    { numRuns: 500 },
  );
});
