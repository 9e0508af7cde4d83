/** The simulated network: streams that keep order and break as TCP does, datagrams that may vanish. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Links } from '../../sim/network/links.ts';
import { Network, type NetworkUser, networkLimits } from '../../sim/network/network.ts';
import { Pubsub } from '../../sim/network/pubsub.ts';
import { epoch, World } from '../../sim/world.ts';

class Recorder implements NetworkUser {
  readonly events: string[] = [];
  readonly times: number[] = [];
  private readonly world: World;
  constructor(world: World) {
    this.world = world;
  }
  private note(event: string): void {
    this.events.push(event);
    this.times.push(this.world.elapsedMs);
  }
  admitted = true;
  admits(): boolean {
    return this.admitted;
  }
  knowsAddressOf(): boolean {
    return true;
  }
  frame(from: number, _channel: string, bytes: Uint8Array): void {
    this.note(`frame ${from} ${new TextDecoder().decode(bytes)}`);
  }
  connected(peer: number): void {
    this.note(`connected ${peer}`);
  }
  onDisconnected: () => void = () => undefined;
  disconnected(peer: number): void {
    this.note(`disconnected ${peer}`);
    this.onDisconnected();
  }
  unreachable(peer: number): void {
    this.note(`unreachable ${peer}`);
  }
  datagram(from: number, _kind: string, bytes: Uint8Array): void {
    this.note(`datagram ${from} ${new TextDecoder().decode(bytes)}`);
  }
  /** When the first event of this kind came, milliseconds; NaN if it did not. */
  when(event: string): number {
    return this.times[this.events.indexOf(event)] ?? Number.NaN;
  }
}

function pair(seed = 1): {
  readonly world: World;
  readonly network: Network;
  readonly a: Recorder;
  readonly b: Recorder;
} {
  const world = new World(seed);
  const network = new Network(world, new Links(world.random('network')));
  const a = new Recorder(world);
  const b = new Recorder(world);
  for (const user of [a, b]) network.processStarted(network.plug(user));
  return { world, network, a, b };
}

function text(value: string | number): Uint8Array {
  return new TextEncoder().encode(String(value));
}

test('frames arrive once each and in order, whatever the loss and jitter', () => {
  const { world, network, b } = pair();
  network.links.setQuality({ lossRate: 0.2, jitterMs: 30, duplicateRate: 0.5 });
  for (let i = 0; i < 200; i++) world.after(i, () => network.send(0, 1, 'frame', text(i)));
  world.runUntil(epoch + 20_000);
  const frames = b.events.filter((event) => event.startsWith('frame'));
  assert.deepEqual(
    frames,
    Array.from({ length: 200 }, (_, i) => `frame 0 ${i}`),
  );
});

test('a dial to a host whose process is dead is refused at once, to a cut host it times out', () => {
  const { world, network, a } = pair();
  network.processDied(1);
  network.connect(0, 1);
  world.runUntil(epoch + 100);
  assert.deepEqual(a.events, ['unreachable 1']);
  network.links.isolate(1);
  network.connect(0, 1);
  world.runUntil(epoch + 100 + networkLimits.dialTimeoutMs - 1);
  assert.equal(a.events.length, 1);
  world.runUntil(epoch + 101 + networkLimits.dialTimeoutMs);
  assert.equal(a.events.length, 2);
});

test('a killed process is missed by its neighbours within about ten milliseconds', () => {
  const { world, network, a, b } = pair();
  network.connect(0, 1);
  world.runUntil(epoch + 1_000);
  network.send(1, 0, 'frame', text('last words'));
  network.processDied(1);
  world.runUntil(epoch + 1_030);
  assert.deepEqual(a.events, ['connected 1', 'frame 1 last words', 'disconnected 1']);
  assert.ok(a.when('disconnected 1') < 1_020);
  assert.deepEqual(b.events, ['connected 0']);
});

test('a host that loses power is not missed by TCP for a quarter of an hour', () => {
  const { world, network, a } = pair();
  network.connect(0, 1);
  world.runUntil(epoch + 1_000);
  network.links.isolate(1);
  network.processDied(1);
  network.send(0, 1, 'frame', text('anybody there?'));
  world.runUntil(epoch + 600_000);
  assert.deepEqual(a.events, ['connected 1']);
  world.runUntil(epoch + 1_200_000);
  assert.deepEqual(a.events.slice(1), ['unreachable 1', 'disconnected 1']);
});

test('a short cut delays frames, and loses none', () => {
  const { world, network, b } = pair();
  network.connect(0, 1);
  world.runUntil(epoch + 1_000);
  network.links.partition([[0], [1]]);
  for (let i = 0; i < 5; i++) network.send(0, 1, 'frame', text(i));
  world.runUntil(epoch + 3_000);
  assert.deepEqual(b.events, ['connected 0']);
  network.links.mendAll();
  world.runUntil(epoch + 8_000);
  assert.equal(b.events.length, 6);
});

