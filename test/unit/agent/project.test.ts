import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Catalog } from '../../../src/agent/catalog/catalog.ts';
import { parseVipRange, VipPool } from '../../../src/agent/catalog/vips.ts';
import { nodeJson, serviceJson } from '../../../src/agent/consul/consul.ts';
import { parseDefinition } from '../../../src/agent/consul/definition.ts';
import { policyViewOf } from '../../../src/agent/entries/view.ts';
import { CHECK, HOST, SERVICE, type ServiceDefinition } from '../../../src/agent/kinds.ts';
import type { PolicyStore } from '../../../src/agent/port.ts';
import { type ProjectionInput, Projector, project } from '../../../src/agent/project.ts';
import type { MemberState } from '../../../src/gossip/port.ts';
import { instanceData } from '../../../src/proxy/filter/instance.ts';
import type { MeshView } from '../../../src/proxy/view.ts';
import { definitionOf, hostValue } from '../../support/agent.ts';
import { rawStoreOf, storeOf } from '../../support/policy.ts';

interface Rows {
  readonly Node: { readonly [field: string]: unknown };
  readonly Service: { readonly [field: string]: unknown };
}

const self = 'a'.repeat(64);
const other = 'b'.repeat(64);
let catalog: Catalog;
let vips: VipPool;
let policy: PolicyStore;

beforeEach(() => {
  catalog = new Catalog();
  vips = new VipPool(parseVipRange('127.64.0.0/16'));
  policy = storeOf();
  addHost(self, 'one', '10.0.0.1');
  addHost(other, 'two', '10.0.0.2');
});

function addHost(id: string, name: string, address: string, zone = ''): void {
  catalog.record(id, HOST, '', hostValue(name, address, { zone }));
  state(id, 'alive');
}

function state(id: string, state: MemberState): void {
  catalog.member({ id, state, incarnation: 0, since: 0, roundTripMs: null });
}

function add(id: string, name: string, more: Partial<ServiceDefinition> = {}): void {
  const definition = definitionOf({ name, ...more });
  catalog.record(id, SERVICE, definition.id, definition);
}

function addCheck(id: string, serviceId: string, status: 'passing' | 'warning' | 'critical'): void {
  const value = { name: 'c', status, notes: '', output: '', serviceId, type: 'ttl' };
  catalog.record(id, CHECK, `check-${serviceId}`, value);
}

function view(): MeshView {
  return project(input());
}

function input(): ProjectionInput {
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
    policy: policyViewOf(policy),
    intentions: [],
    vips,
    identities: [],
    roots: [],
    denied: { hosts: [], serials: [] },
  };
}

const serviceOf = (name: string) => view().services.find((service) => service.name === name);

test('an instance is reached at its host’s inbound port, whatever address it gave itself', () => {
  add(other, 'api', { address: '192.0.2.9', port: 9000 });
  const [instance] = serviceOf('api')?.instances ?? [];
  assert.deepEqual(
    [instance?.address, instance?.inboundPort, instance?.hostName],
    ['10.0.0.2', 21000, 'two'],
  );
});

test('an instance on this host is called at the address it gave, or localhost', () => {
  add(self, 'api');
  add(self, 'db', { address: '127.0.0.9', port: 5432 });
  assert.deepEqual(
    view().local.map(({ id, address, port }) => [id, address, port]),
    [
      ['api', '127.0.0.1', 8080],
      ['db', '127.0.0.9', 5432],
    ],
  );
});

test('what is not in the mesh can call but not be called', () => {
  add(self, 'batch', { inMesh: false });
  assert.equal(serviceOf('batch'), undefined);
  assert.equal(view().local[0]?.inMesh, false);
});

test('callers of a service are counted by zone, also those that cannot be called, but not those that fail', () => {
  add(self, 'batch', { inMesh: false });
  add(other, 'batch', { inMesh: false });
  assert.deepEqual(view().callers, [{ service: 'batch', zones: [{ zone: '', instances: 2 }] }]);
  addHost(other, 'two', '10.0.0.2', 'z2');
  const zones = [
    { zone: '', instances: 1 },
    { zone: 'z2', instances: 1 },
  ];
  assert.deepEqual(view().callers, [{ service: 'batch', zones }]);
  state(other, 'down');
  assert.deepEqual(view().callers[0]!.zones, [{ zone: '', instances: 1 }]);
});

test('an upstream is of this host’s datacenter unless it names another one', () => {
  const Upstreams = [
    { DestinationName: 'api', LocalBindPort: 9001 },
    { DestinationName: 'api', LocalBindPort: 9002, Datacenter: 'dc2' },
  ];
  const written = { Name: 'web', Connect: { SidecarService: { Proxy: { Upstreams } } } };
  add(self, 'web', parseDefinition(written, { type: 'api' }));
  const upstream = { destination: 'api', bindAddress: '127.0.0.1' };
  assert.deepEqual(view().local[0]!.upstreams, [
    { ...upstream, datacenter: 'dc1', bindPort: 9001 },
    { ...upstream, datacenter: 'dc2', bindPort: 9002 },
  ]);
});

