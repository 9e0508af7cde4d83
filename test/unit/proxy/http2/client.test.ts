/** Requests of the engine as an application of HTTP/2 sees them, and its answers as the engine sees them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idleUpstreamMs } from '../../../../src/proxy/engine.ts';
import { ErrorCode, Flag, FrameType, Setting } from '../../../../src/proxy/http2/frames.ts';
import { assumedConcurrentStreams, streamWindowBytes } from '../../../../src/proxy/http2/limits.ts';
import {
  data,
  type Fields,
  frame,
  headers,
  settings,
  TestApp,
  type Told,
  u32,
} from '../../../support/http2.ts';

const get = 'GET /a HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\n\r\n';
const getLine = '1 HEADERS :method: GET | :scheme: http | :authority: api | :path: /a | x-request-id: r end';
const ok: Fields = [[':status', '200']];

/** An application that was asked for `request` on stream 1. */
function asked(request = get): { app: TestApp; engine: Told } {
  const app = new TestApp();
  const engine = app.dial();
  engine.write(request);
  app.send(0, settings());
  return { app, engine };
}

test('a request goes out as a head without what HTTP/1.1 says of the connection', () => {
  const { app } = asked(
    get.replace('\r\n\r\n', '\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\n\r\n'),
  );
  const [first, ...more] = app.seen();
  assert.deepEqual(
    [first, ...more.slice(0, 2)],
    ['SETTINGS', '0 WINDOW 4128769', getLine.replace(' end', ' | te: trailers end')],
  );
});

test('bodies of either framing, trailers, and gRPC, which always takes trailers', () => {
  const cases: readonly (readonly [request: string, lines: readonly string[]])[] = [
    [
      'POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello',
      [
        '1 HEADERS :method: POST | :scheme: http | :authority: api | :path: / | content-length: 5',
        '1 DATA hello end',
      ],
    ],
    [
      'PUT /x HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\nContent-Type: application/grpc\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n',
      [
        '1 HEADERS :method: PUT | :scheme: http | :authority: api | :path: /x | content-type: application/grpc | te: trailers',
        '1 DATA abc',
        '1 HEADERS x: y end',
      ],
    ],
    ['DELETE /x HTTP/1.0\r\n\r\n', ['1 HEADERS :method: DELETE | :scheme: http | :path: /x end']],
  ];
  for (const [request, lines] of cases)
    assert.deepEqual(
      asked(request)
        .app.seen()
        .filter((line) => line.startsWith('1 ')),
      lines,
    );
});

