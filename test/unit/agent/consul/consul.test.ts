import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  catalogServiceJson,
  goDuration,
  healthJson,
  memberJson,
  nodeUuid,
  serviceJson,
} from '../../../../src/agent/consul/consul.ts';
import { consulMetrics } from '../../../../src/agent/consul/consul-metrics.ts';
import { caRootsJson } from '../../../../src/agent/consul/consul-roots.ts';
import { parseDuration } from '../../../../src/agent/consul/duration.ts';
import { definitionOf, hostValue, MemoryAgent, selfId } from '../../../support/agent.ts';
import { createTestAuthority } from '../../../support/pki.ts';

const agent = new MemoryAgent();
agent.addService(selfId, definitionOf({ name: 'api', tags: ['v1'], meta: { a: 'b' } }));
const [entry] = agent.catalog.instances('api');

test('durations are written as Go writes them, and read back the same', () => {
  for (const [milliseconds, text] of [
    [0, ''],
    [500, '500ms'],
    [10_000, '10s'],
    [90_000, '1m30s'],
    [1500, '1.5s'],
    [3_600_000, '1h0m0s'],
    [3_661_000, '1h1m1s'],
  ] as const) {
    assert.equal(goDuration(milliseconds), text);
    if (text !== '') assert.equal(parseDuration(text, 'x'), milliseconds);
  }
});

test("a host's id has the form of a UUID", () => {
  assert.equal(nodeUuid('0123456789abcdef'.repeat(4)), '01234567-89ab-cdef-0123-456789abcdef');
});

test("rows have the fields that Consul's Go client decodes", () => {
  assert.ok(entry !== undefined);
  const health = healthJson(agent.catalog, entry, serviceJson(entry));
  assert.deepEqual(Object.keys(health), ['Node', 'Service', 'Checks']);
  const row = catalogServiceJson(entry, serviceJson(entry));
  for (const field of [
    'ID',
    'Node',
    'Address',
    'Datacenter',
    'TaggedAddresses',
    'NodeMeta',
    'ServiceID',
    'ServiceName',
  ])
    assert.ok(field in row, field);
  for (const field of [
    'ServiceTags',
    'ServiceMeta',
    'ServicePort',
    'ServiceWeights',
    'CreateIndex',
    'ModifyIndex',
  ])
    assert.ok(field in row, field);
  assert.ok(!('Meta' in row), 'the host metadata is NodeMeta here');
});

test('member states have the numbers of serf', () => {
  const status = (state: 'alive' | 'suspect' | 'down' | 'left') => {
    agent.addHost('e'.repeat(64), hostValue('e', '10.0.0.5'));
    agent.member('e'.repeat(64), state);
    return memberJson(agent.catalog.host('e'.repeat(64))!).Status;
  };
  assert.deepEqual([status('alive'), status('suspect'), status('left'), status('down')], [1, 1, 3, 4]);
});

test('the trust bundle names the active root and carries every certificate', () => {
  const authority = createTestAuthority('flock.test');
  const root = { generation: 0, certPem: authority.rootPem, active: true, notAfter: 0 };
  const bundle = caRootsJson('flock.test', [root], 7) as {
    ActiveRootID: string;
    Roots: { RootCert: string; NotAfter: string }[];
  };
  assert.equal(bundle.ActiveRootID, 'g0');
  assert.equal(bundle.Roots[0]!.RootCert, authority.rootPem);
  assert.ok(Date.parse(bundle.Roots[0]!.NotAfter) > 0);
});

test('metric labels with quotes, backslashes and line ends survive', () => {
  const text = '# TYPE a counter\na{x="q\\"b\\\\c\\nd"} 4\nb 2.5 1700000000000\nbroken\nc NaN\n';
  const metrics = consulMetrics(text, 0) as {
    Counters: { Labels: object }[];
    Gauges: { Name: string; Value: number }[];
  };
  assert.deepEqual(metrics.Counters[0]!.Labels, { x: 'q"b\\c\nd' });
  assert.deepEqual(metrics.Gauges, [{ Name: 'b', Value: 2.5, Labels: {} }]);
});
