import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Catalog, hostCheckId, maxTopics, worse } from '../../../../src/agent/catalog/catalog.ts';
import {
  CHECK,
  type CheckValue,
  HOST,
  SERVICE,
  type ServiceDefinition,
} from '../../../../src/agent/kinds.ts';
import type { MemberState } from '../../../../src/gossip/port.ts';
import { definitionOf, hostValue } from '../../../support/agent.ts';

const one = 'a'.repeat(64);
const two = 'b'.repeat(64);
let catalog: Catalog;

function addHost(id: string, name: string, state: MemberState = 'alive'): void {
  catalog.member({ id, state, incarnation: 0, since: 0, roundTripMs: null });
  catalog.record(id, HOST, '', hostValue(name, '10.0.0.1'));
}

function addService(id: string, name: string, more: Partial<ServiceDefinition> = {}): void {
  const definition = definitionOf({ name, ...more });
  catalog.record(id, SERVICE, definition.id, definition);
}

const checkValue = (serviceId: string, status: CheckValue['status']): CheckValue => ({
  name: 'c',
  status,
  notes: '',
  output: '',
  serviceId,
  type: 'ttl',
});

/** Topics that `act` touches; each must have got a new index, and the whole must have grown. */
function touched(act: () => void): string[] {
  catalog.takeChanged();
  const before = catalog.index;
  act();
  const topics = [...catalog.takeChanged()].sort();
  for (const topic of topics) assert.ok(catalog.indexOf(topic) > before, topic);
  assert.equal(catalog.index > before, topics.length > 0);
  return topics;
}

beforeEach(() => {
  catalog = new Catalog();
  addHost(one, 'one');
  addHost(two, 'two');
  addService(one, 'web');
});

test('each change touches the topics of those who would see it, and no others', () => {
  const service = ['checks', 'node:one', 'service:web', 'services'];
  assert.deepEqual(
    touched(() => addService(one, 'web', { port: 1 })),
    service,
  );
  assert.deepEqual(
    touched(() => catalog.record(one, CHECK, 'c', checkValue('web', 'passing'))),
    ['checks', 'node:one', 'service:web'],
  );
  assert.deepEqual(
    touched(() => catalog.record(one, CHECK, 'h', checkValue('', 'critical'))),
    ['checks', 'node:one', 'nodes', 'service:web', 'services'],
  );
  assert.deepEqual(
    touched(() => catalog.record(two, CHECK, 'h', checkValue('', 'critical'))),
    ['checks', 'node:two', 'nodes'],
  );
  assert.deepEqual(
    touched(() => catalog.record(one, SERVICE, 'web', null)),
    service,
  );
});

test('what changes nothing touches nothing', () => {
  for (const act of [
    () => catalog.record(two, SERVICE, 'none', null),
    () => catalog.record(two, CHECK, 'none', null),
    () => catalog.record('c'.repeat(64), HOST, '', null),
    () => catalog.record('c'.repeat(64), SERVICE, 'x', definitionOf({ name: 'x' })),
    () => catalog.record(one, 'lifecycle', '', {}),
    () => catalog.member({ id: one, state: 'alive', incarnation: 0, since: 0, roundTripMs: 12 }),
    () => catalog.member({ id: one, state: 'alive', incarnation: 1, since: 5, roundTripMs: 12 }),
    () => catalog.member({ id: 'c'.repeat(64), state: 'alive', incarnation: 0, since: 0, roundTripMs: null }),
  ])
    assert.deepEqual(touched(act), []);
  assert.equal(catalog.host(one)?.roundTripMs, 12);
});

test('a service that changes its name, and a check that changes its service, touch both', () => {
  assert.deepEqual(
    touched(() => addService(one, 'shop', { id: 'web' })),
    ['checks', 'node:one', 'service:shop', 'service:web', 'services'],
  );
  assert.deepEqual(catalog.serviceNames(), ['shop']);
  addService(one, 'api');
  catalog.record(one, CHECK, 'c', checkValue('web', 'passing'));
  assert.deepEqual(
    touched(() => catalog.record(one, CHECK, 'c', checkValue('api', 'passing'))),
    ['checks', 'node:one', 'service:api', 'service:shop'],
  );
});

