/** What RFC 9113 forbids, the floods known so far, and bytes in any division. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  ErrorCode,
  Flag,
  FrameType,
  maxWindow,
  preface,
  Setting,
} from '../../../../src/proxy/http2/frames.ts';
import {
  idleFrameBurst,
  maxConcurrentStreams,
  maxSettings,
  maxUnreadBytes,
  resetBurst,
  resetsPerTurn,
} from '../../../../src/proxy/http2/limits.ts';
import {
  block,
  data,
  type Fields,
  frame,
  getFields,
  headers,
  postFields,
  settings,
  TestServer,
  u32,
} from '../../../support/http2.ts';

const { protocolError, frameSizeError, flowControlError, streamClosed, compressionError, enhanceYourCalm } =
  ErrorCode;
const open = headers(1, postFields, false);
const halfBlock = frame(FrameType.headers, 0, 3, block(getFields));
const everything = Flag.endHeaders | Flag.endStream;

/** What ends a connection, with the code that says so; stream 1 is open and has not ended. */
const fatal: readonly (readonly [why: string, code: number, frames: Buffer])[] = [
  ['a frame longer than allowed', frameSizeError, frame(FrameType.data, 0, 1, Buffer.alloc(16_385))],
  ['DATA on the connection', protocolError, data(0, 'x', false)],
  ['DATA on an idle stream', protocolError, data(3, 'x', false)],
  ['DATA with more padding than payload', protocolError, frame(FrameType.data, Flag.padded, 1, '\x05abc')],
  ['padded DATA without a length', frameSizeError, frame(FrameType.data, Flag.padded, 1)],
  ['HEADERS on the connection', protocolError, frame(FrameType.headers, everything, 0, block(getFields))],
  ['HEADERS on an even stream', protocolError, headers(2, getFields, true)],
  [
    'HEADERS on a lower stream',
    streamClosed,
    Buffer.concat([headers(5, getFields, true), headers(3, getFields, true)]),
  ],
  ['HEADERS all padding', protocolError, frame(FrameType.headers, everything | Flag.padded, 3, '\x09abc')],
  ['padded HEADERS without a length', protocolError, frame(FrameType.headers, everything | Flag.padded, 3)],
  [
    'HEADERS too short for its priority',
    protocolError,
    frame(FrameType.headers, everything | Flag.priority, 3, 'abc'),
  ],
  [
    'a block that is no HPACK',
    compressionError,
    frame(FrameType.headers, everything, 3, '\xff\xff\xff\xff\xff\xff'),
  ],
  ['trailers that are no HPACK', compressionError, frame(FrameType.headers, everything, 1, '\x80')],
  ['CONTINUATION by itself', protocolError, frame(FrameType.continuation, Flag.endHeaders, 1)],
  [
    'CONTINUATION of another stream',
    protocolError,
    Buffer.concat([halfBlock, frame(FrameType.continuation, 4, 5)]),
  ],
  [
    'another frame within a block',
    protocolError,
    Buffer.concat([halfBlock, frame(FrameType.ping, 0, 0, '12345678')]),
  ],
  ['DATA within a block', protocolError, Buffer.concat([halfBlock, data(1, 'x', false)])],
  ['an unknown frame within a block', protocolError, Buffer.concat([halfBlock, frame(0x42, 0, 0)])],
  ['PRIORITY on the connection', protocolError, frame(FrameType.priority, 0, 0, '12345')],
  ['RST_STREAM on the connection', protocolError, frame(FrameType.reset, 0, 0, u32(8))],
  ['RST_STREAM on an idle stream', protocolError, frame(FrameType.reset, 0, 3, u32(8))],
  ['RST_STREAM of another size', frameSizeError, frame(FrameType.reset, 0, 1, 'abc')],
  ['SETTINGS on a stream', protocolError, frame(FrameType.settings, 0, 1)],
  ['SETTINGS of another size', frameSizeError, frame(FrameType.settings, 0, 0, 'abc')],
  ['SETTINGS that acknowledge with words', frameSizeError, frame(FrameType.settings, Flag.ack, 0, 'abcdef')],
  ['ENABLE_PUSH beyond 1', protocolError, settings([Setting.enablePush, 2])],
  [
    'INITIAL_WINDOW_SIZE beyond its limit',
    flowControlError,
    settings([Setting.initialWindowSize, 0x80000000]),
  ],
  [
    'a window beyond its limit by SETTINGS',
    flowControlError,
    Buffer.concat([
      frame(FrameType.windowUpdate, 0, 1, u32(0x7fff0000)),
      settings([Setting.initialWindowSize, 0x7fffffff]),
    ]),
  ],
  ['MAX_FRAME_SIZE too small', protocolError, settings([Setting.maxFrameSize, 16_383])],
  ['MAX_FRAME_SIZE too large', protocolError, settings([Setting.maxFrameSize, 0x1000000])],
  ['PUSH_PROMISE', protocolError, frame(FrameType.pushPromise, Flag.endHeaders, 1, u32(2))],
  ['PING on a stream', protocolError, frame(FrameType.ping, 0, 1, '12345678')],
  ['PING of another size', frameSizeError, frame(FrameType.ping, 0, 0, '1234567')],
  ['GOAWAY on a stream', protocolError, frame(FrameType.goAway, 0, 1, u32(0, 0))],
  ['GOAWAY of another size', frameSizeError, frame(FrameType.goAway, 0, 0, 'abc')],
  ['WINDOW_UPDATE of another size', frameSizeError, frame(FrameType.windowUpdate, 0, 0, 'abc')],
  ['WINDOW_UPDATE of nothing', protocolError, frame(FrameType.windowUpdate, 0, 0, u32(0))],
  ['WINDOW_UPDATE beyond the limit', flowControlError, frame(FrameType.windowUpdate, 0, 0, u32(0x7fffffff))],
  ['WINDOW_UPDATE on an idle stream', protocolError, frame(FrameType.windowUpdate, 0, 3, u32(1))],
];

