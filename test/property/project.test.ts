import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Catalog } from '../../src/agent/catalog/catalog.ts';
import { parseVipRange, VipPool } from '../../src/agent/catalog/vips.ts';
import { CHECK, HOST, SERVICE } from '../../src/agent/kinds.ts';
import { type ProjectionInput, Projector, project } from '../../src/agent/project.ts';
import type { MemberState } from '../../src/gossip/port.ts';
import type { PolicyView } from '../../src/proxy/policy.ts';
import { noPolicy } from '../../src/proxy/policy-defaults.ts';
import { definitionOf, hostValue } from '../support/agent.ts';
import { policyView, resolver, serviceDefaults, target } from '../unit/proxy/policies.ts';

const hosts = ['a', 'b', 'c'].map((letter) => letter.repeat(64));
const [self] = hosts as [string];
const host = fc.constantFrom(...hosts);
const id = fc.constantFrom('i1', 'i2', 'i3');
const name = fc.constantFrom('api', 'db', 'web');

type Step = (catalog: Catalog) => void;

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(
      host,
      fc.constantFrom('10.0.0.1', '10.0.0.2'),
      fc.constantFrom('one', 'two'),
      fc.constantFrom('', 'z1'),
    )
    .map(([at, address, called, zone]) => (catalog: Catalog) => {
      catalog.record(at, HOST, '', hostValue(called, address, { zone }));
    }),
  host.map((at) => (catalog: Catalog) => {
    catalog.record(at, HOST, '', null);
  }),
  fc
    .tuple(host, fc.constantFrom<MemberState>('alive', 'alive', 'suspect', 'down', 'left'), fc.nat(3))
    .map(([at, state, incarnation]) => (catalog: Catalog) => {
      catalog.member({ id: at, state, incarnation, since: 0, roundTripMs: null });
    }),
  fc
    .tuple(host, id, name, fc.record({ port: fc.constantFrom(0, 80, 81), inMesh: fc.boolean() }))
    .map(([at, key, called, fields]) => (catalog: Catalog) => {
      catalog.record(at, SERVICE, key, definitionOf({ name: called, id: key, ...fields }));
    }),
  fc.tuple(host, id).map(([at, key]) => (catalog: Catalog) => {
    catalog.record(at, SERVICE, key, null);
  }),
  fc
    .tuple(host, fc.constantFrom('', 'i1', 'i2'), fc.constantFrom('passing', 'warning', 'critical'))
    .map(([at, serviceId, status]) => (catalog: Catalog) => {
      const value = { name: 'c', status, notes: '', output: '', serviceId, type: 'ttl' };
      catalog.record(at, CHECK, 'check', value);
    }),
);

const policies: PolicyView[] = [
  noPolicy,
  policyView({ defaults: [serviceDefaults('api', { protocol: 'http' })] }),
  policyView({ resolvers: [resolver('old', { redirect: target('api') })] }),
];

function inputOf(catalog: Catalog, policy: PolicyView, vips: VipPool): ProjectionInput {
  return {
    trustDomain: 'mesh.example',
    domain: 'mesh',
    self,
    datacenter: 'dc1',
    zone: '',
    roundTrips: [],
    defaultIntention: 'deny',
    inbound: { address: '10.0.0.1', port: 21000 },
    outbound: null,
    catalog,
    policy,
    intentions: [],
    vips,
    identities: [],
    roots: [],
    denied: { hosts: [], serials: [] },
  };
}

test('what a projector gives after any change is what projecting from nothing gives', () => {
  const change = fc.tuple(fc.array(step, { maxLength: 3 }), fc.constantFrom(...policies));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(change, { maxLength: 8 }), (first, changes) => {
      const catalog = new Catalog();
      const projector = new Projector();
      const vips = new VipPool(parseVipRange('127.64.0.0/16'));
      for (const take of first) take(catalog);
      for (const [steps, policy] of changes) {
        for (const take of steps) take(catalog);
        const input = inputOf(catalog, policy, vips);
        const view = projector.project(input);
        // The port of a name that outlived its instances is remembered, and so not compared.
        const withoutPorts = (each: typeof view) =>
          each.services.map((service) =>
            service.instances.length > 0 ? service : { ...service, vipPort: null },
          );
        const fresh = project(input);
        assert.deepEqual(withoutPorts(view), withoutPorts(fresh));
        assert.deepEqual(view.local, fresh.local);
        const again = projector.project(input);
        assert.equal(again.local === view.local || view.local.length === 0, true);
        again.services.forEach((service, i) => {
          assert.equal(service, view.services[i]);
        });
      }
    }),
    { numRuns: 200 },
  );
});
