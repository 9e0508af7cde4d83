/** Peers that are denied: refused at the handshake and cut while open, in either direction, and nobody else. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { DeniedPeers } from '../../../../src/proxy/config.ts';
import type { DataPlane } from '../../../../src/proxy/dataplane.ts';
import {
  cluster,
  identityOf,
  startHttpApp,
  startMesh,
  startTcpApp,
  type TestMesh,
} from '../../../support/mesh.ts';

const nobody: DeniedPeers = { hosts: [], serials: [] };
const serialOf = (service: string): string =>
  new X509Certificate(identityOf(service).certPem).serialNumber.toLowerCase();

/** The host that `web` runs on is called `web`, that of `api` is called `api`. */
async function tcpMesh(t: TestContext): Promise<TestMesh> {
  const app = await startTcpApp(t, (socket) => socket.pipe(socket));
  return startMesh(t, [app], { inbound: { protocol: 'tcp' }, cluster: { protocol: 'tcp' } });
}

const denyAtCallee = (mesh: TestMesh, denied: DeniedPeers) =>
  mesh.callee.apply({ ...mesh.calleeConfig, denied });
const denyAtCaller = (mesh: TestMesh, denied: DeniedPeers) =>
  mesh.caller.apply({ ...mesh.callerConfig, denied });
const counts = (plane: DataPlane): string[] =>
  plane
    .stats()
    .deniedPeers.map(({ direction, stage, reason, count }) => `${direction} ${stage} ${reason} ${count}`);

/** A byte stream through the mesh that has carried something. */
async function openStream(
  t: TestContext,
  mesh: TestMesh,
): Promise<{ socket: Socket; closed: Promise<void> }> {
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  const closed = new Promise<void>((done) => socket.once('close', () => done()));
  socket.write('hello');
  assert.equal(String((await once(socket, 'data'))[0]), 'hello');
  return { socket, closed };
}

async function isEchoed({ socket }: { socket: Socket }): Promise<boolean> {
  socket.write('again');
  return String((await once(socket, 'data'))[0]) === 'again';
}

for (const [what, denied] of [
  ['host', { hosts: ['web'], serials: [] }],
  ['certificate', { hosts: [], serials: [serialOf('web')] }],
] as const) {
  const reason = what === 'host' ? 'host-denied' : 'serial-denied';

  test(`a caller whose ${what} is denied is cut at once, and refused from then on`, async (t) => {
    const mesh = await tcpMesh(t);
    const stream = await openStream(t, mesh);
    await denyAtCallee(mesh, denied);
    await stream.closed;
    assert.equal(mesh.callee.stats().activeConnections, 0);
    assert.deepEqual(counts(mesh.callee), [`inbound open ${reason} 1`]);
    const again = connect(mesh.port, '127.0.0.1')
      .on('error', () => {})
      .resume();
    again.write('hello');
    await new Promise((done) => again.once('close', done));
    assert.ok(counts(mesh.callee).some((count) => count.startsWith(`inbound handshake ${reason} `)));
  });
}

test('a server that is denied is cut at once, and no connection with it is had any more', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  const answer = async () => (await fetch(`http://127.0.0.1:${mesh.port}/`)).status;
  assert.equal(await answer(), 200);
  await denyAtCaller(mesh, { hosts: ['api'], serials: [] });
  assert.deepEqual(counts(mesh.caller), ['outbound open host-denied 1']);
  assert.equal(await answer(), 503);
  assert.match(counts(mesh.caller).join(), /outbound handshake host-denied/);
  // A denial of other peers cuts nobody.
  await denyAtCaller(mesh, nobody);
  assert.equal(await answer(), 200);
});

test('streams to a denied server are cut although its endpoint is gone and they were only to finish', async (t) => {
  const mesh = await tcpMesh(t);
  const stream = await openStream(t, mesh);
  const gone = { ...mesh.callerConfig, clusters: [cluster('api', [], { protocol: 'tcp' })] };
  await mesh.caller.apply(gone);
  assert.ok(await isEchoed(stream), 'what is under way finishes');
  await mesh.caller.apply({ ...gone, denied: { hosts: ['api'], serials: [] } });
  await stream.closed;
  assert.deepEqual(counts(mesh.caller), ['outbound open host-denied 1']);
});

test('the denial of one peer harms no other', async (t) => {
  const mesh = await tcpMesh(t);
  const stream = await openStream(t, mesh);
  const others: DeniedPeers = { hosts: ['other'], serials: ['0123'] };
  await denyAtCallee(mesh, others);
  await denyAtCaller(mesh, others);
  assert.ok(await isEchoed(stream));
  assert.deepEqual([...counts(mesh.callee), ...counts(mesh.caller)], []);
});