test('what the protocol forbids ends the connection, and says why', () => {
  for (const [why, code, frames] of fatal) {
    const server = new TestServer();
    server.send(open);
    server.seen();
    server.send(frames);
    const last = server.seen().filter((line) => line.startsWith('GOAWAY'));
    assert.deepEqual(
      last.map((line) => Number(line.split(' ')[2])),
      [code],
      why,
    );
    assert.equal(server.client.end, 'close', why);
    assert.equal(server.engine[0]!.closed, 'reset', why);
    assert.equal(typeof server.problem, 'string', why);
    server.client.receive(headers(9, getFields, true));
    assert.deepEqual(server.seen(), [], why);
  }
});

test('what is wrong with one stream ends that one', () => {
  const cases: readonly (readonly [why: string, code: number, frames: Buffer])[] = [
    ['WINDOW_UPDATE of nothing', protocolError, frame(FrameType.windowUpdate, 0, 1, u32(0))],
    [
      'WINDOW_UPDATE beyond the limit',
      flowControlError,
      frame(FrameType.windowUpdate, 0, 1, u32(0x7fffffff)),
    ],
    ['DATA after the end', streamClosed, Buffer.concat([data(1, 'x', true), data(1, 'y', false)])],
    [
      'HEADERS after the end',
      streamClosed,
      Buffer.concat([data(1, 'x', true), headers(1, [['a', 'b']], true)]),
    ],
    ['trailers that do not end', protocolError, headers(1, [['a', 'b']], false)],
    ['a pseudo-field in trailers', protocolError, headers(1, [[':path', '/']], true)],
    ['Connection in trailers', protocolError, headers(1, [['connection', 'x']], true)],
  ];
  for (const [why, code, frames] of cases) {
    const server = new TestServer();
    server.send(open, frames);
    assert.deepEqual(server.seen(), [`1 RESET ${code}`], why);
    assert.equal(server.engine[0]!.closed, 'reset', why);
    server.send(headers(3, getFields, true));
    assert.equal(server.engine.length, 2, why);
  }
});

