import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import {
  maintenanceCheckId,
  maxChecksPerHost,
  maxOutputLength,
  maxServicesPerHost,
  type OwnWrite,
  Registry,
} from '../../../../src/agent/catalog/registry.ts';
import {
  CHECK,
  CHECK_DEFINITION,
  type CheckValue,
  HOST,
  SERVICE,
  type ServiceDefinition,
} from '../../../../src/agent/kinds.ts';
import { Fault } from '../../../../src/core.ts';
import type { Record } from '../../../../src/gossip/replica/record.ts';
import { checkOf, definitionOf, hostValue } from '../../../support/agent.ts';
import { KnownMesh, recordOf } from '../../../support/records.ts';

let mesh: KnownMesh;
let registry: Registry;
let version = 0;

beforeEach(() => {
  mesh = new KnownMesh();
  registry = mesh.knowledge.registry;
  version = 0;
  carryOut([{ kind: HOST, key: '', value: hostValue('one', '10.0.0.1') }]);
});

/** Begins writes; the records they are, for when the disk has answered. */
function begin(writes: readonly OwnWrite[]): Record[] {
  return writes.map((write) => {
    const record = recordOf({ ...write, version: ++version });
    registry.wrote(write, record.version);
    return record;
  });
}

/** Makes writes that were begun durable, as the core does after the disk said so. */
function settle(records: readonly Record[]): void {
  mesh.apply(...records);
  registry.ended(records);
}

const carryOut = (writes: readonly OwnWrite[]) => settle(begin(writes));

const slotsOf = (writes: readonly OwnWrite[]) =>
  writes.map(({ kind, key, value }) => `${value === null ? '-' : '+'}${kind} ${key}`);

const refusedWith =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

const web = definitionOf({ name: 'web', checks: [checkOf({ id: 'web-1' }), checkOf({ id: 'web-2' })] });

test('a service is written with the initial status of each of its checks', () => {
  const writes = registry.register(web);
  assert.deepEqual(slotsOf(writes), ['+service web', '+check web-1', '+check web-2']);
  assert.equal((writes[1]!.value as CheckValue).status, 'critical');
});

test('registering the same again writes nothing, and a change writes the service alone', () => {
  carryOut(registry.register(web));
  assert.deepEqual(registry.register(structuredClone(web)), []);
  assert.deepEqual(slotsOf(registry.register({ ...web, port: 9 })), ['+service web']);
});

test('a check that is no longer part of a definition goes, a new one comes, the others keep their status', () => {
  carryOut(registry.register(web));
  carryOut(registry.status('web-2', 'passing', 'fine'));
  const writes = registry.register({ ...web, checks: [checkOf({ id: 'web-2' }), checkOf({ id: 'web-3' })] });
  assert.deepEqual(slotsOf(writes), ['+service web', '-check web-1', '+check web-3']);
});

test('a service goes with its checks, its maintenance and the checks registered beside it', () => {
  carryOut(registry.register(web));
  carryOut(registry.register(definitionOf({ name: 'api', checks: [checkOf({ id: 'api-1' })] })));
  carryOut(registry.registerCheck('web', checkOf({ id: 'beside' })));
  carryOut(registry.registerCheck('', checkOf({ id: 'of-host' })));
  carryOut(registry.maintenance('web', true, 'upgrade'));
  assert.deepEqual(slotsOf(registry.deregister('web')).sort(), [
    '-check _service_maintenance:web',
    '-check beside',
    '-check web-1',
    '-check web-2',
    '-check-definition beside',
    '-service web',
  ]);
  carryOut(registry.deregister('web'));
  assert.deepEqual(
    registry.checks().map(({ check }) => check.id),
    ['api-1', 'of-host'],
  );
  assert.throws(() => registry.deregister('web'), refusedWith('unknown-service'));
});

