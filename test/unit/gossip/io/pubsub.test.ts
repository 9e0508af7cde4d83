import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { bytesOf, Directory, type Host, type HostOverrides, startHost } from './helpers.ts';

/** Hosts in a row, each connected to the one before, stopped after the test. */
async function startRow(t: TestContext, count: number, overrides: HostOverrides = {}): Promise<Host[]> {
  const directory = new Directory();
  const hosts: Host[] = [];
  t.after(() => Promise.all(hosts.map((host) => host.transport.stop())));
  for (let number = 1; number <= count; number++) {
    hosts.push(await startHost(directory, number, overrides));
    if (number === 1) continue;
    hosts[number - 1]!.transport.connect(hosts[number - 2]!.id);
    await hosts[number - 2]!.untilConnected(hosts[number - 1]!);
  }
  return hosts;
}

const others = (hosts: readonly Host[], host: Host): Host[] => hosts.filter((other) => other !== host);

/** Resolves once every host of a row is in the mesh of its neighbours. */
async function untilMeshed(hosts: readonly Host[]): Promise<void> {
  for (const [i, host] of hosts.entries()) {
    const neighbours = i === 0 || i === hosts.length - 1 ? 1 : 2;
    while (host.transport.stats().meshPeers < neighbours) await setImmediate();
  }
}

for (const count of [2, 3])
  test(`among ${count} hosts a delta reaches every other, and its author never`, async (t) => {
    const hosts = await startRow(t, count);
    await untilMeshed(hosts);
    for (let i = 0; i < 15; i++) {
      const host = hosts[i % count]!;
      host.transport.publish(bytesOf(`delta ${i}`));
      for (const other of others(hosts, host)) await other.untilText('delta', `delta ${i}`);
      assert.ok(!host.seen.some((seen) => seen.type === 'delta' && seen.text === `delta ${i}`));
    }
  });

test('the same delta is delivered once, however often it is published', async (t) => {
  const hosts = await startRow(t, 2);
  const [a, b] = hosts as [Host, Host];
  await untilMeshed(hosts);
  for (let i = 0; i < 5; i++) a.transport.publish(bytesOf('same'));
  a.transport.publish(bytesOf('other'));
  await b.untilText('delta', 'other');
  assert.equal(b.seen.filter((seen) => seen.type === 'delta' && seen.text === 'same').length, 1);
});

test('deltas published before anyone listens are held and delivered to the first peer, in order', async (t) => {
  const directory = new Directory();
  const a = await startHost(directory, 1);
  t.after(() => a.transport.stop());
  for (let i = 0; i < 20; i++) a.transport.publish(bytesOf(`early ${i}`));
  assert.equal(a.transport.stats().deltas.held, 20);
  const b = await startHost(directory, 2);
  t.after(() => b.transport.stop());
  b.transport.connect(a.id);
  await b.untilText('delta', 'early 19');
  assert.equal(b.count('delta'), 20);
  assert.equal(a.transport.stats().deltas.published, 20);
});

test('what is held is bounded: the oldest goes first and is counted', async (t) => {
  const directory = new Directory();
  const a = await startHost(directory, 1);
  t.after(() => a.transport.stop());
  for (let i = 0; i < 300; i++) a.transport.publish(bytesOf(`early ${i}`));
  a.transport.publish(new Uint8Array(256 * 1024 + 1));
  assert.equal(a.transport.stats().deltas.dropped, 45);
  const b = await startHost(directory, 2);
  t.after(() => b.transport.stop());
  b.transport.connect(a.id);
  await b.untilText('delta', 'early 299');
  assert.equal(b.count('delta'), 256);
  assert.ok(!b.seen.some((seen) => seen.type === 'delta' && seen.text === 'early 43'));
});

test('a delta that is rejected or ignored is neither taken in nor relayed', async (t) => {
  const hosts = await startRow(t, 3, {
    verdictOn: (text) => {
      return text.startsWith('bad') ? 'reject' : text.startsWith('odd') ? 'ignore' : 'accept';
    },
  });
  const [a, b, c] = hosts as [Host, Host, Host];
  await untilMeshed(hosts);
  a.transport.publish(bytesOf('bad'));
  a.transport.publish(bytesOf('odd'));
  a.transport.publish(bytesOf('good'));
  await c.untilText('delta', 'good');
  for (const host of [b, c])
    assert.ok(!host.seen.some((seen) => seen.type === 'delta' && /bad|odd/.test(seen.text)));
  assert.equal(b.transport.stats().deltas.rejected, 1);
  assert.equal(b.transport.stats().deltas.ignored, 1);
  assert.equal(c.transport.stats().deltas.rejected + c.transport.stats().deltas.ignored, 0);
});

test('a peer that keeps sending rejected deltas is no longer listened to', async (t) => {
  const hosts = await startRow(t, 2, {
    verdictOn: (text) => (text.startsWith('bad') ? 'reject' : 'accept'),
  });
  const [a, b] = hosts as [Host, Host];
  await untilMeshed(hosts);
  const rejected = (): number => b.transport.stats().deltas.rejected;
  // gossipsub caches a peer's score for a heartbeat, so it takes that long to act on it.
  let unheard = 0;
  for (let i = 0; unheard < 50; i++) {
    assert.ok(i < 5000, 'the peer was listened to all the time');
    const before = rejected();
    a.transport.publish(bytesOf(`bad ${i}`));
    a.transport.send(b.id, bytesOf(`frame ${i}`));
    await b.untilText('frame', `frame ${i}`);
    await setImmediate();
    unheard = rejected() === before ? unheard + 1 : 0;
  }
  assert.ok(rejected() > 3);
});
