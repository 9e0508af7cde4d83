import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Fault } from '../../../../src/core.ts';
import { dialAddress } from '../../../../src/gossip/io/dialer.ts';
import { maxFrameBytes } from '../../../../src/gossip/io/frames.ts';
import { hostIdOf, peerIdOf, privateKeyFromSeed } from '../../../../src/gossip/io/identity.ts';
import { requestJoin } from '../../../../src/gossip/io/join.ts';
import { frameProtocol, maxQueuedFrames } from '../../../../src/gossip/io/links.ts';
import { createNode } from '../../../../src/gossip/io/node.ts';
import type { TransportOptions } from '../../../../src/gossip/io/transport.ts';
import { bytesOf, Directory, type Host, idOf, seedOf, startHost, textOf } from './helpers.ts';

/** Starts hosts that admit one another, and stops them after the test. */
async function startHosts(
  t: TestContext,
  count: number,
  overrides: Partial<TransportOptions> = {},
): Promise<{ directory: Directory; hosts: Host[] }> {
  const directory = new Directory();
  const hosts: Host[] = [];
  t.after(() => Promise.all(hosts.map((host) => host.transport.stop())));
  for (let number = 1; number <= count; number++) hosts.push(await startHost(directory, number, overrides));
  return { directory, hosts };
}

test('a host id and a peer id name the same key', () => {
  const id = idOf(1);
  assert.equal(hostIdOf(peerIdOf(id)), id);
});

test('an address of either family becomes a dialable one', () => {
  const peer = peerIdOf(idOf(1));
  const address = (text: string): string => dialAddress({ address: text, port: 7946 }, peer).toString();
  assert.equal(address('10.0.0.1'), `/ip4/10.0.0.1/tcp/7946/p2p/${peer}`);
  assert.equal(address('fd00::1'), `/ip6/fd00::1/tcp/7946/p2p/${peer}`);
});