test('a restarted process does not get what was meant for the one before', () => {
  const { world, network, a, b } = pair();
  network.connect(0, 1);
  world.runUntil(epoch + 1_000);
  network.links.isolate(1);
  network.processDied(1);
  network.send(0, 1, 'frame', text('to the dead'));
  world.runUntil(epoch + 2_000);
  network.links.rejoin(1);
  network.processStarted(1);
  world.runUntil(epoch + 20_000);
  assert.deepEqual(b.events, ['connected 0']);
  assert.equal(a.events.at(-1), 'disconnected 1');
});

test('two hosts that dial each other at once end up connected, with nothing lost', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { world, network, a, b } = pair(seed);
    network.links.setQuality({ jitterMs: 5 });
    network.send(0, 1, 'frame', text('x'));
    world.after(seed % 7, () => network.send(1, 0, 'frame', text('y')));
    world.runUntil(epoch + 1_000);
    assert.deepEqual(a.events, ['connected 1', 'frame 1 y'], `seed ${seed}`);
    assert.deepEqual(b.events, ['connected 0', 'frame 0 x'], `seed ${seed}`);
    assert.deepEqual(network.openPeers(0), [1]);
    assert.deepEqual(network.openPeers(1), [0]);
  }
});

test('a host that dials back right after a restart is heard, whoever still dials its former process', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, network, a, b } = pair(seed);
    network.links.isolate(1);
    network.processDied(1);
    network.send(0, 1, 'frame', text('are you there?'));
    world.runUntil(epoch + 100 * seed);
    network.links.rejoin(1);
    network.processStarted(1);
    network.send(1, 0, 'frame', text('back again'));
    world.runUntil(epoch + 10_000);
    network.send(0, 1, 'frame', text('welcome'));
    world.runUntil(epoch + 11_000);
    assert.ok(a.events.includes('frame 1 back again'), `seed ${seed}`);
    assert.equal(b.events.at(-1), 'frame 0 welcome', `seed ${seed}`);
  }
});

test('a connection that replaces a stale one is in place before anybody reacts to the old one', () => {
  const { world, network, a } = pair();
  network.connect(1, 0);
  world.runUntil(epoch + 100);
  network.links.isolate(1);
  network.processDied(1);
  network.links.rejoin(1);
  network.processStarted(1);
  a.onDisconnected = () => network.send(0, 1, 'frame', text('are you there?'));
  network.send(1, 0, 'frame', text('back again'));
  world.runUntil(epoch + 10_000);
  assert.deepEqual(
    a.events.filter((event) => event === 'disconnected 1'),
    ['disconnected 1'],
  );
  assert.equal(network.counters.dials, 2);
});

test('a neighbour that is let go hears of it, and so does who let it go', () => {
  const { world, network, a, b } = pair();
  network.connect(0, 1);
  world.runUntil(epoch + 1_000);
  network.disconnect(0, 1);
  world.runUntil(epoch + 2_000);
  assert.deepEqual(network.openPeers(0), []);
  assert.deepEqual(a.events, ['connected 1', 'disconnected 1']);
  assert.deepEqual(b.events, ['connected 0', 'disconnected 0']);
});

test('who is not admitted gets no connection', () => {
  const { world, network, a, b } = pair();
  b.admitted = false;
  network.send(0, 1, 'frame', text('let me in'));
  world.runUntil(epoch + 1_000);
  assert.deepEqual(a.events, ['unreachable 1']);
  assert.deepEqual(b.events, []);
});

test('connections dialled in passing are closed beyond a limit, neighbours never', () => {
  const world = new World(1);
  const limits = { ...networkLimits, casualConnectionsMax: 3 };
  const network = new Network(world, new Links(world.random('network')), limits);
  for (let host = 0; host < 8; host++) network.processStarted(network.plug(new Recorder(world)));
  network.connect(0, 1);
  world.runUntil(epoch + 100);
  for (let peer = 2; peer < 8; peer++) {
    network.send(0, peer, 'frame', text('hello'));
    world.runUntil(epoch + peer * 100);
  }
  assert.deepEqual(network.openPeers(0), [1, 5, 6, 7]);
});

test('dials beyond the places wait their turn behind hosts that do not answer', () => {
  const world = new World(1);
  const limits = { ...networkLimits, parallelDials: 2 };
  const network = new Network(world, new Links(world.random('network')), limits);
  const users = Array.from({ length: 4 }, () => new Recorder(world));
  for (const user of users) network.processStarted(network.plug(user));
  for (const dead of [1, 2]) network.links.isolate(dead);
  for (const peer of [1, 2, 3]) network.connect(0, peer);
  world.runUntil(epoch + 10_000);
  assert.deepEqual(users[0]!.events, ['unreachable 1', 'unreachable 2', 'connected 3']);
  assert.ok(users[0]!.when('connected 3') > limits.dialTimeoutMs);
});