test('what the protocol allows, or wants ignored, does no harm', () => {
  const server = new TestServer();
  const padded = Buffer.concat([
    Buffer.from([2]),
    Buffer.from('\0\0\0\0\x10'),
    block(getFields),
    Buffer.alloc(2),
  ]);
  server.send(
    frame(0x42, 0xff, 7, 'whatever'),
    frame(FrameType.priority, 0, 99, '12345'),
    settings([0x99, 5], [Setting.maxConcurrentStreams, 0], [Setting.enablePush, 1]),
    frame(FrameType.settings, Flag.ack, 0),
    frame(FrameType.ping, 0, 0, 'abcdefgh'),
    frame(FrameType.goAway, 0, 0, Buffer.concat([u32(0, 0), Buffer.from('bye')])),
    frame(FrameType.headers, everything | Flag.padded | Flag.priority, 1, padded),
    frame(FrameType.windowUpdate, 0, 1, u32(0x80000001)),
  );
  assert.deepEqual(server.seen(), ['SETTINGS ack', 'PING ack abcdefgh']);
  assert.equal(server.engine[0]!.text, 'GET /a HTTP/1.1\r\nhost: api\r\n\r\n');
  // Frames that crossed the end of their stream.
  server.engine[0]!.write('HTTP/1.1 204 No Content\r\n\r\n');
  server.send(frame(FrameType.windowUpdate, 0, 1, u32(5)), frame(FrameType.reset, 0, 1, u32(8)));
  assert.deepEqual(server.seen(), ['1 HEADERS :status: 204 end']);
});

test('a connection begins with the preface and SETTINGS, and nothing else', () => {
  for (const first of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\rx'),
    Buffer.concat([preface, frame(FrameType.ping, 0, 0, '12345678')]),
    Buffer.concat([preface, frame(FrameType.settings, Flag.ack, 0)]),
  ]) {
    const server = new TestServer(false);
    server.send(first);
    assert.ok(server.seen().includes(`GOAWAY 0 ${protocolError}`));
    assert.equal(server.client.end, 'close');
  }
});

const idOf = (i: number): number => 2 * i + 3;
/** A request, and what breaks it. */
const brokenBy = (i: number, ...frames: Buffer[]): Buffer =>
  Buffer.concat([headers(idOf(i), postFields, false), ...frames]);

/** What a client may send on and on, and what becomes of it. */
const floods: readonly (readonly [what: string, make: (i: number) => Buffer, atMost: number])[] = [
  [
    'streams opened and taken back',
    (i) => Buffer.concat([headers(2 * i + 3, getFields, true), frame(FrameType.reset, 0, 2 * i + 3, u32(8))]),
    resetBurst,
  ],
  ['streams that break the rules', (i) => headers(2 * i + 3, [...getFields, ['te', 'x']], true), resetBurst],
  [
    'WINDOW_UPDATE of nothing',
    (i) => brokenBy(i, frame(FrameType.windowUpdate, 0, idOf(i), u32(0))),
    resetBurst,
  ],
  [
    'WINDOW_UPDATE beyond all windows',
    (i) => brokenBy(i, frame(FrameType.windowUpdate, 0, idOf(i), u32(maxWindow))),
    resetBurst,
  ],
  ['DATA behind its end', (i) => brokenBy(i, data(idOf(i), '', true), data(idOf(i), 'x', false)), resetBurst],
  [
    'HEADERS behind the end',
    (i) => brokenBy(i, data(idOf(i), '', true), headers(idOf(i), [], true)),
    resetBurst,
  ],
  ['PING', () => frame(FrameType.ping, 0, 0, '12345678'), idleFrameBurst],
  ['SETTINGS', () => settings(), idleFrameBurst],
  [
    'many SETTINGS in one',
    () => settings(...new Array(maxSettings + 1).fill([Setting.initialWindowSize, 1])),
    1,
  ],
  ['PRIORITY', () => frame(FrameType.priority, 0, 1, '12345'), idleFrameBurst],
  ['PRIORITY_UPDATE', () => frame(0x10, 0, 0, '\0\0\0\x01u=0'), idleFrameBurst],
  ['WINDOW_UPDATE', () => frame(FrameType.windowUpdate, 0, 0, u32(1)), idleFrameBurst],
  ['empty DATA', () => data(1, '', false), idleFrameBurst],
  ['DATA of padding alone', () => frame(FrameType.data, Flag.padded, 1, '\x01\0'), idleFrameBurst],
  ['unknown frames', () => frame(0x42, 0, 0), idleFrameBurst],
  ['empty CONTINUATION', (i) => (i === 0 ? halfBlock : frame(FrameType.continuation, 0, 3)), 20],
  [
    'endless CONTINUATION',
    (i) => (i === 0 ? halfBlock : frame(FrameType.continuation, 0, 3, Buffer.alloc(16_000))),
    6,
  ],
];