test('frames arrive in order, both ways, over one connection that the first frame opened', async (t) => {
  const { hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  assert.equal(a.id, idOf(1));
  for (let i = 0; i < 50; i++) a.transport.send(b.id, bytesOf(`to b ${i}`));
  await b.untilText('frame', 'to b 49');
  b.transport.send(a.id, bytesOf('to a'));
  await a.untilText('frame', 'to a');
  assert.deepEqual(
    b.seen.filter((seen) => seen.type === 'frame'),
    Array.from({ length: 50 }, (_, i) => ({ type: 'frame', from: a.id, text: `to b ${i}` })),
  );
  assert.equal(a.count('connected') + a.count('disconnected') + a.count('unreachable'), 1);
  assert.equal(b.count('connected'), 1);
  assert.equal(a.transport.connections(), 1);
});

test('frames of the largest size pass through full buffers, and larger ones are dropped', async (t) => {
  const { hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  const body = new Uint8Array(maxFrameBytes).fill(97);
  a.transport.send(b.id, new Uint8Array(maxFrameBytes + 1));
  for (let i = 0; i < 6; i++) a.transport.send(b.id, body);
  a.transport.send(b.id, bytesOf('last'));
  await b.untilText('frame', 'last');
  assert.equal(b.transport.stats().frames.bytesReceived, 6 * maxFrameBytes + 4);
  assert.equal(a.transport.stats().frames.framesDropped, 1);
});

test('a peer that is down, unknown or silent is reported as unreachable', async (t) => {
  const { directory, hosts } = await startHosts(t, 1);
  const [a] = hosts as [Host];
  const silent = createServer().listen(0, '127.0.1.9');
  t.after(() => silent.close());
  await once(silent, 'listening');
  const address = silent.address();
  assert.ok(typeof address === 'object' && address !== null);
  const [down, unknown, mute] = [idOf(7), idOf(8), idOf(9)];
  for (const id of [down, unknown, mute]) directory.admitted.add(id);
  directory.addresses.set(down, { address: '127.0.1.7', port: 1 });
  directory.addresses.set(mute, { address: '127.0.1.9', port: address.port });
  for (const id of [down, unknown, mute]) a.transport.send(id, bytesOf('hello?'));
  for (const id of [down, unknown, mute])
    await a.until((seen) => seen.type === 'unreachable' && seen.peer === id);
  assert.equal(a.transport.stats().frames.framesUndelivered, 3);
  a.transport.connect(down);
  await a.until(() => a.count('unreachable') === 4);
});

test('what waits for one peer is bounded', async (t) => {
  const { hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  for (let i = 0; i < maxQueuedFrames + 10; i++) a.transport.send(b.id, bytesOf(String(i)));
  assert.equal(a.transport.stats().frames.framesDropped, 10);
  await b.untilText('frame', String(maxQueuedFrames - 1));
  assert.equal(b.count('frame'), maxQueuedFrames);
});

test('a peer that one side does not admit is refused by that side', async (t) => {
  const { directory, hosts } = await startHosts(t, 1);
  const [a] = hosts as [Host];
  const stranger = await startHost(new Directory(), 3, {
    admitted: () => true,
    addressOf: (id) => directory.addresses.get(id) ?? null,
  });
  t.after(() => stranger.transport.stop());
  stranger.transport.send(a.id, bytesOf('let me in'));
  await stranger.until((seen) => seen.type === 'unreachable' && seen.peer === a.id);
  directory.addresses.set(stranger.id, { address: '127.0.1.3', port: stranger.transport.port });
  a.transport.send(stranger.id, bytesOf('come here'));
  await a.until((seen) => seen.type === 'unreachable' && seen.peer === stranger.id);
  assert.equal(a.count('frame') + a.count('connected'), 0);
  assert.ok(a.transport.stats().refusedConnections >= 2);
});

test('a peer that is no longer admitted is cut off, and let in again when it is', async (t) => {
  const { directory, hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  a.transport.send(b.id, bytesOf('first'));
  await b.untilText('frame', 'first');
  directory.admitted.delete(a.id);
  b.transport.dropUnadmitted();
  await a.until((seen) => seen.type === 'disconnected' && seen.peer === b.id);
  await b.until((seen) => seen.type === 'disconnected' && seen.peer === a.id);
  a.transport.send(b.id, bytesOf('second'));
  await a.until((seen) => seen.type === 'unreachable' && seen.peer === b.id);
  directory.admitted.add(a.id);
  a.transport.send(b.id, bytesOf('third'));
  await b.untilText('frame', 'third');
  assert.ok(!b.seen.some((seen) => seen.type === 'frame' && seen.text === 'second'));
});

test('frames of a peer whose admission ended are dropped even before its connection is', async (t) => {
  const { directory, hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  a.transport.send(b.id, bytesOf('first'));
  await b.untilText('frame', 'first');
  directory.admitted.delete(a.id);
  a.transport.send(b.id, bytesOf('second'));
  b.transport.send(a.id, bytesOf('marker'));
  await a.untilText('frame', 'marker');
  while (b.transport.stats().frames.streamsRefused === 0) await setImmediate();
  assert.equal(b.count('frame'), 1);
});

test('a neighbour stays connected until it is let go', async (t) => {
  const { hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  a.transport.connect(b.id);
  await a.untilConnected(b);
  await b.untilConnected(a);
  assert.equal(a.transport.stats().neighbours, 1);
  a.transport.disconnect(b.id);
  await a.until((seen) => seen.type === 'disconnected' && seen.peer === b.id);
  await b.until((seen) => seen.type === 'disconnected' && seen.peer === a.id);
  assert.equal(a.transport.connections(), 0);
});

test('a peer that stops is seen to go, and reached again after its restart', async (t) => {
  const { directory, hosts } = await startHosts(t, 2);
  const [a, b] = hosts as [Host, Host];
  a.transport.send(b.id, bytesOf('before'));
  await b.untilText('frame', 'before');
  await b.transport.stop();
  await a.until((seen) => seen.type === 'disconnected' && seen.peer === b.id);
  const again = await startHost(directory, 2);
  hosts.push(again);
  a.transport.send(again.id, bytesOf('after'));
  await again.untilText('frame', 'after');
  assert.equal(a.count('unreachable'), 0);
});

test('casual connections beyond their limit are closed, least recently used first, neighbours never', async (t) => {
  const { hosts } = await startHosts(t, 5, { maxCasualConnections: 2 });
  const [a, b, c, d, e] = hosts as [Host, Host, Host, Host, Host];
  a.transport.connect(b.id);
  await b.untilConnected(a);
  for (const peer of [c, d, e]) {
    a.transport.send(peer.id, bytesOf('hello'));
    await peer.untilText('frame', 'hello');
  }
  await c.until((seen) => seen.type === 'disconnected' && seen.peer === a.id);
  assert.equal(a.count('disconnected'), 1);
  assert.equal(a.transport.connections(), 3);
});

test('a peer that breaks the framing loses its stream, not its connection', async (t) => {
  const { directory, hosts } = await startHosts(t, 1);
  const [a] = hosts as [Host];
  const rude = await createNode({
    privateKey: privateKeyFromSeed(seedOf(4)),
    bind: '127.0.1.4',
    port: 0,
    gater: {},
  });
  await rude.start();
  t.after(() => rude.stop());
  directory.admitted.add(idOf(4));
  const connection = await rude.dial(
    dialAddress({ address: '127.0.1.1', port: a.transport.port }, peerIdOf(a.id)),
  );
  const stream = await connection.newStream(frameProtocol);
  stream.send(Buffer.from('ffffffff00', 'hex'));
  await once(stream, 'close');
  assert.equal(a.transport.stats().frames.streamsRefused, 1);
  assert.equal(a.count('frame'), 0);
  assert.equal(a.transport.connections(), 1);
});

test('a taken port is a fault that names it, for TCP as for UDP', async (t) => {
  const { hosts } = await startHosts(t, 1);
  const [a] = hosts as [Host];
  const inUse = (port: number) => (error: unknown) =>
    error instanceof Fault && error.code === 'address-in-use' && error.message.includes(`127.0.1.1:${port}`);
  await assert.rejects(
    startHost(new Directory(), 2, { bind: '127.0.1.1', port: a.transport.port }),
    inUse(a.transport.port),
  );
  const taken = createServer().listen(0, '127.0.1.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const address = taken.address();
  assert.ok(typeof address === 'object' && address !== null);
  await assert.rejects(
    startHost(new Directory(), 2, { bind: '127.0.1.1', port: address.port }),
    inUse(address.port),
  );
});

test('join requests arrive on the same port', async (t) => {
  const directory = new Directory();
  const a = await startHost(directory, 1, {
    handlers: {
      report: () => undefined,
      frame: () => undefined,
      delta: () => 'accept',
      connected: () => undefined,
      disconnected: () => undefined,
      unreachable: () => undefined,
      joinRequest: (payload, reply) => void reply(bytesOf(`hello ${textOf(payload)}`)),
      introduction: () => undefined,
    },
  });
  t.after(() => a.transport.stop());
  const reply = await requestJoin({
    address: '127.0.1.1',
    port: a.transport.port,
    payload: bytesOf('stranger'),
    timeoutMs: 1000,
    attempts: 3,
  });
  assert.equal(textOf(reply), 'hello stranger');
});