test('health is the worst of host and instance, and a warning has its own weight', () => {
  add(other, 'api', { weights: { passing: 10, warning: 3 } });
  const seen = () => {
    const [instance] = serviceOf('api')?.instances ?? [];
    return [instance?.health, instance?.weight, instance?.suspect];
  };
  assert.deepEqual(seen(), ['passing', 10, false]);
  addCheck(other, 'api', 'warning');
  assert.deepEqual(seen(), ['warning', 3, false]);
  state(other, 'suspect');
  assert.deepEqual(seen(), ['warning', 3, true]);
  state(other, 'down');
  assert.deepEqual(seen(), ['critical', 10, false]);
  state(other, 'left');
  assert.equal(serviceOf('api'), undefined);
});

test('a service listens on its address at the port most instances have, the lowest of equals', () => {
  add(self, 'api', { port: 9000 });
  add(other, 'api', { port: 8000 });
  assert.equal(serviceOf('api')?.vipPort, 8000);
  add(other, 'api', { id: 'api-2', port: 9000 });
  assert.equal(serviceOf('api')?.vipPort, 9000);
  assert.match(serviceOf('api')?.vip ?? '', /^127\.64\./);
  add(other, 'portless', { port: 0 });
  assert.deepEqual([serviceOf('portless')?.vip, serviceOf('portless')?.vipPort], [null, null]);
});

test('an address is given back when a service is gone everywhere, and kept while it is anywhere', () => {
  const small = new VipPool(parseVipRange('127.64.0.0/30'));
  vips = small;
  add(self, 'a');
  add(self, 'b');
  const before = [serviceOf('a')?.vip, serviceOf('b')?.vip];
  add(self, 'c');
  assert.equal(serviceOf('c')?.vip, null);
  catalog.record(self, SERVICE, 'a', null);
  assert.equal(serviceOf('b')?.vip, before[1]);
  assert.equal(serviceOf('c')?.vip, before[0]);
});

test('a service speaks what its defaults say, else what the mesh does, else anything', () => {
  add(self, 'api');
  add(self, 'db', { port: 9001 });
  const protocols = () => [serviceOf('api')?.protocol, serviceOf('db')?.protocol];
  assert.deepEqual(protocols(), ['auto', 'auto']);
  const api = { Kind: 'service-defaults', Name: 'api', Protocol: 'grpc' };
  const global = { Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'http' } };
  policy = storeOf(api);
  assert.deepEqual(protocols(), ['grpc', 'auto']);
  policy = storeOf(api, global);
  assert.deepEqual(protocols(), ['grpc', 'http']);
  policy = rawStoreOf({ ...api, Protocol: 'quic' });
  assert.deepEqual(protocols(), ['auto', 'auto']);
});

test('equal meshes give equal views, whatever order they were learnt in', () => {
  const build = (order: readonly string[]): MeshView => {
    catalog = new Catalog();
    vips = new VipPool(parseVipRange('127.64.0.0/16'));
    for (const step of order) {
      if (step === 'one') addHost(self, 'one', '10.0.0.1');
      else if (step === 'two') addHost(other, 'two', '10.0.0.2');
    }
    for (const step of order) {
      if (step === 'one') add(self, 'api', { id: 'z' });
      else if (step === 'two') add(other, 'api', { id: 'a' });
      else add(self, step);
    }
    return view();
  };
  assert.deepEqual(build(['one', 'two', 'x', 'y']), build(['two', 'one', 'y', 'x']));
});

test('a service that policy redirects keeps its address and its port after its last instance went', () => {
  const projector = new Projector();
  const moved = () => projector.project(input()).services.find(({ name }) => name === 'api');
  add(self, 'api', { port: 8000 });
  add(other, 'api-next', { port: 9000 });
  const before = moved();
  policy = storeOf({ Kind: 'service-resolver', Name: 'api', Redirect: { Service: 'api-next' } });
  catalog.record(self, SERVICE, 'api', null);
  assert.deepEqual(moved(), { ...before, instances: [] });
  policy = storeOf();
  assert.equal(moved(), undefined);
});

test('a name that was never run has the port of what policy leads it to, and none if that is nothing', () => {
  add(other, 'api-next', { port: 9000 });
  policy = storeOf(
    { Kind: 'service-resolver', Name: 'api', Redirect: { Service: 'api-next' } },
    { Kind: 'service-resolver', Name: 'nowhere', Redirect: { Service: 'nothing' } },
  );
  assert.equal(serviceOf('api')?.vipPort, 9000);
  assert.match(serviceOf('api')?.vip ?? '', /^127\.64\./);
  assert.equal(serviceOf('nowhere'), undefined);
});

test('a filter of a subset sees an instance as the API shows it', () => {
  add(other, 'api', { address: '192.0.2.9', port: 9000, tags: ['x'], meta: { version: 'v1' } });
  const [instance] = serviceOf('api')?.instances ?? [];
  const [entry] = catalog.instances('api');
  const shown = { Node: nodeJson(entry!.host), Service: serviceJson(entry!) } as Rows;
  const given = instanceData('api', instance!) as Rows;
  for (const part of ['Node', 'Service'] as const)
    for (const [field, value] of Object.entries(given[part])) assert.deepEqual(value, shown[part][field]);
});
