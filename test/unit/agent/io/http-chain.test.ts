import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startApi, type TestApi } from '../../../support/api.ts';

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api.server.close());

test('a discovery chain follows what is written, for callers in the datacenter that they name', async () => {
  const entry = { Kind: 'service-resolver', Name: 'old', Redirect: { Service: 'api' } };
  assert.equal((await api.call('PUT', '/v1/config', { body: entry, operator: true })).text, 'true');
  const answer = await api.call('GET', '/v1/discovery-chain/old');
  const { Chain } = answer.json<{ Chain: { StartNode: string; ServiceName: string } }>();
  assert.deepEqual([Chain.ServiceName, Chain.StartNode], ['old', 'resolver:api.default.default.dc1']);
  const there = await api.call('GET', '/v1/discovery-chain/old?compile-dc=dc9');
  assert.match(there.text, /resolver:api.default.default.dc9/);
});

test('names that no service and no datacenter can have are refused', async () => {
  for (const path of ['/v1/discovery-chain/No%20Name', '/v1/discovery-chain/web?compile-dc=%22'])
    assert.equal((await api.call('GET', path)).status, 400, path);
});

test('a chain is compiled with the overrides of a POST, in either spelling and with numbers of nanoseconds', async () => {
  const post = (body: unknown, query = '') => api.call('POST', `/v1/discovery-chain/fresh${query}`, { body });
  const mode = { Mode: 'local' };
  const both = [
    { OverrideConnectTimeout: '7s', OverrideProtocol: 'grpc', OverrideMeshGateway: mode },
    { override_connect_timeout: 7e9, override_protocol: 'grpc', override_mesh_gateway: mode },
  ];
  const [first, second] = await Promise.all(both.map((body) => post(body)));
  const { Chain } = first!.json<{ Chain: { Protocol: string; Targets: { [id: string]: object } } }>();
  assert.equal(Chain.Protocol, 'grpc');
  assert.match(JSON.stringify(Chain.Targets), /"MeshGateway":\{"Mode":"local"\}.*"ConnectTimeout":"7s"/);
  assert.equal(second!.text, first!.text);
  assert.ok(!('CustomizationHash' in (await post({})).json<{ Chain: object }>().Chain));
  const wrong = await post({ OverrideMeshGateway: { Mode: 'far' } });
  assert.deepEqual([wrong.status, wrong.text], [400, 'Invalid OverrideMeshGateway.Mode parameter']);
  for (const body of ['{', { OverrideConnectTimeout: 'soon' }, { OverrideProtocol: 'smoke' }]) {
    const { status, text } = await post(body);
    assert.equal(status, 400);
    assert.match(text, /^Request decod/);
  }
  const lost = await post({}, '?dc=nowhere&compile-dc=dc1');
  assert.deepEqual([lost.status, lost.text], [500, 'No path to datacenter']);
});
