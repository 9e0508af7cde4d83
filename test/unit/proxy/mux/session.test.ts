/** What a starling/1 session accepts, refuses and limits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameType, maxStreams } from '../../../../src/proxy/mux/frames.ts';
import { Session } from '../../../../src/proxy/mux/session.ts';
import type { MuxStream } from '../../../../src/proxy/mux/stream.ts';
import { type CloseReason, nobody, takeKept } from '../../../../src/proxy/transport.ts';

function frame(type: number, streamId: number, payload: Buffer | number[] = []): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(((type << 24) | payload.length) >>> 0, 0);
  header.writeUInt32BE(streamId, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

function server(): { session: Session; streams: MuxStream[]; problems: string[] } {
  const streams: MuxStream[] = [];
  const problems: string[] = [];
  const session = new Session(false, {
    onOutput() {},
    onGoAway() {},
    onStream: (stream) => streams.push(stream),
    onMalformed: (problem) => problems.push(problem),
  });
  return { session, streams, problems };
}

function output(session: Session): Buffer {
  const parts: Buffer[] = [];
  for (let batch = session.takeOutput(); batch !== null; batch = session.takeOutput())
    parts.push(Buffer.from(batch));
  return Buffer.concat(parts);
}

const open = (id: number): Buffer => frame(FrameType.open, id, [0x12]);
const malformed: readonly (readonly [string, Buffer])[] = [
  ['an unknown frame type', frame(9, 1)],
  ['data on a stream that was never opened', frame(FrameType.data, 3, [1])],
  ['an even stream number', frame(FrameType.open, 2, [0x11])],
  ['a stream number beyond 31 bits', frame(FrameType.open, 0x80000001, [0x11])],
  ['a stream opened twice', Buffer.concat([open(1), open(1)])],
  ['stream numbers that go back', Buffer.concat([open(5), open(3)])],
  ['an open frame of another version', frame(FrameType.open, 1, [0x21])],
  ['an open frame without a protocol', frame(FrameType.open, 1)],
  ['an empty data frame', Buffer.concat([open(1), frame(FrameType.data, 1)])],
  ['a data frame that is too long', Buffer.concat([open(1), frame(FrameType.data, 1, Buffer.alloc(16385))])],
  ['data for the session itself', frame(FrameType.data, 0, [1])],
  ['a ping on a stream', Buffer.concat([open(1), frame(FrameType.ping, 1, Buffer.alloc(8))])],
  ['credit of nothing', Buffer.concat([open(1), frame(FrameType.window, 1, [0, 0, 0, 0])])],
  ['credit beyond measure', Buffer.concat([open(1), frame(FrameType.window, 1, [0x7f, 0, 0, 0])])],
  ['an unknown reset code', Buffer.concat([open(1), frame(FrameType.reset, 1, [9])])],
  ['data after its end', Buffer.concat([open(1), frame(FrameType.finish, 1), frame(FrameType.data, 1, [1])])],
  ['two ends', Buffer.concat([open(1), frame(FrameType.finish, 1), frame(FrameType.finish, 1)])],
  ['a client that says it is going away', frame(FrameType.goAway, 0)],
];
for (const [name, bytes] of malformed)
  test(`${name} ends the session, and its streams with it`, () => {
    const { session, problems } = server();
    session.receive(bytes);
    assert.equal(problems.length, 1);
    assert.equal(session.isOver, true);
    assert.equal(session.streamCount, 0);
  });

test('a peer that sends more than it was allowed ends its session', () => {
  const { session, problems } = server();
  session.receive(open(1));
  // Nobody resumes this stream, so nothing is given back.
  const paused = Buffer.alloc(16384);
  const { session: careful, streams, problems: found } = server();
  careful.receive(open(1));
  streams[0]!.pause();
  for (let sent = 0; sent < 256 * 1024; sent += paused.length)
    careful.receive(frame(FrameType.data, 1, paused));
  assert.deepEqual(found, []);
  careful.receive(frame(FrameType.data, 1, [1]));
  assert.deepEqual(found, ['more data than was allowed']);
  // One whose owner reads on gets its credit back.
  for (let i = 0; i < 64; i++) session.receive(frame(FrameType.data, 1, paused));
  assert.deepEqual(problems, []);
});

test('frames for a stream that this side has reset are late, not wrong', () => {
  const { session, streams, problems } = server();
  session.receive(open(1));
  streams[0]!.destroy();
  session.receive(Buffer.concat([frame(FrameType.data, 1, [1, 2]), frame(FrameType.finish, 1)]));
  assert.deepEqual(problems, []);
  assert.equal(session.streamCount, 0);
});

test('a server says why it does not serve a stream, and the client hears just that', () => {
  for (const reason of ['refused', 'unavailable', 'unreachable', 'failed', 'cut', 'reset'] as const) {
    const { session: serving, streams } = server();
    const client = new Session(true, { onOutput() {}, onGoAway() {}, onStream() {}, onMalformed() {} });
    const stream = client.open('http1');
    const told: CloseReason[] = [];
    stream.owner = { ...nobody, onClose: (why) => told.push(why) };
    serving.receive(output(client));
    if (reason === 'cut') streams[0]!.destroy();
    else if (reason !== 'reset') assert.equal(streams[0]!.decline(reason), true);
    client.receive(output(serving));
    // What nobody said is the end of the session.
    if (reason === 'reset') for (const session of [client, serving]) session.fail('reset');
    assert.deepEqual([told, client.streamCount, serving.streamCount], [[reason], 0, 0]);
  }
});

test('streams beyond the limit are refused, those before go on', () => {
  const { session, problems } = server();
  for (let i = 0; i <= maxStreams; i++) {
    session.beginTurn();
    session.receive(open(2 * i + 1));
  }
  assert.equal(session.streamCount, maxStreams);
  assert.deepEqual(problems, []);
  assert.deepEqual(output(session), frame(FrameType.reset, 2 * maxStreams + 1, [1]));
});

test('of streams that come by the thousand a few are opened each turn, and none is lost', () => {
  const { session, streams } = server();
  const count = 5000;
  const bytes = Buffer.concat(
    Array.from({ length: count }, (_, i) => [open(2 * i + 1), frame(FrameType.reset, 2 * i + 1, [0])]).flat(),
  );
  let turns = 0;
  for (let at = 0; at < bytes.length; turns++) {
    const before = streams.length;
    session.beginTurn();
    // More that is read within the same turn does not get a share of its own.
    const cut = Math.min(at + 100, bytes.length);
    const stopped = session.receive(bytes.subarray(0, cut), at);
    at = stopped < cut ? stopped : session.receive(bytes, cut);
    assert.ok(streams.length - before <= 32, `${streams.length - before} in one turn`);
  }
  assert.deepEqual([streams.length, session.receivedBytes], [count, bytes.length]);
  assert.ok(turns >= count / 32);
});

test('a ping is answered with its own bytes', () => {
  const { session } = server();
  session.receive(frame(FrameType.ping, 0, Buffer.from('12345678')));
  assert.deepEqual(output(session), frame(FrameType.pong, 0, Buffer.from('12345678')));
});

test('a peer that only asks and never reads is cut off', () => {
  const { session, problems } = server();
  const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame(FrameType.ping, 0, Buffer.alloc(8))));
  for (let i = 0; i < 80 && !session.isOver; i++) session.receive(pings);
  assert.deepEqual(problems, ['flood of frames that ask for answers']);
});

test('a server that goes away takes no stream, and a client that hears it opens none', () => {
  const { session } = server();
  session.receive(open(1));
  session.retire();
  session.receive(open(3));
  assert.equal(session.streamCount, 1);
  let told = 0;
  const client = new Session(true, {
    onOutput() {},
    onStream() {},
    onMalformed() {},
    onGoAway: () => told++,
  });
  const first = client.open('http1');
  client.open('http1');
  const reasons: CloseReason[] = [];
  first.owner = { ...nobody, onClose: (reason) => reasons.push(reason) };
  client.receive(output(session));
  assert.equal(told, 1);
  assert.equal(client.canOpen, false);
  assert.equal(client.streamCount, 1, 'the second was refused, the first goes on');
  assert.deepEqual(reasons, []);
});

test('giving a stream up in order lets what was written leave, then drops what comes', () => {
  const { session, streams } = server();
  session.receive(open(1));
  const stream = streams[0]!;
  stream.write(Buffer.from('last words'), 0, 10);
  stream.close();
  const expected = [
    frame(FrameType.data, 1, Buffer.from('last words')),
    frame(FrameType.finish, 1),
    frame(FrameType.reset, 1, [0]),
  ];
  assert.deepEqual(output(session), Buffer.concat(expected));
  assert.equal(session.streamCount, 0);
});

test('a writer sends as much as it was given credit for, to the byte', () => {
  const { session, streams } = server();
  session.receive(open(1));
  const bytes = Buffer.alloc(1024 * 1024);
  streams[0]!.write(bytes, 0, 1_000_000);
  const sentBytes = (): number => {
    let count = 0;
    const sent = output(session);
    for (let at = 0; at < sent.length; at += 8 + sent.readUIntBE(at + 1, 3))
      count += sent.readUIntBE(at + 1, 3);
    return count;
  };
  assert.equal(sentBytes(), 256 * 1024);
  session.receive(frame(FrameType.window, 1, [0, 0, 3, 232]));
  assert.equal(sentBytes(), 1000);
  session.receive(frame(FrameType.window, 1, [0, 0, 0, 1]));
  assert.equal(sentBytes(), 1);
  assert.equal(streams[0]!.pendingBytes, 1_000_000 - 256 * 1024 - 1001);
});

test('bytes that wait for credit are kept, bytes that leave at once are not', () => {
  const { session, streams } = server();
  session.receive(open(1));
  takeKept();
  streams[0]!.write(Buffer.alloc(256 * 1024), 0, 256 * 1024);
  assert.equal(takeKept(), false);
  streams[0]!.write(Buffer.from('more'), 0, 4);
  assert.equal(takeKept(), true);
});
