/** Connections by the hundred from one address: half open, of strangers, or with nothing sensible to say. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { dialAddress } from '../../../../src/gossip/io/dialer.ts';
import { peerIdOf, privateKeyFromSeed } from '../../../../src/gossip/io/identity.ts';
import { createNode } from '../../../../src/gossip/io/node.ts';
import { bytesOf, Directory, type Host, seedOf, startHost } from './helpers.ts';

interface Scene {
  readonly victim: Host;
  readonly friend: Host;
}

async function setScene(t: TestContext): Promise<Scene> {
  const directory = new Directory();
  // Its clock stands still: what a source may do does not depend on how busy this machine is.
  const victim = await startHost(directory, 1, { now: () => 0 });
  t.after(() => victim.transport.stop());
  const friend = await startHost(directory, 2);
  t.after(() => friend.transport.stop());
  return { victim, friend };
}

/** TCP connections to the victim, from one address that no honest host has. */
async function open(t: TestContext, { victim }: Scene, count: number, from: string): Promise<Socket[]> {
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: '127.0.1.1', port: victim.transport.port, localAddress: from });
    socket.on('error', () => undefined);
    sockets.push(socket);
    await new Promise<void>((done) => {
      socket.once('connect', () => done());
      socket.once('close', () => done());
    });
  }
  return sockets;
}

const limited = ({ victim }: Scene): number => victim.transport.stats().limitedConnections;

async function assertReachable({ victim, friend }: Scene): Promise<void> {
  friend.transport.send(victim.id, bytesOf('hello'));
  await victim.untilText('frame', 'hello');
}

test('half-open handshakes of one source leave room for everybody else', async (t) => {
  const scene = await setScene(t);
  const sockets = await open(t, scene, 150, '127.0.1.66');
  while (limited(scene) < 150 - 64) await setImmediate();
  assert.equal(limited(scene), 150 - 64, '64 are held, the others are closed at once');
  await assertReachable(scene);
  for (const socket of sockets) socket.destroy();
});

test('a source whose handshakes end in nothing is slowed down before they cost anything', async (t) => {
  const scene = await setScene(t);
  for (let round = 0; round < 4; round++) {
    const sockets = await open(t, scene, 50, '127.0.1.67');
    const closed = sockets.map(
      (socket) => socket.closed || new Promise<void>((done) => socket.once('close', () => done())),
    );
    for (const socket of sockets) socket.end('this is no handshake\n'.repeat(10));
    for (const socket of sockets) socket.resume();
    await Promise.all(closed);
  }
  assert.ok(limited(scene) > 50, `${limited(scene)} of 200 were limited`);
  await assertReachable(scene);
});

test('a stranger that dials again and again is refused, then not even asked who it is', async (t) => {
  const scene = await setScene(t);
  const stranger = await createNode({
    privateKey: await privateKeyFromSeed(seedOf(70)),
    bind: '127.0.1.70',
    port: 0,
    gater: {},
  });
  await stranger.start();
  t.after(() => stranger.stop());
  const { victim, friend } = scene;
  const address = dialAddress({ address: '127.0.1.1', port: victim.transport.port }, peerIdOf(victim.id));
  await assertReachable(scene);
  for (let i = 0; i < 160; i++) {
    const connection = await stranger.dial(address).catch(() => null);
    // Its own side may be done before the other says no.
    if (connection?.status === 'open') await once(connection, 'close');
  }
  const { refusedConnections, limitedConnections, connections } = victim.transport.stats();
  assert.ok(refusedConnections >= 100, `${refusedConnections} were refused`);
  assert.ok(limitedConnections > 0, 'the last were limited');
  assert.equal(connections, 1);
  assert.equal(friend.count('disconnected'), 0, 'who is connected stays so, even from the same address');
});
