import assert from 'node:assert/strict';
import { test } from 'node:test';
import { originCoordinate } from '../../../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame } from '../../../../src/gossip/framecodec.ts';
import type { SwimFrame } from '../../../../src/gossip/frames.ts';
import { incarnationsPerEpoch } from '../../../../src/gossip/membership/swim.ts';
import type { SwimEffect } from '../../../../src/gossip/swim-port.ts';
import { emptyRoot, type Host, reportsOf, SwimNet, statesOf } from '../swim-net.ts';

const ping = (sequence: number): SwimFrame => ({
  type: 'ping',
  sequence,
  incarnation: incarnationsPerEpoch,
  coordinate: originCoordinate,
  belief: { state: 'unknown', incarnation: 0 },
  rumors: [],
});

/** The frames of one type among effects, and the way each goes. */
function framesOf(effects: readonly SwimEffect[], type: SwimFrame['type']) {
  return effects
    .map((effect) => {
      if (effect.type === 'datagram') return { via: 'datagram', to: effect.to, bytes: effect.bytes };
      const { report } = effect;
      return report.type === 'frame' ? { via: 'stream', to: report.to, bytes: report.bytes } : null;
    })
    .filter((sent) => sent !== null)
    .map(({ via, to, bytes }) => ({ via, to, frame: decodeFrame(bytes) }))
    .filter(({ frame }) => frame.type === type);
}

const rootsOf = (host: Host, of: Host): string[] =>
  reportsOf(host, 'root')
    .filter(({ report }) => report.peer === of.id)
    .map(({ report }) => report.root);

test('hosts that answer each other are alive, and nothing is said of them but how long it took', () => {
  const net = new SwimNet(4);
  net.run(20_000);
  for (const host of net.hosts) {
    assert.deepEqual(reportsOf(host, 'member'), []);
    assert.deepEqual(reportsOf(host, 'root'), []);
    const measured = new Set(reportsOf(host, 'measured').map(({ report }) => report.id));
    assert.equal(measured.size, 3);
    assert.equal(reportsOf(host, 'measured').at(-1)?.report.roundTripMs, 2);
  }
});

test('an ack goes back the way the ping came', () => {
  const net = new SwimNet(2);
  const [a, b] = [net.host(0), net.host(1)];
  const bytes = encodeFrame(ping(7));
  const byDatagram = framesOf(net.feed(a, { type: 'datagram', from: b.id, bytes }), 'ack');
  assert.deepEqual(
    byDatagram.map(({ via, to }) => [via, to]),
    [['datagram', b.id]],
  );
  const order = { type: 'frame', from: b.id, bytes } as const;
  const byStream = framesOf(net.feed(a, { type: 'order', order }), 'ack');
  assert.deepEqual(
    byStream.map(({ via, to }) => [via, to]),
    [['stream', b.id]],
  );
  const { frame } = byStream[0]!;
  assert.ok(frame.type === 'ack' && frame.sequence === 7 && frame.root === emptyRoot);
});

test('garbage is counted, and neither it nor anti-entropy by this way does anything', () => {
  const net = new SwimNet(2);
  const [a, b] = [net.host(0), net.host(1)];
  const whole = encodeFrame(ping(1));
  const frames = [
    new Uint8Array(0),
    Uint8Array.of(255),
    whole.subarray(0, whole.length - 1),
    Uint8Array.of(...whole, 0),
    new Uint8Array(70_000),
    encodeFrame({ type: 'sync-open', session: 1, buckets: null }),
    encodeFrame({ type: 'sync-credit', session: 1 }),
  ];
  for (const bytes of frames) {
    assert.deepEqual(framesOf(net.feed(a, { type: 'datagram', from: b.id, bytes }), 'ack'), []);
    net.order(a, { type: 'frame', from: b.id, bytes });
  }
  assert.equal(a.swim.stats.badFrames, 2 * frames.length);
  net.run(5000);
  assert.equal(a.swim.membership.get(b.id)?.state, 'alive');
});

test('another’s root is told while it differs, once when it no longer does, and then no more', () => {
  const net = new SwimNet(2);
  const [a, b] = [net.host(0), net.host(1)];
  net.run(5000);
  assert.deepEqual(rootsOf(a, b), []);
  net.order(b, { type: 'root', root: '11111111' });
  net.run(5000);
  const whileDifferent = rootsOf(a, b);
  assert.ok(whileDifferent.length > 1 && whileDifferent.every((root) => root === '11111111'));
  net.order(a, { type: 'root', root: '11111111' });
  a.told.length = 0;
  net.run(5000);
  assert.deepEqual(rootsOf(a, b), ['11111111']);
});

test('stats are told at most once a second, and not when nothing happened', () => {
  const net = new SwimNet(3);
  const [a] = net.hosts;
  net.run(10_000);
  const told = reportsOf(a!, 'stats');
  assert.ok(told.length >= 8 && told.length <= 11, `${told.length}`);
  for (let i = 1; i < told.length; i++) assert.ok(told[i]!.at - told[i - 1]!.at >= 1000);
  const alone = new SwimNet(1);
  for (let i = 0; i < 20; i++) {
    alone.now += 1000;
    alone.order(alone.host(0), { type: 'root', root: emptyRoot });
  }
  assert.equal(reportsOf(alone.host(0), 'stats').length, 1);
});

test('a lost datagram is made up for by the connection, and nobody is suspected', () => {
  const net = new SwimNet(2);
  const [a, b] = [net.host(0), net.host(1)];
  let lost = 0;
  net.passes = (_from, _to, via) => via === 'stream' || lost++ % 2 === 0;
  net.run(60_000);
  assert.deepEqual(statesOf(a, b), []);
  assert.deepEqual(statesOf(b, a), []);
  assert.ok(a.swim.stats.streamAcks > 0);
});