test('a check id belongs to one service or the host, whoever had it first', () => {
  carryOut(registry.register(web));
  carryOut(registry.registerCheck('', checkOf({ id: 'of-host' })));
  const thief = definitionOf({ name: 'api', checks: [checkOf({ id: 'fine' }), checkOf({ id: 'of-host' })] });
  assert.throws(
    () => registry.register(thief),
    (error: unknown) =>
      refusedWith('duplicate-check-id')(error) && (error as Fault).field === 'service.checks[1].id',
  );
  assert.throws(
    () => registry.registerCheck('', checkOf({ id: 'web-1' })),
    refusedWith('duplicate-check-id'),
  );
  assert.throws(() => registry.registerCheck('nobody', checkOf({ id: 'x' })), refusedWith('unknown-service'));
});

test('a check beside a definition that later names it too is one check', () => {
  carryOut(registry.register({ ...web, checks: [] }));
  carryOut(registry.registerCheck('web', checkOf({ id: 'web-1' })));
  carryOut(registry.register(web));
  assert.deepEqual(
    registry.checks().map(({ check }) => check.id),
    ['web-1', 'web-2'],
  );
  const writes = registry.register({ ...web, checks: [] });
  assert.deepEqual(slotsOf(writes), ['+service web', '-check web-1', '-check web-2']);
});

test('a check can be taken back by itself, also out of its service’s definition', () => {
  carryOut(registry.register(web));
  carryOut(registry.registerCheck('', checkOf({ id: 'of-host' })));
  carryOut(registry.deregisterCheck('web-1'));
  carryOut(registry.deregisterCheck('of-host'));
  assert.deepEqual(
    registry.checks().map(({ check }) => check.id),
    ['web-2'],
  );
  assert.deepEqual(registry.status('web-1', 'passing', ''), []);
  assert.throws(() => registry.deregisterCheck('web-1'), refusedWith('unknown-check'));
});

test('maintenance is a critical check that comes and goes, of a service or the host', () => {
  carryOut(registry.register(web));
  for (const id of ['web', '']) {
    assert.deepEqual(registry.maintenance(id, false, ''), []);
    carryOut(registry.maintenance(id, true, ''));
    const value = mesh.knowledge.catalog.host(registry.selfId)?.checks.get(maintenanceCheckId(id))?.value;
    assert.deepEqual([value?.status, value?.serviceId], ['critical', id]);
    assert.match(value?.notes ?? '', /no reason/);
    assert.deepEqual(slotsOf(registry.maintenance(id, false, '')), [`-check ${maintenanceCheckId(id)}`]);
  }
  assert.throws(() => registry.maintenance('nobody', true, ''), refusedWith('unknown-service'));
});

test('a status is written when it or its output is news, cut to what the mesh is told', () => {
  carryOut(registry.register(web));
  assert.deepEqual(registry.status('web-1', 'critical', ''), []);
  const [write] = registry.status('web-1', 'passing', 'x'.repeat(maxOutputLength + 1));
  assert.equal((write!.value as CheckValue).output.length, maxOutputLength);
  assert.deepEqual(registry.status('unknown', 'passing', ''), []);
});

test('a status is compared with what was written last, durable or not', () => {
  carryOut(registry.register(web));
  const critical = registry.status('web-1', 'passing', '');
  begin(critical);
  assert.deepEqual(registry.status('web-1', 'passing', ''), []);
  const back = registry.status('web-1', 'critical', '');
  assert.deepEqual(slotsOf(back), ['+check web-1']);
  carryOut([...critical, ...back]);
  assert.equal(registry.told('web-1')?.status, 'critical');
});

test('a host has room for so many services and checks, and replacing one needs none', () => {
  carryOut(
    Array.from({ length: maxServicesPerHost }, (_, n) => ({
      kind: SERVICE,
      key: `s${n}`,
      value: definitionOf({ name: `s${n}` }),
    })),
  );
  assert.throws(() => registry.register(definitionOf({ name: 'more' })), refusedWith('too-many-services'));
  assert.deepEqual(slotsOf(registry.register(definitionOf({ name: 's7', port: 7 }))), ['+service s7']);
  const standalone = Array.from({ length: maxChecksPerHost }, (_, n) => ({
    kind: CHECK_DEFINITION,
    key: `c${n}`,
    value: { serviceId: '', check: checkOf({ id: `c${n}` }) },
  }));
  carryOut(standalone);
  assert.throws(() => registry.registerCheck('', checkOf({ id: 'more' })), refusedWith('too-many-checks'));
  assert.throws(
    () => registry.register(definitionOf({ name: 's7', checks: [checkOf({ id: 'more' })] })),
    refusedWith('too-many-checks'),
  );
  assert.equal(registry.registerCheck('', checkOf({ id: 'c3', name: 'renamed' }))[0]?.kind, CHECK_DEFINITION);
});

