/** `force-leave`: an operator says for a host that it left, on the command line and as Consul's clients do. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hostValue } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';
import { type Ended, runCli } from '../../../support/cli.ts';

let api: TestApi;
let folder: string;
before(async () => {
  api = await startApi();
  folder = mkdtempSync(join(tmpdir(), 'starling-cli-'));
  writeFileSync(join(folder, 'token'), `${operatorToken}\n`, { mode: 0o600 });
});
after(async () => {
  await api.server.close();
  rmSync(folder, { recursive: true });
});

const operator = (): string[] => ['--operator-token-file', join(folder, 'token')];

const cli = (...args: string[]): Promise<Ended> => runCli(folder, ...args, '--http', api.address);

async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...args);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function fails(expected: number, problem: RegExp, ...args: string[]): Promise<void> {
  const { code, stderr } = await cli(...args);
  assert.equal(code, expected, stderr);
  assert.match(stderr, problem);
}

test('a host that is gone is said to have left by an operator, by name or id, and by nobody else', async () => {
  const lost = 'd'.repeat(64);
  api.agent.addHost(lost, hostValue('lost', '127.0.0.4'));
  await fails(1, new RegExp(`lost is alive; .* ${lost}`), 'force-leave', 'lost', ...operator());
  api.agent.member(lost, 'down');
  await fails(1, /operator/, 'force-leave', 'lost');
  assert.equal(
    await done('force-leave', 'lost', ...operator()),
    'lost counts as left, unless it is alive and says so\n',
  );
  assert.deepEqual(api.agent.commands.at(-1)?.type, 'force-leave');
  assert.equal(await done('force-leave', 'lost', ...operator()), 'lost had left before\n');
  assert.equal(JSON.parse(await done('force-leave', lost, '--json', ...operator())).changed, false);
  const [heir, dead] = ['1'.repeat(64), '2'.repeat(64)] as const;
  for (const [id, state] of [[heir, 'alive'] as const, [dead, 'down'] as const]) {
    api.agent.addHost(id, hostValue('named-anew', '127.0.0.5'));
    api.agent.catalog.member({ id, state, incarnation: 0, since: 0, roundTripMs: null });
  }
  // Said twice it means the same one, and never the host that has the name now.
  for (const changed of [true, false]) {
    const said = JSON.parse(await done('force-leave', 'named-anew', '--json', ...operator()));
    assert.deepEqual([said.host, said.changed], [dead, changed]);
  }
  await fails(1, /there is no host "nobody"/, 'force-leave', 'nobody', ...operator());
  await fails(2, /argument|missing/, 'force-leave');
});

test('Consul’s way to force a host out is refused without the token, and where it asks to prune', async () => {
  const path = '/v1/agent/force-leave/lost';
  assert.equal((await api.call('PUT', path)).status, 403);
  assert.equal((await api.call('PUT', `${path}?prune`, { operator: true })).status, 400);
  assert.equal((await api.call('PUT', '/v1/agent/force-leave/x', { operator: true })).status, 404);
  const uuid = 'dddddddd-dddd-dddd-dddd-dddddddddddd';
  assert.equal((await api.call('PUT', `/v1/agent/force-leave/${uuid}`, { operator: true })).status, 200);
});