test('a host whose datagrams are blocked both ways stays alive through its connections, and is named', () => {
  const net = new SwimNet(5);
  const blocked = net.host(4);
  net.run(2000);
  net.passes = (from, to, via) => via === 'stream' || (from !== blocked && to !== blocked);
  net.run(120_000);
  for (const host of net.hosts) {
    if (host === blocked) {
      assert.equal(host.swim.stats.withoutDatagrams.length, 4);
      for (const other of net.hosts) assert.equal(statesOf(blocked, other).includes('down'), false);
      continue;
    }
    assert.equal(statesOf(host, blocked).includes('down'), false);
    assert.deepEqual(host.swim.stats.withoutDatagrams, [blocked.id]);
    assert.deepEqual(reportsOf(host, 'stats').at(-1)?.report.stats.withoutDatagrams, [blocked.id]);
  }
  net.passes = () => true;
  net.run(30_000);
  for (const host of net.hosts) assert.deepEqual(host.swim.stats.withoutDatagrams, []);
});

test('one way blocked is enough to be named, since no answer comes back', () => {
  const net = new SwimNet(3);
  const deaf = net.host(2);
  net.passes = (_from, to, via) => via === 'stream' || to !== deaf;
  net.run(60_000);
  assert.deepEqual(net.host(0).swim.stats.withoutDatagrams, [deaf.id]);
  assert.equal(net.host(0).swim.membership.get(deaf.id)?.state, 'alive');
});

test('two hosts between which nothing gets through reach each other through helpers, and say so', () => {
  const net = new SwimNet(6);
  const [a, b] = [net.host(0), net.host(5)];
  net.run(2000);
  net.passes = (from, to) => !(from === a && to === b) && !(from === b && to === a);
  net.run(60_000);
  assert.deepEqual(a.swim.stats.throughHelpers, [b.id]);
  assert.deepEqual(b.swim.stats.throughHelpers, [a.id]);
  assert.deepEqual(reportsOf(a, 'stats').at(-1)?.report.stats.throughHelpers, [b.id]);
  for (const host of net.hosts.slice(1, 5)) assert.deepEqual(host.swim.stats.throughHelpers, []);
  for (const host of net.hosts)
    for (const other of net.hosts)
      if (other !== host) assert.equal(statesOf(host, other).includes('down'), false);
  net.passes = () => true;
  net.run(30_000);
  for (const host of net.hosts) assert.deepEqual(host.swim.stats.throughHelpers, []);
});

test('one direction closed is enough: its pings get through, and the answers do not', () => {
  const net = new SwimNet(6);
  const [a, b] = [net.host(0), net.host(5)];
  net.passes = (from, to) => !(from === b && to === a);
  net.run(60_000);
  assert.deepEqual(a.swim.stats.throughHelpers, [b.id]);
});

test('a host that is gone, refused and silent, is found down by all', () => {
  const net = new SwimNet(5);
  const gone = net.host(4);
  net.run(5000);
  gone.isRunning = false;
  for (const host of net.hosts) if (host !== gone) net.order(host, { type: 'disconnected', peer: gone.id });
  net.run(5000);
  for (const host of net.hosts)
    if (host !== gone) assert.deepEqual(statesOf(host, gone), ['suspect', 'down'], 'in that order');
});

test('who is down and back is alive again, with a raised incarnation that it is told of', () => {
  const net = new SwimNet(3);
  const back = net.host(2);
  net.run(5000);
  net.passes = (from, to) => from !== back && to !== back;
  net.run(15_000);
  assert.equal(net.host(0).swim.membership.get(back.id)?.state, 'down');
  net.passes = () => true;
  net.run(30_000);
  for (const host of net.hosts) if (host !== back) assert.equal(statesOf(host, back).at(-1), 'alive');
  const told = reportsOf(back, 'incarnation').map(({ report }) => report.incarnation);
  assert.ok(told.length >= 1 && told[0]! > incarnationsPerEpoch);
  assert.deepEqual(
    told,
    [...told].sort((left, right) => left - right),
    'never falls',
  );
});

test('a removed member is neither probed nor told of; added again, its standing is', () => {
  const net = new SwimNet(2);
  const [a, b] = [net.host(0), net.host(1)];
  net.run(5000);
  net.order(a, { type: 'remove', id: b.id });
  assert.equal(a.swim.membership.count, 0);
  const before = a.swim.stats.probesSent;
  net.run(10_000);
  assert.equal(a.swim.stats.probesSent, before);
  assert.deepEqual(statesOf(a, b), []);
  net.order(a, { type: 'add', id: b.id });
  assert.deepEqual(
    reportsOf(a, 'member').map(({ report }) => [report.member.state, report.member.incarnation]),
    [['alive', incarnationsPerEpoch]],
    'what was reported before may be on its way still, and older',
  );
});

test('who leaves by its own signed word is left, not down, and comes back above it', () => {
  const net = new SwimNet(3);
  const [a, b, leaver] = [net.host(0), net.host(1), net.host(2)];
  net.run(5000);
  const leftAt = incarnationsPerEpoch + 16;
  net.order(leaver, { type: 'leave' });
  for (const host of [a, b])
    net.order(host, { type: 'lifecycle', id: leaver.id, state: 'left', incarnation: leftAt });
  leaver.isRunning = false;
  net.run(10_000);
  assert.deepEqual(statesOf(a, leaver), ['left']);
  leaver.isRunning = true;
  net.order(leaver, { type: 'rejoin', leftAt });
  assert.equal(reportsOf(leaver, 'incarnation').at(-1)?.report.incarnation, leftAt + 1);
  net.run(10_000);
  for (const host of [a, b]) assert.deepEqual(statesOf(host, leaver), ['left', 'alive']);
});