const fromFile = (name: string, more: Partial<ServiceDefinition> = {}) =>
  definitionOf({ name, source: 'file:/etc/web.json', ...more });

test('files add, change and take back their own services, and leave the API’s alone', () => {
  carryOut(registry.register(definitionOf({ name: 'by-api' })));
  carryOut(registry.files([fromFile('a'), fromFile('b')]).writes);
  assert.deepEqual(registry.files([fromFile('a'), fromFile('b')]).writes, []);
  const { writes, refused } = registry.files([fromFile('b', { port: 1 }), fromFile('c')]);
  assert.deepEqual(slotsOf(writes), ['-service a', '+service b', '+service c']);
  assert.deepEqual(refused, []);
});

test('what a file defines is not registered over it, not even while it is taken back, until the file is gone', () => {
  carryOut(registry.files([fromFile('a'), fromFile('b')]).writes);
  const other = definitionOf({ name: 'a', port: 9701 });
  assert.throws(() => registry.register(other), refusedWith('conflict'));
  assert.throws(() => registry.register(other), /"a" is defined in \/etc\/web\.json/);
  carryOut(registry.deregister('a'));
  assert.throws(() => registry.register(other), refusedWith('conflict'));
  carryOut(registry.files([fromFile('a'), fromFile('b')]).writes);
  assert.equal(registry.service('a')?.source, 'file:/etc/web.json', 'it comes back with its file');
  carryOut(registry.files([fromFile('b')]).writes);
  assert.deepEqual(slotsOf(registry.register(other)), ['+service a']);
});

test('in files a check may move to another service, in whichever order they are named', () => {
  const one = [checkOf({ id: 'shared' })];
  for (const order of [0, 1]) {
    carryOut(registry.files([fromFile('a', { checks: one }), fromFile('b')]).writes);
    const moved = [fromFile('a'), fromFile('b', { checks: one })];
    const { writes, refused } = registry.files(order === 0 ? moved : moved.toReversed());
    assert.deepEqual(refused, []);
    carryOut(writes);
    assert.deepEqual(registry.checks(), [{ serviceId: 'b', check: one[0] }]);
    assert.equal(registry.told('shared')?.serviceId, 'b');
    carryOut(registry.files([fromFile('b', { checks: one })]).writes);
    assert.equal(registry.told('shared')?.serviceId, 'b');
    carryOut(registry.files([]).writes);
    assert.equal(registry.told('shared'), undefined);
  }
});

test('of files that want more than there is room for, the last are refused, each by its id', () => {
  const many = Array.from({ length: maxServicesPerHost + 2 }, (_, n) => fromFile(`s${n}`));
  const { writes, refused } = registry.files(many);
  assert.equal(writes.length, maxServicesPerHost);
  assert.deepEqual(
    refused.map(({ id, fault }) => [id, fault.code]),
    [
      ['s1000', 'too-many-services'],
      ['s1001', 'too-many-services'],
    ],
  );
});

const calls = (name: string, bindPort: number) =>
  definitionOf({
    name,
    upstreams: [{ destination: 'api', bindAddress: '127.0.0.1', bindPort, datacenter: '' }],
  });

test('an upstream’s bind belongs to one service of the host, whoever comes second', () => {
  carryOut(registry.register(calls('web', 5000)));
  assert.throws(() => registry.register(calls('shop', 5000)), refusedWith('bind-taken'));
  assert.throws(() => registry.register(calls('shop', 5000)), /Upstreams\[0\]|is an upstream of "web"/);
  assert.deepEqual(registry.register(calls('web', 5000)), [], 'its own does not stand in its way');
  assert.deepEqual(slotsOf(registry.register(calls('shop', 5001))), ['+service shop']);
});

