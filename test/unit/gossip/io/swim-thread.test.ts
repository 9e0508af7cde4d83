import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { requestJoin } from '../../../../src/gossip/io/join.ts';
import { SwimThread } from '../../../../src/gossip/io/swim-thread.ts';
import { Sealing, sealedVersion } from '../../../../src/gossip/membership/sealing.ts';
import { bytesOf, idOf, seedOf, textOf } from './helpers.ts';
import { addressOf, BareThread, dataOf, ThreadHost, until } from './swim-threads.ts';

const limited = { timeout: 30_000 };
const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

async function openSocket(t: TestContext, address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind({ address, port: 0 });
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket;
}

test('two threads that know each other’s address know each other alive', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 60), ThreadHost.start(t, 61)]);
  a.meet(b);
  b.meet(a);
  await Promise.all([a.untilMeasured(b), b.untilMeasured(a)]);
  await until(() => a.thread.counters.received > 0 && b.thread.counters.received > 0);
  for (const { thread } of [a, b]) {
    const { sent, bytesSent, forged, malformed, replayed } = thread.counters;
    assert.ok(sent > 0 && bytesSent > sent * 30);
    assert.deepEqual({ forged, malformed, replayed }, { forged: 0, malformed: 0, replayed: 0 });
  }
});

test('when one stops, the other reports it suspect, then down', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 62), ThreadHost.start(t, 63)]);
  a.meet(b);
  b.meet(a);
  await a.untilMeasured(b);
  await b.thread.stop();
  const silent = b.reports.length;
  await until(() => a.statesOf(b.id).includes('down'));
  const states = a.statesOf(b.id);
  assert.deepEqual(states.slice(-2), ['suspect', 'down']);
  assert.equal(b.reports.length, silent, 'a stopped thread calls no handler');
});

test('a member that was removed and added again is heard and spoken to', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 64), ThreadHost.start(t, 65)]);
  a.meet(b);
  b.meet(a);
  await Promise.all([a.untilMeasured(b), b.untilMeasured(a)]);
  a.thread.order({ type: 'remove', id: b.id });
  const strangers = a.thread.counters.stranger;
  await until(() => a.thread.counters.stranger > strangers);
  // Where it is, is not said anew.
  a.thread.order({ type: 'add', id: b.id });
  await Promise.all([a.untilMeasured(b), b.untilMeasured(a)]);
  assert.equal(a.thread.counters.replayed + b.thread.counters.replayed, 0);
});

test('a host restored from an older snapshot is heard by datagram', limited, async (t) => {
  const [before, b] = await Promise.all([ThreadHost.start(t, 79, { epoch: 20 }), ThreadHost.start(t, 80)]);
  before.meet(b);
  b.meet(before);
  await b.untilMeasured(before);
  await before.thread.stop();
  await until(() => b.statesOf(before.id).at(-1) === 'down');
  const restored = await ThreadHost.start(t, 79, { epoch: 6, port: before.port });
  restored.meet(b);
  await Promise.all([b.untilMeasured(restored), restored.untilMeasured(b)]);
  await until(() => b.statesOf(restored.id).at(-1) === 'alive');
  assert.equal(b.thread.counters.replayed, 0);
});

test('a join request passes through, and so does its answer', limited, async (t) => {
  const host = await ThreadHost.start(t, 66, {}, (payload, reply) => {
    reply(bytesOf(`welcome, ${textOf(payload)}`));
  });
  const request = { address: host.address, port: host.port, timeoutMs: 5000, attempts: 1 };
  const answers = await Promise.all(
    ['finch', 'wren'].map((name) => requestJoin({ ...request, payload: bytesOf(name) })),
  );
  assert.deepEqual(answers.map(textOf), ['welcome, finch', 'welcome, wren']);
  await until(() => host.thread.counters.joinReplies === 2);
  assert.equal(host.thread.counters.joinRequests, 2);
});

test('an introduction reaches a host that takes its sender for a stranger', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 81), ThreadHost.start(t, 82)]);
  a.thread.introduce(b.id, [bytesOf('lost')]);
  await until(() => a.thread.counters.unsendable === 1);
  a.thread.locate(b.id, b.address, b.port);
  a.thread.introduce(b.id, [bytesOf('sponsor'), bytesOf('host')]);
  await until(() => b.introductions.length === 2);
  assert.deepEqual(b.introductions.map(textOf).sort(), ['host', 'sponsor']);
  await until(() => b.thread.counters.introductions === 2);
});

test('an address that is taken, or not this host’s, is said to be so', limited, async (t) => {
  const host = await ThreadHost.start(t, 67);
  const handlers = { report: () => {}, joinRequest: () => {}, introduction: () => {} };
  await assert.rejects(
    SwimThread.start(dataOf(67, { port: host.port }), handlers),
    hasCode('address-in-use'),
  );
  await assert.rejects(SwimThread.start(dataOf(67, { bind: '192.0.2.1' }), handlers), hasCode('bind-failed'));
});