test('floods end the connection that sends them', () => {
  for (const [what, make, atMost] of floods) {
    const server = new TestServer();
    server.send(open);
    let sent = 0;
    while (server.problem === undefined && sent < 5000) {
      server.send(make(sent++));
      if (server.client.paused) server.pass(1);
    }
    assert.ok(sent <= atMost + 10, `${what}: ${sent}`);
    assert.equal(server.seen().at(-1)?.split(' ')[2], String(enhanceYourCalm), what);
    assert.equal(server.client.end, 'close', what);
  }
});

test('windows that are opened by the byte pay for nothing', () => {
  const server = new TestServer();
  server.send(settings([Setting.initialWindowSize, 0]), headers(1, getFields, true));
  server.engine[0]!.write(`HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n${'x'.repeat(9000)}`);
  let sent = 0;
  for (; server.problem === undefined && sent < 9000; sent++)
    server.send(frame(FrameType.windowUpdate, 0, 1, u32(1)));
  assert.ok(sent <= idleFrameBurst + 10, `${sent}`);
});

test('a flood in one write is taken in parts, with others in between, and nothing of it is lost', () => {
  const server = new TestServer();
  const count = 500;
  const flood: Buffer[] = [];
  for (let i = 0; i < count; i++)
    flood.push(headers(idOf(i), getFields, true), frame(FrameType.reset, 0, idOf(i), u32(8)));
  flood.push(headers(idOf(count), getFields, true));
  const bytes = Buffer.concat(flood);
  server.send(bytes.subarray(0, -10));
  assert.deepEqual([server.engine.length, server.client.paused], [resetsPerTurn, true]);
  // What still comes, and that nothing more will, is told in its order.
  server.send(bytes.subarray(-10));
  server.client.owner.onDrain();
  server.client.owner.onFinish();
  for (let turn = 1; server.client.paused; turn++) {
    assert.equal(server.engine.length, turn * resetsPerTurn);
    server.pass(10);
  }
  assert.equal(server.engine.length, count + 1);
  server.engine.at(-1)!.write('HTTP/1.1 204 None\r\n\r\n');
  assert.ok(server.seen().includes(`${idOf(count)} HEADERS :status: 204 end`));
  assert.equal(server.client.end, 'close');
});

test('a client that reads none of its answers is not read from until it does', () => {
  const server = new TestServer();
  server.client.pendingBytes = maxUnreadBytes + 1;
  server.send(frame(FrameType.ping, 0, 0, '12345678'));
  assert.equal(server.client.paused, true);
  server.client.pendingBytes = 0;
  server.client.owner.onDrain();
  assert.equal(server.client.paused, false);
});

test('who works may take back and ping as much as work brings with it', () => {
  const server = new TestServer();
  for (let i = 0; i < 3000; i++) {
    const id = 4 * i + 1;
    server.send(headers(id, getFields, true), frame(FrameType.ping, 0, 0, '12345678'));
    server.engine.at(-1)!.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    server.send(frame(FrameType.windowUpdate, 0, 0, u32(2)));
    server.send(headers(id + 2, getFields, true), frame(FrameType.reset, 0, id + 2, u32(8)));
    server.seen();
  }
  assert.equal(server.problem, undefined);
});