test('of two services in files that want one bind the first has it, and what files gave up is free', () => {
  const file = (definition: ServiceDefinition) => ({ ...definition, source: 'file:a.json' });
  const { writes, refused } = registry.files([file(calls('shop', 5000)), file(calls('web', 5000))]);
  assert.deepEqual(slotsOf(writes), ['+service shop']);
  assert.deepEqual(
    refused.map(({ id, fault }) => `${id} ${fault.code}`),
    ['web bind-taken'],
  );
  carryOut(writes);
  assert.deepEqual(registry.files([file(calls('web', 5000))]).refused, []);
});

test('what the agent itself binds is no upstream’s, with a wildcard address on every address', () => {
  const own = [
    { address: '127.0.0.1', port: 8500, option: '--http' },
    { address: '0.0.0.0', port: 7946, option: '--gossip-port' },
  ];
  const guarded = new Registry('self', mesh.knowledge.catalog, own);
  assert.throws(
    () => guarded.register(calls('web', 8500)),
    /127\.0\.0\.1:8500 is the agent's own \(--http\)/,
  );
  assert.throws(() => guarded.register(calls('web', 7946)), /--gossip-port/);
  assert.equal(guarded.register(calls('web', 8501)).length, 1);
});

test('a write is judged by what those under way will leave, not by what is durable', () => {
  carryOut(registry.register(web));
  const gone = registry.deregister('web');
  begin(gone);
  assert.throws(() => registry.deregister('web'), refusedWith('unknown-service'));
  const again = registry.register(web);
  assert.deepEqual(slotsOf(again), ['+service web', '+check web-1', '+check web-2']);
  assert.equal(registry.service('web')?.id, 'web', 'others still see what is durable');
  begin(again);
  assert.deepEqual(registry.register(web), []);
});

test('a write that the disk refused was never made', () => {
  const writes = registry.register(web);
  const begun = begin(writes);
  registry.ended(begun);
  assert.deepEqual(slotsOf(registry.register(web)), slotsOf(writes));
});

test('what is written again before the disk refused the first write counts on', () => {
  const first = begin(registry.register(web));
  const second = begin(registry.register({ ...web, port: 9 }));
  registry.ended(first);
  assert.deepEqual(slotsOf(registry.register({ ...web, port: 9 })), ['+check web-1', '+check web-2']);
  registry.ended(second);
  assert.equal(slotsOf(registry.register({ ...web, port: 9 }))[0], '+service web');
});

test('two writes of one slot in one batch are over with it', () => {
  const moved = checkOf({ id: 'moving' });
  const file = (definition: ServiceDefinition) => ({ ...definition, source: 'file:a.json' });
  carryOut(registry.files([file(definitionOf({ name: 'web', checks: [moved] }))]).writes);
  const { writes } = registry.files([file(definitionOf({ name: 'shop', checks: [moved] }))]);
  assert.deepEqual(
    slotsOf(writes).filter((slot) => slot.endsWith(' moving')),
    ['-check moving', '+check moving'],
  );
  carryOut(writes);
  assert.equal(registry.told('moving')?.serviceId, 'shop');
  mesh.apply(recordOf({ kind: CHECK, key: 'moving', value: null, version: ++version }));
  assert.equal(registry.told('moving'), undefined, 'nothing of it is under way any more');
});

test('two services under way at once do not both take one check id or one upstream’s bind', () => {
  begin(registry.register(web));
  const thief = definitionOf({ name: 'thief', checks: [checkOf({ id: 'web-1' })] });
  assert.throws(() => registry.register(thief), refusedWith('duplicate-check-id'));
  begin(registry.register(calls('shop', 5000)));
  assert.throws(() => registry.register(calls('cart', 5000)), refusedWith('bind-taken'));
});
