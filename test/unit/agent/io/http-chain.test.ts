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