test('what nobody sealed is counted by its kind, and the thread carries on', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 68), ThreadHost.start(t, 69)]);
  a.meet(b);
  b.meet(a);
  await a.untilMeasured(b);
  const socket = await openSocket(t, addressOf(70));
  const inNameOf = (sender: string): Buffer => {
    const datagram = Buffer.alloc(200, 0xaa);
    datagram[0] = sealedVersion;
    datagram.write(sender.slice(0, 16), 1, 'hex');
    return datagram;
  };
  const rubbish = [
    Buffer.of(sealedVersion, 1, 2),
    inNameOf(idOf(71)),
    inNameOf(b.id),
    Buffer.from('GET / HTTP/1.1'),
  ];
  // Some are lost where the socket's queue is full: sent until enough of each kind came.
  await until(() => {
    for (const bytes of rubbish) socket.send(bytes, a.port, a.address);
    const { malformed, stranger, forged, joinsMalformed } = a.thread.counters;
    return [malformed, stranger, forged, joinsMalformed].every((count) => count >= 50);
  });
  assert.equal(a.thread.counters.replayed, 0);
  await Promise.all([a.untilMeasured(b), b.untilMeasured(a)]);
});

test('a frame that no membership understands is counted, and harms nobody', limited, async (t) => {
  const a = await ThreadHost.start(t, 72);
  const socket = await openSocket(t, addressOf(73));
  const { mesh } = dataOf(73);
  const sealing = new Sealing({ self: idOf(73), seed: seedOf(73), mesh, epoch: 1 });
  sealing.admit(a.id);
  a.meet({ id: idOf(73), address: addressOf(73), port: socket.address().port });
  const badFrames = () =>
    a.reports.flatMap((report) => (report.type === 'stats' ? [report.stats.badFrames] : [])).at(-1) ?? 0;
  const datagram = sealing.seal(a.id, Buffer.from('nonsense'), 0);
  assert.ok(datagram !== null);
  // Until the order to admit has arrived there, the sender is a stranger; copies do not count as frames.
  await until(() => {
    socket.send(datagram, a.port, a.address);
    return badFrames() > 0;
  });
  assert.equal(badFrames(), 1);
  await until(() => a.thread.counters.replayed > 0);
});

test('an address that cannot be one is not sent to, and the right one is taken later', limited, async (t) => {
  const [a, b] = await Promise.all([ThreadHost.start(t, 74), ThreadHost.start(t, 75)]);
  for (const [address, port] of [
    [b.address, 0],
    [b.address, 70_000],
    [b.address, 1.5],
    ['nonsense', b.port],
    ['', b.port],
  ] as const)
    a.meet({ id: b.id, address, port });
  await until(() => a.thread.counters.unsendable > 0);
  assert.equal(a.thread.counters.sendErrors, 0);
  b.meet(a);
  a.meet(b);
  await a.untilMeasured(b);
});

test('a stuck agent’s host falls silent, blames nobody, and is back once it moves', limited, async (t) => {
  const peer = await ThreadHost.start(t, 76);
  const stuck = await BareThread.start(t, 77, { patience: { tickMs: 50, ticks: 10 } });
  stuck.meet(peer);
  peer.meet(stuck);
  await peer.untilMeasured(stuck);
  stuck.isAnswering = false;
  const answered = stuck.batches.length;
  await until(() => peer.statesOf(stuck.id).includes('down'));
  const request = { address: stuck.address, port: stuck.port, payload: bytesOf('finch') };
  await assert.rejects(requestJoin({ ...request, timeoutMs: 100, attempts: 2 }), hasCode('join-unanswered'));
  assert.ok(stuck.batches.length - answered <= 5, 'no more batches than may go untaken');
  assert.ok(!stuck.said.some(({ type }) => type === 'join'), 'no join request waits before a stuck agent');

  stuck.isAnswering = true;
  for (let untaken = stuck.batches.length - answered; untaken > 0; untaken--) stuck.say({ type: 'taken' });
  await until(() => peer.statesOf(stuck.id).at(-1) === 'alive');
  await until(() => (stuck.batches.at(-1)?.counters.muted ?? 0) > 0);
  // It knows that it was away: what fell due meanwhile is held against nobody.
  const reports = () => stuck.batches.flatMap((batch) => batch.reports);
  await until(() => reports().some((report) => report.type === 'stats' && report.stats.stalls > 0));
  const blamed = reports().filter((report) => report.type === 'member' && report.member.state === 'down');
  assert.deepEqual(blamed, []);
});

test('an agent that answers is never mute, however little there is to say', limited, async (t) => {
  const alone = await BareThread.start(t, 78, { patience: { tickMs: 10, ticks: 3 } });
  await until(() => alone.batches.length > 20);
  assert.deepEqual(
    alone.batches.slice(1).flatMap(({ reports }) => reports),
    [],
  );
  assert.equal(alone.batches.at(-1)?.counters.muted, 0);
});