test('a host that changes its name is found under the new one, and both are touched', () => {
  const topics = touched(() => catalog.record(one, HOST, '', hostValue('eins', '10.0.0.1')));
  for (const topic of ['node:one', 'node:eins', 'nodes']) assert.ok(topics.includes(topic), topic);
  assert.equal(catalog.hostNamed('one'), undefined);
  assert.equal(catalog.hostNamed('eins')?.id, one);
});

test('a member’s state is a check of its host, and decides over its instances', () => {
  const [instance] = catalog.instances('web');
  assert.ok(instance !== undefined);
  const seen = (['alive', 'suspect', 'down', 'left'] as const).map((state, n) => {
    const topics = touched(() =>
      catalog.member({ id: one, state, incarnation: n, since: 0, roundTripMs: null }),
    );
    assert.equal(topics.includes('service:web'), state !== 'alive');
    return [
      state,
      catalog.statusOf(instance),
      catalog.instances('web').length,
      catalog.serviceNames().length,
    ];
  });
  assert.deepEqual(seen, [
    ['alive', 'passing', 1, 1],
    ['suspect', 'passing', 1, 1],
    ['down', 'critical', 1, 1],
    ['left', 'critical', 0, 0],
  ]);
  assert.equal(catalog.hostNamed('one'), undefined);
  assert.deepEqual(
    catalog.presentHosts().map(({ value }) => value.name),
    ['two'],
  );
});

test('the status of an instance is the worst of its own checks and its host’s', () => {
  const [instance] = catalog.instances('web');
  catalog.record(one, CHECK, 'a', checkValue('web', 'warning'));
  catalog.record(one, CHECK, 'other', checkValue('api', 'critical'));
  assert.equal(catalog.statusOf(instance!), 'warning');
  catalog.record(one, CHECK, 'h', checkValue('', 'critical'));
  assert.equal(catalog.statusOf(instance!), 'critical');
  assert.deepEqual(
    catalog.checksOfHost(catalog.host(one)!).map(({ id }) => id),
    [hostCheckId, 'h'],
  );
  assert.deepEqual(
    catalog.checksOfService(instance!).map(({ id }) => id),
    ['a'],
  );
  assert.equal(worse('passing', 'warning'), 'warning');
});

test('a host without a membership verdict counts as down until there is one', () => {
  catalog.record('c'.repeat(64), HOST, '', hostValue('three', '10.0.0.3'));
  assert.equal(catalog.hostNamed('three')?.state, 'down');
});

test('of two hosts with one name the lower id answers, the other when that is down or has left', () => {
  const three = 'c'.repeat(64);
  const named = (ofTwo: MemberState, ofThree: MemberState) => {
    for (const [id, state] of [[two, ofTwo] as const, [three, ofThree] as const])
      catalog.member({ id, state, incarnation: 0, since: 0, roundTripMs: null });
    return catalog.hostNamed('two')?.id;
  };
  addHost(three, 'two');
  assert.equal(named('alive', 'alive'), two);
  assert.equal(named('down', 'alive'), three);
  assert.equal(named('down', 'suspect'), three);
  assert.equal(named('down', 'down'), two);
  assert.equal(named('left', 'down'), three);
});

test('a host that goes takes its services with it, and comes back empty', () => {
  catalog.record(one, HOST, '', null);
  assert.deepEqual(catalog.serviceNames(), []);
  addHost(one, 'one');
  assert.equal(catalog.host(one)?.services.size, 0);
});

test('creation keeps its index while modification moves on', () => {
  const created = catalog.instances('web')[0]?.createIndex;
  addService(one, 'web', { port: 2 });
  const [again] = catalog.instances('web');
  assert.equal(again?.createIndex, created);
  assert.ok(again!.modifyIndex > created!);
});

test('names without end do not fill the memory, and no index goes back when one is forgotten', () => {
  const before = catalog.indexOf('service:web');
  let last = 0;
  for (let n = 0; n < maxTopics + 100; n++) {
    catalog.touch(`service:name-${n}`);
    const index = catalog.indexOf('service:web');
    assert.ok(index >= last);
    last = index;
  }
  assert.ok(last >= before && last <= catalog.index);
  assert.equal(catalog.indexOf(`service:name-${maxTopics + 99}`), catalog.index);
});