test('a full queue drops the frame and counts it', () => {
  const { world, network } = pair();
  network.links.partition([[0], [1]]);
  const large = new Uint8Array(networkLimits.queueBytesMax / 2);
  for (let i = 0; i < 3; i++) network.send(0, 1, 'frame', large);
  world.runUntil(epoch + 1);
  assert.equal(network.counters.overflows, 1);
});

test('datagrams are lost, doubled and overtaken', () => {
  const { world, network, b } = pair();
  network.links.setQuality({ lossRate: 0.1, duplicateRate: 0.1, jitterMs: 5 });
  for (let i = 0; i < 1_000; i++) world.after(i, () => network.sendDatagram(0, 1, 'join-request', text(i)));
  world.runUntil(epoch + 5_000);
  const distinct = new Set(b.events);
  assert.ok(distinct.size > 850 && distinct.size < 950, `${distinct.size} of 1000 arrived`);
  assert.ok(b.events.length > distinct.size + 50, 'some came twice');
  const numbers = b.events.map((event) => Number(event.split(' ')[2]));
  assert.ok(
    numbers.some((value, i) => i > 0 && value < numbers[i - 1]!),
    'some were overtaken',
  );
});

function flock(
  size: number,
  seed: number,
): { world: World; network: Network; pubsub: Pubsub; got: number[][] } {
  const world = new World(seed);
  const network = new Network(world, new Links(world.random('network')));
  const got: number[][] = [];
  const pubsub = new Pubsub(world, network, (host, bytes) => {
    got[host]!.push(Number(new TextDecoder().decode(bytes)));
    return true;
  });
  for (let host = 0; host < size; host++) {
    network.plug({
      admits: () => true,
      knowsAddressOf: () => true,
      frame: (from, channel, bytes) => {
        if (channel === 'publish') pubsub.receive(host, from, bytes);
      },
      connected: (peer) => pubsub.connected(host, peer),
      disconnected: (peer) => pubsub.disconnected(host, peer),
      unreachable: () => {},
      datagram: () => {},
    });
    network.processStarted(host);
    pubsub.processStarted(host);
    got[host] = [];
  }
  for (let host = 0; host < size; host++)
    for (const step of [1, 3, 7]) network.connect(host, (host + step) % size);
  world.runUntil(epoch + 5_000);
  return { world, network, pubsub, got };
}

test('a published message reaches every member once, within a few hops', () => {
  const { world, pubsub, got } = flock(60, 4);
  for (let i = 0; i < 20; i++) pubsub.publish(i, text(i));
  world.runUntil(epoch + 5_200);
  for (const [host, messages] of got.entries())
    assert.deepEqual(
      messages.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i).filter((i) => i !== host),
    );
});

test('what the eager mesh misses, the lazy part heals', () => {
  for (const lazy of [true, false]) {
    const { world, network, pubsub, got } = flock(12, 6);
    pubsub.lazy = lazy;
    // Host 0 can hear nobody while the message passes through the mesh.
    for (let peer = 1; peer < 12; peer++) {
      pubsub.disconnected(0, peer);
      pubsub.disconnected(peer, 0);
    }
    pubsub.publish(3, text(42));
    world.runUntil(epoch + 5_000 + 10);
    const missedAtFirst = got[0]!.length === 0;
    world.runUntil(epoch + 5_000 + 4_000);
    if (missedAtFirst) assert.equal(got[0]!.length, lazy ? 1 : 0);
    assert.ok(missedAtFirst, 'host 0 was outside the mesh');
    assert.ok(network.openPeers(0).length > 0);
  }
});

test('what a member outside the mesh publishes reaches the others at once all the same', () => {
  const { world, pubsub, got } = flock(12, 6);
  for (let peer = 1; peer < 12; peer++) {
    pubsub.disconnected(0, peer);
    pubsub.disconnected(peer, 0);
  }
  pubsub.publish(0, text(7));
  world.runUntil(epoch + 5_040);
  for (let host = 1; host < 12; host++) assert.deepEqual(got[host], [7], `host ${host}`);
});

test('what its host refuses is passed on by no member', () => {
  const world = new World(9);
  const network = new Network(world, new Links(world.random('network')));
  const reached: number[] = [];
  const pubsub = new Pubsub(world, network, (host) => {
    reached.push(host);
    return false;
  });
  for (let host = 0; host < 3; host++) {
    network.plug({
      admits: () => true,
      knowsAddressOf: () => true,
      frame: (from, _channel, bytes) => pubsub.receive(host, from, bytes),
      connected: (peer) => pubsub.connected(host, peer),
      disconnected: (peer) => pubsub.disconnected(host, peer),
      unreachable: () => undefined,
      datagram: () => undefined,
    });
    network.processStarted(host);
    pubsub.processStarted(host);
  }
  network.connect(0, 1);
  network.connect(1, 2);
  world.runUntil(epoch + 1_000);
  pubsub.publish(0, text('bad'));
  world.runUntil(epoch + 10_000);
  assert.deepEqual(reached, [1]);
  assert.equal(pubsub.counters.withheld, 1);
});