/** What an application may answer, and what the engine is told. */
const answers: readonly (readonly [answer: readonly Buffer[], text: string, request?: string])[] = [
  [[headers(1, ok, true)], 'HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n'],
  [[headers(1, [[':status', '204']], true)], 'HTTP/1.1 204 \r\n\r\n'],
  [
    [headers(1, [...ok, ['a', 'b']], false), data(1, 'abc', true)],
    'HTTP/1.1 200 \r\na: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  ],
  [
    [headers(1, [...ok, ['content-length', '3']], false), data(1, 'abc', true)],
    'HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\nabc',
  ],
  [
    [
      headers(
        1,
        [
          [':status', '103'],
          ['link', '</a>'],
        ],
        false,
      ),
      headers(1, ok, true),
    ],
    'HTTP/1.1 103 \r\nlink: </a>\r\n\r\nHTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n',
  ],
  [
    [headers(1, [...ok, ['content-length', '9']], true)],
    'HTTP/1.1 200 \r\ncontent-length: 9\r\n\r\n',
    get.replace('GET', 'HEAD'),
  ],
  [
    [
      headers(1, [...ok, ['content-length', '3'], ['content-type', 'application/grpc']], false),
      data(1, 'abc', false),
      headers(
        1,
        [
          ['grpc-status', '0'],
          ['content-type', 'x'],
          ['x-y', ''],
        ],
        true,
      ),
    ],
    'HTTP/1.1 200 \r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\nx-y: \r\n\r\n',
  ],
  [
    [headers(1, [...ok, ['content-type', 'application/grpc'], ['grpc-status', '5']], true)],
    'HTTP/1.1 200 \r\ncontent-type: application/grpc\r\ngrpc-status: 5\r\ncontent-length: 0\r\n\r\n',
  ],
];

test('every kind of answer is one of HTTP/1.1, and the connection serves the next request', () => {
  for (const [answer, text, request] of answers) {
    const { app, engine } = asked(request);
    app.seen();
    app.send(0, ...answer);
    assert.equal(engine.text, text);
    engine.write(get);
    assert.deepEqual(app.seen(), [getLine.replace('1 ', '3 ')]);
    assert.equal(app.servers.length, 1);
  }
});

test('an answer that is none breaks its request alone', () => {
  const cases: readonly (readonly [why: string, answer: readonly Buffer[]])[] = [
    ['no status', [headers(1, [['a', 'b']], true)]],
    ['two', [headers(1, [...ok, ...ok], true)]],
    ['status of no number', [headers(1, [[':status', '2x0']], true)]],
    ['switched protocols', [headers(1, [[':status', '101']], false)]],
    ['nothing after an informational answer', [headers(1, [[':status', '100']], true)]],
    ['pseudo-field of requests', [headers(1, [...ok, [':path', '/']], true)]],
    ['Connection', [headers(1, [...ok, ['connection', 'close']], true)]],
    ['length without a body', [headers(1, [...ok, ['content-length', '3']], true)]],
    ['data before the head', [data(1, 'x', false)]],
    ['more than was said', [headers(1, [...ok, ['content-length', '3']], false), data(1, 'abcd', false)]],
    ['less than was said', [headers(1, [...ok, ['content-length', '3']], false), data(1, 'ab', true)]],
    ['data in answer to nothing', [headers(1, [[':status', '204']], false), data(1, 'ab', true)]],
  ];
  for (const [why, answer] of cases) {
    const { app, engine } = asked();
    app.seen();
    app.send(0, ...answer);
    assert.deepEqual(app.seen(), [`1 RESET ${ErrorCode.protocolError}`], why);
    assert.equal(engine.closed, 'reset', why);
    app.dial().write(get);
    assert.equal(app.servers.length, 1, why);
  }
});

test('what the server has not seen is said to be so, what it broke off is not', () => {
  for (const [code, reason] of [
    [ErrorCode.refusedStream, 'not-taken'],
    [ErrorCode.internalError, 'reset'],
    [ErrorCode.noError, 'reset'],
  ] as const) {
    const { app, engine } = asked();
    app.send(0, frame(FrameType.reset, 0, 1, u32(code)));
    assert.equal(engine.closed, reason);
  }
  const { app, engine } = asked();
  const second = app.dial();
  second.write(get);
  app.send(0, frame(FrameType.goAway, 0, 0, u32(1, 0)));
  assert.deepEqual([engine.closed, second.closed], [null, 'not-taken']);
  app.dial().write(get);
  assert.equal(app.servers.length, 2, 'nothing new where the server is going away');
  app.send(0, headers(1, ok, true));
  assert.match(engine.text, /^HTTP\/1\.1 200 /);
  assert.equal(app.servers[0]!.end, 'close');
});

test('a connection that never came to be reached nobody, one that breaks may have', () => {
  for (const reason of ['connect-failure', 'reset'] as const) {
    const { app, engine } = asked();
    app.servers[0]!.break(reason);
    assert.equal(engine.closed, reason);
    app.dial().write(get);
    assert.equal(app.servers.length, 2);
  }
});

test('a server that answers early and takes no more of the request is not an error', () => {
  const { app, engine } = asked(
    'POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  );
  app.seen();
  app.send(0, headers(1, [[':status', '413']], true), frame(FrameType.reset, 0, 1, u32(ErrorCode.noError)));
  assert.match(engine.text, /^HTTP\/1\.1 413 /);
  assert.equal(engine.closed, null);
});

test('a server may break off whatever it was asked, however often, but only that', () => {
  const app = new TestApp();
  app.dial().write(get);
  app.send(0, settings(), headers(1, ok, true));
  for (let id = 3; id < 6000; id += 4) {
    app.dial().write(get);
    app.send(0, frame(FrameType.reset, 0, id, u32(ErrorCode.noError)));
    const engine = app.dial();
    engine.write(get);
    engine.transport.destroy();
    app.send(0, headers(id + 2, ok, false), frame(FrameType.reset, 0, id + 2, u32(ErrorCode.cancel)));
  }
  assert.deepEqual([app.servers.length, app.problems], [1, []]);
  for (let i = 0; i < 2000; i++) app.send(0, frame(FrameType.reset, 0, 1, u32(ErrorCode.cancel)));
  assert.deepEqual(app.problems, ['too many streams broken off']);
});

test('the end of a stream may come after the end of its answer', () => {
  const { app, engine } = asked();
  app.send(0, headers(1, [...ok, ['content-length', '3']], false), data(1, 'abc', false));
  engine.write(get);
  app.seen();
  app.send(0, data(1, '', true), headers(3, ok, true));
  assert.match(engine.text, /abcHTTP\/1\.1 200 /);
  assert.deepEqual(app.seen(), [], 'nothing was broken off');
});

test('a request that is given up is taken back, and what comes for it is ignored', () => {
  const { app, engine } = asked();
  app.seen();
  engine.transport.destroy();
  assert.deepEqual(app.seen(), [`1 RESET ${ErrorCode.cancel}`]);
  app.send(0, headers(1, ok, false), data(1, 'late', true));
  assert.deepEqual([engine.text, app.seen().length], ['', 0]);
  assert.equal(app.servers[0]!.end, null);
});

test('no more requests at once than the server takes: more connections instead', () => {
  const app = new TestApp();
  for (let i = 0; i < assumedConcurrentStreams + 1; i++) app.dial().write(get);
  assert.equal(app.servers.length, 2);
  const few = asked();
  few.app.send(0, settings([Setting.maxConcurrentStreams, 2]));
  for (let i = 0; i < 2; i++) few.app.dial().write(get);
  assert.equal(few.app.servers.length, 2);
});

test('a connection whose server takes no request is not kept', () => {
  const { app, engine } = asked();
  app.send(0, settings([Setting.maxConcurrentStreams, 0]), headers(1, ok, true));
  assert.match(engine.text, /^HTTP\/1\.1 200 /);
  assert.deepEqual([app.servers[0]!.end, app.pool.sessionCount, app.problems], ['close', 0, []]);
});

test('connections go when they are idle for long, or are not needed any more', () => {
  const { app, engine } = asked();
  app.send(0, headers(1, ok, true));
  app.pass(idleUpstreamMs);
  assert.equal(app.servers[0]!.end, 'close');
  engine.write(get);
  assert.equal(app.servers.length, 2);
  app.send(1, settings(), headers(1, ok, true));
  engine.write(get);
  app.pool.release();
  assert.equal(app.servers[1]!.end, null);
  app.send(1, headers(3, ok, true));
  assert.equal(app.servers[1]!.end, 'close');
  assert.equal(app.pool.sessionCount, 0);
});

test('uploads wait for the windows of the server, answers for the engine', () => {
  const { app, engine } = asked(
    `POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n${'u'.repeat(100_000)}`,
  );
  const sent = (): number =>
    app
      .seen()
      .filter((line) => line.startsWith('1 DATA'))
      .reduce((sum, line) => sum + line.replace(/ end$/, '').length - 7, 0);
  assert.equal(sent(), 65_535);
  app.send(0, frame(FrameType.windowUpdate, 0, 0, u32(1_000_000)));
  assert.equal(sent(), 0);
  app.send(0, frame(FrameType.windowUpdate, 0, 1, u32(1_000_000)));
  assert.equal(sent(), 100_000 - 65_535);
  engine.transport.pause();
  app.send(0, headers(1, ok, false));
  for (let i = 0; i < streamWindowBytes / 16_384; i++) app.send(0, data(1, Buffer.alloc(16_384), false));
  assert.deepEqual(app.seen(), []);
  engine.transport.resume();
  assert.deepEqual(app.seen(), [`1 WINDOW ${streamWindowBytes}`]);
});

test('what the server may not do ends its connection', () => {
  const cases: readonly (readonly [why: string, frames: Buffer])[] = [
    ['a stream of its own', headers(2, ok, true)],
    ['an answer to nothing', headers(9, ok, true)],
    ['a push', frame(FrameType.pushPromise, Flag.endHeaders, 1, u32(2))],
    ['an HTTP/1.1 answer', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ];
  for (const [why, frames] of cases) {
    const { app, engine } = asked();
    app.send(0, frames);
    assert.equal(engine.closed, 'reset', why);
    assert.equal(app.servers[0]!.end, 'close', why);
  }
});

test('an application that speaks HTTP/1.1 is told of once, not with every request', () => {
  const app = new TestApp();
  for (let i = 0; i < 3; i++) {
    app.dial().write(get);
    app.send(i, Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
  }
  assert.deepEqual(app.problems, ['speaks HTTP/1.1, not HTTP/2']);
});

test('what is no request is not sent, and its writer hears of it', () => {
  const app = new TestApp();
  const engine = app.dial();
  engine.write('no request at all\r\nwithout: blanks\r\n: \r\n\n\r\n\r\n');
  assert.equal(engine.closed, null, 'not from within its own call');
  app.pass(1);
  assert.equal(engine.closed, 'reset');
});
