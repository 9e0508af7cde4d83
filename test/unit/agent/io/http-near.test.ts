import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { AgentPort } from '../../../../src/agent/port.ts';
import type { HostId } from '../../../../src/core.ts';
import { definitionOf, hostValue, MemoryAgent, selfId } from '../../../support/agent.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

const two = 'b'.repeat(64);
const three = 'c'.repeat(64);
const four = 'd'.repeat(64);
/** Hosts on a line, milliseconds from its beginning; of `four` nothing is known. */
const positionsMs: { readonly [id: HostId]: number } = { [selfId]: 0, [two]: 40, [three]: 25 };

class EstimatingAgent extends MemoryAgent implements AgentPort {
  override estimateMs(a: HostId, b: HostId): number | null {
    const [from, to] = [positionsMs[a], positionsMs[b]];
    return from === undefined || to === undefined ? null : Math.abs(from - to);
  }
}

let api: TestApi;
before(async () => {
  api = await startApi({ agent: new EstimatingAgent() });
  const { agent } = api;
  agent.addHost(two, hostValue('two', '127.0.0.2'));
  agent.addHost(three, hostValue('three', '127.0.0.3'));
  agent.addHost(four, hostValue('four', '127.0.0.4'));
  for (const id of [selfId, two, three, four]) agent.addService(id, definitionOf({ name: 'api' }));
});
after(() => api.server.close());

type NodeRow = { readonly Node: string | { readonly Node: string } };

/** Names of the hosts in the rows of an answer, those of one host once. */
async function hosts(path: string): Promise<string[]> {
  const reply = await api.call('GET', path);
  assert.equal(reply.status, 200, `${path}: ${reply.text}`);
  const names = reply
    .json<NodeRow[]>()
    .map(({ Node }) => (typeof Node === 'string' ? Node : Node.Node))
    .filter((name, i, all) => all.indexOf(name) === i);
  return names;
}

const paths = [
  '/v1/catalog/nodes',
  '/v1/catalog/service/api',
  '/v1/catalog/connect/api',
  '/v1/health/service/api',
  '/v1/health/connect/api',
  '/v1/health/state/any',
];

for (const path of paths)
  test(`${path} is sorted by the estimate from any host, unknown ones last`, async () => {
    assert.deepEqual(await hosts(path), ['four', 'one', 'three', 'two']);
    assert.deepEqual(await hosts(`${path}?near=_agent`), ['one', 'three', 'two', 'four']);
    assert.deepEqual(await hosts(`${path}?near=two`), ['two', 'three', 'one', 'four']);
    assert.deepEqual(await hosts(`${path}?near=${three}`), ['three', 'two', 'one', 'four']);
  });

test('a name that no host has leaves the order as it is, as in Consul', async () => {
  assert.deepEqual(await hosts('/v1/catalog/nodes?near=atlantis'), ['four', 'one', 'three', 'two']);
  assert.deepEqual(await hosts('/v1/catalog/nodes?near='), ['four', 'one', 'three', 'two']);
});

test('near a host of which nothing is known the others keep their order', async () => {
  assert.deepEqual(await hosts('/v1/catalog/nodes?near=four'), ['four', 'one', 'three', 'two']);
});

test('from here a measured round trip stands in where there is no estimate', async () => {
  api.agent.member(four, 'alive', 30);
  assert.deepEqual(await hosts('/v1/catalog/nodes?near=_agent'), ['one', 'three', 'four', 'two']);
  assert.deepEqual(await hosts('/v1/catalog/nodes?near=two'), ['two', 'three', 'one', 'four']);
});
