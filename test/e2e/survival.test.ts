/** Losing hosts: under load, all but one, and all of them for a while. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { command, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import {
  apiPort,
  curl,
  passing,
  register,
  registerWeb,
  startMesh,
  startService,
  type TestMesh,
  upstreamPort,
} from './mesh.ts';

let mesh: TestMesh;
before(async () => {
  mesh = await startMesh();
  await mesh.one.json('intention', 'create', 'web', 'api', '--allow', ...mesh.flock.operator());
  await mesh.one.json('intention', 'create', 'web', 'local', '--allow', ...mesh.flock.operator());
  await until(
    'web reaches api',
    20_000,
    async () => (await curl(`http://${mesh.one.address}:${upstreamPort}/`)).status === 200,
  );
});
after(() => mesh.flock.stop());

test('SIGKILL of one of two api hosts under load fails no request, and every agent drops it', async (t) => {
  const load = new Load(`http://${mesh.one.address}:${upstreamPort}/`, 8, 3);
  await until('load has begun', 20_000, async () => load.count > 200);
  const killedAt = load.elapsedMs;
  mesh.two.program!.child.kill('SIGKILL');
  mesh.apps.api2.child.kill('SIGKILL');
  await until('one and three dropped it', 15_000, async () => {
    return (await passing(mesh.one, 'api')) === 1 && (await passing(mesh.three, 'api')) === 1;
  });
  const dropped = load.elapsedMs - killedAt;
  const report = await load.stop();
  t.diagnostic(
    `dropped by all after ${dropped.toFixed(0)} ms; ${report.sent} requests, ${report.failed} failed ${JSON.stringify(report.reasons)}`,
  );
  // A request whose bytes had reached the dying application may not be repeated safely unless it is a GET;
  // these are all GETs without a body, so every one of them can be.
  assert.equal(report.failed, 0, JSON.stringify(report));
});

test('the last agent alive still answers API and DNS and routes to its own services', async () => {
  await startService(mesh.flock, 'local', `${mesh.one.address}:9005`);
  await register(mesh.flock, mesh.one, { name: 'local', address: mesh.one.address, port: 9005 });
  mesh.three.program!.child.kill('SIGKILL');
  await until('one knows that it is alone', 20_000, async () => {
    const members = await mesh.one.json<{ state: string }[]>('members');
    return members.filter(({ state }) => state === 'alive').length === 1;
  });
  // Two services on this host and no `user` in either: the caller cannot be told by the outbound port.
  await until('the outbound port knows the name, and refuses', 10_000, async () => {
    const { status } = await curl(
      ...['-H', 'Host: local.mesh', `http://${mesh.one.address}:${mesh.one.outboundPort}/`],
    );
    return status === 403;
  });
  await registerWeb(mesh.flock, mesh.one, 'api', 'local');
  await until('web reaches local', 20_000, async () => {
    return (await curl(`http://${mesh.one.address}:${upstreamPort + 1}/`)).status === 200;
  });
  const dig = await command('dig', [
    '+short',
    `@${mesh.one.address}`,
    '-p',
    '8600',
    'local.service.dc1.mesh',
    'A',
  ]);
  assert.equal(dig.stdout.trim(), mesh.one.address);
  assert.equal((await mesh.one.cli('services')).code, 0);
});

test('after all agents were killed and restarted, everything is back without registering again', async () => {
  mesh.one.program!.child.kill('SIGKILL');
  await mesh.one.program!.exited;
  await startService(mesh.flock, 'api', `${mesh.two.address}:${apiPort}`);
  await Promise.all([mesh.one, mesh.two, mesh.three].map((bird) => bird.start()));
  await until('all three see each other and both api pass', 20_000, async () => {
    for (const bird of [mesh.one, mesh.two, mesh.three]) {
      const members = await bird.json<{ state: string }[]>('members');
      if (members.filter(({ state }) => state === 'alive').length !== 3) return false;
      if ((await passing(bird, 'api')) !== 2) return false;
    }
    return true;
  });
  await until(
    'web reaches api',
    10_000,
    async () => (await curl(`http://${mesh.one.address}:${upstreamPort}/`)).status === 200,
  );
  const services = await mesh.one.get<object>('/v1/agent/services');
  assert.deepEqual(Object.keys(services).sort(), ['local', 'web']);
});

test('SIGTERM leaves within ten seconds with exit 0, and the others say it left', async () => {
  const began = performance.now();
  const code = await mesh.three.program!.stop('SIGTERM');
  assert.equal(code, 0, mesh.three.program!.stderr);
  assert.ok(performance.now() - began < 10_000);
  await until('one says that three left', 10_000, async () => {
    const members = await mesh.one.json<{ name: string; state: string }[]>('members');
    return members.some(({ name, state }) => name === 'three' && state === 'left');
  });
});
