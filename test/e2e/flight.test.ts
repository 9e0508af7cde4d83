/** Requests through the whole mesh: every way in, denial, and the moment an intention lets a caller through. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { command, until } from '../../demo/flock.ts';
import {
  apiPort,
  curl,
  metric,
  register,
  registerWeb,
  startMesh,
  startService,
  type TestMesh,
  tcpExchange,
  upstreamPort,
} from './mesh.ts';
import { startEcho } from './tcp-service.ts';

let mesh: TestMesh;
before(async () => {
  mesh = await startMesh();
});
after(() => mesh.flock.stop());

test('a service without an intention is refused with 403 and counted, and passes soon after one is made on a third host', async (t) => {
  const upstream = `http://${mesh.one.address}:${upstreamPort}/`;
  const refused = await curl(upstream);
  assert.equal(refused.status, 403, refused.body || refused.stderr);
  assert.match(refused.body, /denied/);
  await until('the refusal is counted where it was refused', 10_000, async () => {
    const counts = await Promise.all(
      [mesh.two, mesh.three].map((bird) =>
        metric(bird, 'starling_proxy_refused_total', 'source="web"', 'destination="api"', 'reason="denied"'),
      ),
    );
    return counts[0]! + counts[1]! > 0;
  });
  const created = await mesh.three.cli(
    'intention',
    'create',
    'web',
    'api',
    '--allow',
    ...mesh.flock.operator(),
  );
  assert.equal(created.code, 0, created.stderr);
  const passedMs = await until('web reaches api', 10_000, async () => (await curl(upstream)).status === 200);
  t.diagnostic(`${passedMs.toFixed(0)} ms after the answer`);
  const check = await mesh.two.cli('intention', 'check', 'web', 'api');
  assert.equal(check.code, 0, check.stdout);
});

test('an explicit upstream port reaches both instances on the other hosts, and each sees the proven caller', async () => {
  const seen = new Set<string>();
  for (let i = 0; i < 40 && seen.size < 2; i++) {
    const answer = await curl(`http://${mesh.one.address}:${upstreamPort}/`);
    assert.equal(answer.status, 200, answer.body);
    const body = JSON.parse(answer.body) as { address: string; caller: string };
    assert.match(body.caller, /^URI=spiffe:\/\/[^/]+\/ns\/default\/dc\/dc1\/svc\/web$/);
    seen.add(body.address);
  }
  assert.deepEqual([...seen].sort(), [`${mesh.two.address}:${apiPort}`, `${mesh.three.address}:${apiPort}`]);
});

test('the outbound port picks the service by Host', async () => {
  for (const host of ['api.mesh', 'api.service.mesh', `api.mesh:${apiPort}`]) {
    const answer = await curl('-H', `Host: ${host}`, `http://${mesh.one.address}:${mesh.one.outboundPort}/`);
    assert.equal(answer.status, 200, `${host}: ${answer.body}`);
  }
  const unknown = await curl(
    '-H',
    'Host: nobody.mesh',
    `http://${mesh.one.address}:${mesh.one.outboundPort}/`,
  );
  assert.equal(unknown.status, 404, unknown.body);
});

test('the name api.mesh resolves to a loopback address of the host, where the service port answers', async () => {
  const dig = await command('dig', [
    '+short',
    `@${mesh.one.address}`,
    '-p',
    String(mesh.one.dnsPort),
    'api.mesh',
    'A',
  ]);
  const address = dig.stdout.trim();
  assert.match(address, /^127\.65\.\d+\.\d+$/, dig.stderr);
  const answer = await curl(
    '--connect-to',
    `api.mesh:${apiPort}:${address}:${apiPort}`,
    `http://api.mesh:${apiPort}/`,
  );
  assert.equal(answer.status, 200, answer.body || answer.stderr);
});

test('SRV and A answers name the instances that pass', async () => {
  const server = [`@${mesh.one.address}`, '-p', String(mesh.one.dnsPort)];
  const srv = await command('dig', ['+short', ...server, 'api.service.mesh', 'SRV']);
  const targets = srv.stdout.trim().split('\n').sort();
  assert.equal(targets.length, 2, srv.stdout);
  for (const line of targets) assert.match(line, new RegExp(`^1 \\d+ ${apiPort} .+\\.mesh\\.$`));
  const loopback = await command('dig', ['+short', ...server, 'api.service.mesh', 'A']);
  assert.match(loopback.stdout.trim(), /^127\.65\.\d+\.\d+$/);
  const a = await command('dig', ['+short', ...server, 'api.service.dc1.mesh', 'A']);
  assert.deepEqual(a.stdout.trim().split('\n').sort(), [mesh.two.address, mesh.three.address]);
});

test('a TCP service is reset without an intention and relayed with one', async () => {
  const echo = await startEcho(mesh.three.address);
  try {
    await register(mesh.flock, mesh.three, { name: 'echo', address: mesh.three.address, port: echo.port });
    await registerWeb(mesh.flock, mesh.one, 'api', 'echo');
    const ask = () => tcpExchange(mesh.one.address, upstreamPort + 1, 'PING not http\r\n');
    await until(
      'the connection is accepted and reset',
      10_000,
      async () => (await ask()).end === 'ECONNRESET',
    );
    await mesh.two.json('intention', 'create', 'web', 'echo', '--allow', ...mesh.flock.operator());
    await until('the bytes come back', 10_000, async () => (await ask()).received === 'PING not http\r\n');
    await until('the reset was counted', 10_000, async () => {
      return (
        (await metric(mesh.three, 'starling_proxy_refused_total', 'destination="echo"', 'reason="denied"')) >
        0
      );
    });
  } finally {
    await echo.stop();
  }
});

test('a failing instance leaves every balancer and comes back when it is well', async () => {
  const [two, three] = [mesh.two, mesh.three].map(({ address }) => `${address}:${apiPort}`) as [
    string,
    string,
  ];
  await mesh.apps.api3.stop('SIGKILL');
  await until('host one sees one instance', 10_000, async () => {
    const entries = await mesh.one.get<{ Service: { Address: string } }[]>('/v1/health/service/api?passing');
    return entries.length === 1 && entries[0]!.Service.Address === mesh.two.address;
  });
  // The proxy follows what the API says already.
  await until('only the other is called', 10_000, async () => (await answeredBy(20)).join() === two);
  await startService(mesh.flock, 'api', three);
  await until('both are called again', 40_000, async () => (await answeredBy(20)).length === 2);
});

/** Which instances answer so many calls, none of which may fail. */
async function answeredBy(calls: number): Promise<readonly string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < calls; i++) {
    const answer = await curl(`http://${mesh.one.address}:${upstreamPort}/`);
    assert.equal(answer.status, 200, answer.body);
    seen.add((JSON.parse(answer.body) as { address: string }).address);
  }
  return [...seen];
}
