/** Policy in a running mesh: written anywhere, in force everywhere, and told where it is not. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { until } from '../../demo/flock.ts';
import { curl, startMesh, type TestMesh, upstreamPort } from './mesh.ts';

let mesh: TestMesh;
before(async () => {
  mesh = await startMesh();
});
after(() => mesh.flock.stop());

function file(name: string, content: unknown): string {
  const path = join(mesh.flock.directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const call = (path: string, ...args: string[]) =>
  curl(...args, `http://${mesh.one.address}:${upstreamPort}${path}`);

test('a permission written on one host decides on requests at every other once the write has been waited for', async () => {
  const { one, two, three, flock } = mesh;
  const permissions = [{ Action: 'allow', HTTP: { PathPrefix: '/public', Methods: ['GET'] } }];
  const intentions = {
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Permissions: permissions }],
  };
  const written = await two.cli('apply', file('permissions.json', intentions), '--wait', ...flock.operator());
  assert.equal(written.code, 0, written.stderr + written.stdout);
  assert.match(written.stdout, /in force on all 3 live hosts/);
  await until('web has its certificate', 20_000, async () => (await call('/public')).status !== 503);
  assert.equal((await call('/public/x')).status, 200);
  const denied = await call('/private');
  assert.equal(denied.status, 403, denied.body);
  assert.equal((await call('/public/x', '-X', 'POST')).status, 403);
  assert.equal((await call('/x/%2e%2e/private', '--path-as-is')).status, 403);
  for (const bird of [one, two, three]) {
    const check = (path: string) => bird.cli('intention', 'check', 'web', 'api', '--path', path);
    assert.deepEqual([(await check('/public/x')).code, (await check('/private')).code], [0, 1]);
  }
});

test('a dry run names the recent calls that would be decided otherwise, and a rollback takes a write back', async () => {
  const { one, three, flock } = mesh;
  const open = { Kind: 'service-intentions', Name: 'api', Sources: [{ Name: 'web', Action: 'allow' }] };
  const shut = { ...open, Sources: [{ Name: 'web', Action: 'deny' }] };
  await one.cli('config', 'write', file('open.json', open), '--wait', ...flock.operator());
  assert.equal((await call('/private')).status, 200);
  await until('a dry run tells of the call', 10_000, async () => {
    const outlook = await one.cli('config', 'write', file('shut.json', shut), '--dry-run');
    return /^web +api +\d+ +allow +deny +service-intentions\/api$/m.test(outlook.stdout);
  });
  assert.equal((await call('/private')).status, 200, 'a dry run changes nothing');
  await three.cli('config', 'write', file('shut.json', shut), '--wait', ...flock.operator());
  assert.equal((await call('/private')).status, 403);
  const rolled = await three.cli(
    'config',
    'rollback',
    'service-intentions',
    'api',
    '--wait',
    ...flock.operator(),
  );
  assert.equal(rolled.code, 0, rolled.stderr);
  assert.equal((await call('/private')).status, 200);
  const [here, there] = await Promise.all(
    [one, three].map((bird) => bird.get<object>('/v1/mesh/history/service-intentions/api')),
  );
  assert.deepEqual(here, there);
});

test('a router, a splitter and a resolver written in one file are served by', async () => {
  const { one, flock } = mesh;
  const entries = [
    {
      Kind: 'service-router',
      Name: 'api',
      Routes: [
        {
          Match: { HTTP: { PathPrefix: '/old' } },
          Destination: { Redirect: { Path: '/new', Status: 308 } },
        },
        {
          Match: { HTTP: { Header: [{ Name: 'x-test', Exact: 'fail' }] } },
          Destination: { Fault: { Abort: { Status: 418 } } },
        },
      ],
    },
    { Kind: 'service-resolver', Name: 'api', ConnectTimeout: '2s', LoadBalancer: { Policy: 'round_robin' } },
  ];
  const written = await one.cli('apply', file('entries.json', entries), '--wait', ...flock.operator());
  assert.equal(written.code, 0, written.stderr + written.stdout);
  assert.equal((await call('/old/x')).status, 308);
  assert.equal((await call('/x', '-H', 'x-test: fail')).status, 418);
  assert.equal((await call('/x')).status, 200);
});

test('a write names the host whose agent stands still', async () => {
  const { one, three, flock } = mesh;
  three.program!.child.kill('SIGSTOP');
  try {
    const entry = { Kind: 'service-defaults', Name: 'api', Protocol: 'http', MaxInboundConnections: 1000 };
    const written = await one.cli(
      'apply',
      file('limits.json', entry),
      '--wait',
      '--timeout',
      '20s',
      ...flock.operator(),
    );
    assert.equal(written.code, 1, written.stdout);
    assert.match(written.stdout, /not in force after .* on: three \((alive|suspect|down)\)/);
  } finally {
    three.program!.child.kill('SIGCONT');
  }
  await until('it follows once it goes on', 20_000, async () => {
    const { pending, hosts } = await one.get<{ pending: string[]; hosts: { applied: boolean }[] }>(
      '/v1/mesh/convergence',
    );
    return pending.length === 0 && hosts.every(({ applied }) => applied);
  });
});