test('more streams at once than were offered are refused, and only those', () => {
  const server = new TestServer();
  for (let i = 0; i < maxConcurrentStreams + 1; i++) server.send(headers(2 * i + 1, getFields, true));
  assert.deepEqual(server.seen(), [`${2 * maxConcurrentStreams + 1} RESET ${ErrorCode.refusedStream}`]);
  assert.equal(server.engine.length, maxConcurrentStreams);
});

const trailers: Fields = [['x-sum', '1']];
const conversation = Buffer.concat([
  preface,
  settings([Setting.initialWindowSize, 100]),
  headers(1, [...postFields, ['cookie', 'a'], ['cookie', 'b']], false),
  frame(FrameType.data, Flag.padded, 1, '\x03hello\0\0\0'),
  frame(FrameType.headers, Flag.endStream, 3, block(getFields).subarray(0, 9)),
  frame(FrameType.continuation, 0, 3, block(getFields).subarray(9, 12)),
  frame(FrameType.continuation, Flag.endHeaders, 3, block(getFields).subarray(12)),
  frame(FrameType.ping, 0, 0, 'abcdefgh'),
  data(1, 'world', false),
  headers(1, trailers, true),
  headers(5, [...postFields, ['content-length', '4']], false),
  data(5, 'four', true),
  frame(FrameType.windowUpdate, 0, 1, u32(1000)),
]);

/** A request with the data of its chunks in one: how they are cut follows how the data came. */
function withoutChunks(request: string): string {
  const bodyAt = request.indexOf('\n\n') + 2;
  if (!request.includes('\ntransfer-encoding: chunked\n')) return request;
  let at = bodyAt;
  let data = '';
  for (;;) {
    const lineEnd = request.indexOf('\n', at);
    const length = Number.parseInt(request.slice(at, lineEnd), 16);
    if (length === 0) return request.slice(0, bodyAt) + data + request.slice(at);
    data += request.slice(lineEnd + 1, lineEnd + 1 + length);
    at = lineEnd + 2 + length;
  }
}

/** What the engine is told and the client sees, however the client's bytes are cut. */
function outcome(cuts: readonly number[]): string[] {
  const server = new TestServer(false);
  let from = 0;
  for (const cut of [...cuts, conversation.length].sort((a, b) => a - b)) {
    server.send(conversation.subarray(from, cut));
    from = cut;
  }
  const requests = server.engine.map((engine) => engine.text.replaceAll('\r\n', '\n'));
  for (const engine of server.engine)
    engine.write(`HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n${'y'.repeat(200)}`);
  const data = requests.map(withoutChunks);
  return [...data, ...server.seen()];
}

test('bytes mean the same in any division', () => {
  const whole = outcome([]);
  assert.equal(whole.length, 3 + 10, whole.join('\n'));
  for (let cut = 1; cut < conversation.length; cut++)
    assert.deepEqual(outcome([cut]), whole, `cut at ${cut}`);
  const cuts = fc.array(fc.nat({ max: conversation.length }), { maxLength: 30 });
  fc.assert(
    fc.property(cuts, (several) => assert.deepEqual(outcome(several), whole)),
    { numRuns: 50 },
  );
});

test('junk behind the preface ends the connection or means nothing, and never more than that', () => {
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .record({
        type: fc.nat({ max: 10 }),
        flags: fc.nat({ max: 255 }),
        id: fc.nat({ max: 8 }),
        payload: fc.uint8Array({ maxLength: 40 }),
      })
      .map(({ type, flags, id, payload }) => frame(type, flags, id, Buffer.from(payload))),
    fc.constantFrom(
      open,
      halfBlock,
      headers(3, getFields, true),
      data(1, 'x', true),
      headers(1, trailers, true),
    ),
  );
  fc.assert(
    fc.property(fc.array(junk, { maxLength: 20 }), (pieces) => {
      const server = new TestServer();
      for (const piece of pieces) {
        server.client.receive(piece);
        for (const engine of server.engine)
          if (engine.text.endsWith('\r\n\r\n'))
            engine.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      }
      server.session.abort();
      assert.equal(server.session.streamCount, 0);
    }),
    { numRuns: 200 },
  );
});
